"""A trigger type at a worker: of all workers that provide it, one at a time runs its triggers.

Which triggers run is what bucket `triggers` says, read by whoever provides their type: at the beginning, when something
was written, and now and then. Nobody has to be told, so nothing is lost that somebody was not told.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from dagnats.errors import ConflictError, DagnatsError, DecodeError
from dagnats.handling.codec import CodecError
from dagnats.model.trigger_type import (
    Refusal,
    TriggerEntry,
    TriggerRequest,
    decode,
    encode,
    triggers_of,
)
from dagnats.runtime.lease import Leadership, LeaseLost
from dagnats.runtime.patience import persist
from dagnats.runtime.together import together
from dagnats.runtime.triggers.activity import Activity
from dagnats.runtime.triggers.book import entries_of, mend_triggers, subject_of
from dagnats.runtime.triggers.claim import Claim
from dagnats.runtime.triggers.firing import Firing
from dagnats.runtime.triggers.news import EVERYTHING, News

if TYPE_CHECKING:
    from dagnats.handling.trigger_type import TriggerType
    from dagnats.runtime.desk import Caller
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.trigger")

PACE = 3.0  # renewed every 4.5 s; another worker takes over 15 s after the last time
SWEEP_S = 60.0
_AGAIN_S = 30.0


class Provider:
    """Provides a trigger type, when nobody else does.

    Args:
        caller: Who starts runs.
        worker_id: How the owner is named.
        grace_s: How long the function of a trigger may clean up.
    """

    def __init__(
        self, ports: Ports, caller: Caller, trigger_type: TriggerType[Any], *, worker_id: str, grace_s: float
    ) -> None:
        self._ports = ports
        self._caller = caller
        self._type = trigger_type
        self._worker_id = worker_id
        self._grace_s = grace_s
        self._leadership = Leadership(
            ports.tenures.of(trigger_type.name),
            worker_id,
            pace=PACE,
            leads=f"worker %s provides trigger type {trigger_type.name!r}",
        )
        self._claim = Claim(ports, trigger_type, worker_id)
        self._active: dict[str, Activity] = {}
        self._failing: dict[str, str] = {}
        self._news = News()
        self._turn = asyncio.Lock()
        self._provides = False

    async def check(self) -> None:
        """Raise ConflictError when triggers run with another version."""
        await self._claim.check()

    async def run(self) -> NoReturn:
        """Provide the type whenever it is our turn, until cancelled."""
        while True:
            await self._leadership.acquire()
            pause_s = 0.0
            try:
                await together(self._leadership.keep(), self._provide())
            except LeaseLost as lost:
                log.warning("trigger type %s is not ours any more: %s", self._type.name, lost)
            except ConflictError as refused:
                log.warning("%s", refused)
                pause_s = _AGAIN_S
            finally:
                await self._leadership.release()
            await asyncio.sleep(pause_s)

    async def _provide(self) -> None:
        await self._claim.outlast()
        await self._claim.check()
        await self._claim.begin()
        self._failing.clear()
        log.info("trigger type %s is provided by worker %s", self._type.name, self._worker_id)
        self._provides = True
        self._news.hear(EVERYTHING)  # of a turn before this one, nothing counts
        try:
            with ExitStack() as stack:
                stack.callback(self._ports.triggers.listen(self._news.hear))
                for order in ("activate", "deactivate"):
                    subject = subject_of(self._type.name, order)
                    stack.callback(self._ports.requests.answer(subject, self._answer))
                await persist(lambda: mend_triggers(self._ports))
                while True:
                    await self._follow()
        finally:
            self._provides = False
            async with self._turn:
                await asyncio.gather(*(self._end(id) for id in list(self._active)))

    async def _follow(self) -> None:
        """Look at what there is news of, or at everything."""
        keys = await self._news.wait(SWEEP_S)
        if EVERYTHING in keys:
            keys = await self._differing()
        for id in sorted(keys):
            await self._look(id)
        await self._claim.note(self._failing)

    async def _differing(self) -> set[str]:
        """The triggers that are stored otherwise than they run."""
        entries = await persist(lambda: entries_of(self._ports))
        wanted = {each.id: each for each in triggers_of(self._type.name, entries)}
        there = {id: activity.trigger for id, activity in self._active.items()}
        return {id for id in {*wanted, *there, *self._failing} if wanted.get(id) != there.get(id)}

    async def _look(self, id: str) -> str:
        """Let a trigger be as it is stored now. Gives why it cannot."""
        async with self._turn:  # what is read counts until it is done
            if not self._provides:
                return f"worker {self._worker_id} does not provide it any more"
            stored = await persist(lambda: self._ports.triggers.get(id))
            entry = _trigger(stored.data) if stored is not None else None
            wanted = entry if entry is not None and triggers_of(self._type.name, [entry]) else None
            if (there := self._active.get(id)) is not None and there.trigger != wanted:
                await self._end(id)
            if wanted is None:
                self._failing.pop(id, None)
            elif id not in self._active:
                return self._begin(wanted)
            return ""

    def _begin(self, trigger: TriggerEntry) -> str:
        self._failing.pop(trigger.id, None)
        assert trigger.external is not None, "it is one of ours"
        try:
            config = self._type.config_codec.decode(encode(trigger.external.config))
        except CodecError as error:
            why = self._failing[trigger.id] = f"its configuration does not fit: {error}"
            return why
        firing = Firing(self._ports, self._caller, trigger, self._leadership.check)
        self._active[trigger.id] = Activity(self._type, trigger, config, firing, self._note)
        log.info("trigger %s of workflow %s is active", trigger.id, trigger.workflow_id)
        return ""

    async def _end(self, id: str) -> None:
        activity = self._active.pop(id)
        await activity.stop(self._grace_s)
        self._failing.pop(id, None)
        log.info("trigger %s of workflow %s is active no more", id, activity.trigger.workflow_id)

    def _note(self, id: str, why: str) -> None:
        """Remember why a trigger fails; "" when it does not."""
        if why:
            self._failing[id] = why
        else:
            self._failing.pop(id, None)
        self._news.hear(id)

    async def _answer(self, data: bytes) -> bytes:
        """Somebody asks for a trigger to be activated or deactivated: it is looked at now. What is stored counts."""
        try:
            asked = decode(data, TriggerRequest)
            return encode(Refusal(error=await self._look(asked.trigger_id)))
        except DagnatsError as error:
            return encode(Refusal(error=str(error)))


def _trigger(data: bytes) -> TriggerEntry | None:
    with suppress(DecodeError):
        return decode(data, TriggerEntry)
    return None
