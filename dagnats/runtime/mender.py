"""Looks for what a server has lost since it was started anew.

A server that answers before its disk is written can lose what it acknowledged last, each of its streams to another
point. When the log ends before the position, that is noticed, and everything is folded anew. When it ends behind it,
nothing shows: a result that nobody had read yet is gone, and its task was acknowledged; an event that the engine has
added to a history is gone, and the event that decided it is covered by the position. So after every start of the
server, each run that goes on is asked what its history has decided, and what of that is not there is done again.

That is read from the log, in a memory of its own, while the engine leads: what is done twice for that has the same id,
or is answered once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from dagnats.model.identifier import is_run_id
from dagnats.model.run import ENDED, IN_FLIGHT
from dagnats.runtime.arrears import decided, is_own
from dagnats.runtime.core.action import (
    AddWaiter,
    AskAdmission,
    AskApproval,
    DropTask,
    DropWaiter,
    KeepSignal,
    SetTimer,
)
from dagnats.runtime.debt import TAIL_NS, Debts
from dagnats.runtime.decider import Decider
from dagnats.runtime.doubt import Doubt
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut
from dagnats.runtime.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dagnats.model.run import Run
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.core.gate.fold import Gates
    from dagnats.runtime.outbox import Outbox
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.position import PositionKeeper

log = logging.getLogger("dagnats.engine")

_AT_ONCE = 16
_REST_S = 0.005  # after each: what goes on comes first

# Asked once more, people would wonder; a signal that is shown again may be older than the one that is there; a task
# that was taken out is not lost.
_ONCE = (AskAdmission, AskApproval, DropTask, KeepSignal)


class Mender:
    """Makes good what was lost, while its engine leads.

    Args:
        outbox: Makes a way out of its own, with the doubt it is given: the leader's lands in the order it was launched.
        look_s: How often it looks whether the server was started anew.
    """

    def __init__(
        self, ports: Ports, keeper: PositionKeeper, gates: Gates, outbox: Callable[[Doubt], Outbox], *, look_s: float
    ) -> None:
        self._ports = ports
        self._keeper = keeper
        self._gates = gates
        self._look_s = look_s
        self._roster = Roster(now=asyncio.get_running_loop().time)
        self._decider = Decider(ports, self._roster)
        self._doubt = Doubt(ports, self._roster, self._decider)
        self._outbox = outbox(self._doubt)

    async def keep(self) -> None:
        """Look, until cancelled. Raises LeaseLost, LogCut."""
        while True:
            start = await persist(self._ports.server.start)
            if start and start != self._keeper.now.server:
                await self._mend()
                self._keeper.move(msgspec.structs.replace(self._keeper.now, server=start))
            await asyncio.sleep(self._look_s)

    async def _mend(self) -> None:
        upto = self._keeper.stored_seq  # what was decided up to here was stored
        # What was done for others long before that may have been removed since, on purpose.
        debts = Debts(self._keeper.now.time_ns - TAIL_NS)
        run_ids = [run_id for run_id in await persist(self._ports.log.run_ids) if is_run_id(run_id)]
        live: list[str] = []
        for some in _chunks(run_ids):
            live += [run_id for run_id in await asyncio.gather(*map(self._live, some)) if run_id is not None]
            await asyncio.sleep(_REST_S)
        wakeups = {(each.run_id, each.seq) for each in await persist(self._ports.timers.all)}
        await self._send(self._gates.outstanding())
        for some in _chunks(live):
            for actions in await asyncio.gather(*(self._owed(run_id, upto, debts) for run_id in some)):
                await self._send(each for each in actions if not _is_there(each, wakeups))
            self._roster.clear()
            self._decider.clear()
            self._decider.tidy()
            await asyncio.sleep(_REST_S)

    async def _live(self, run_id: str) -> str | None:
        """The run, when it may go on. A snapshot that the log does not know of is taken away: others go by it."""
        stored = await persist(lambda: self._ports.snapshots.load(run_id))
        glance = _glanced(stored.data) if stored is not None else None
        if glance is None:
            return run_id
        newest = await persist(lambda: self._ports.log.newest(run_id))
        if newest is None:  # removed meanwhile
            return None
        if (newest.seq, newest.time_ns) == (glance.seq, glance.time_ns):
            return run_id if glance.status not in ENDED else None
        known = await persist(lambda: self._ports.log.at(glance.seq))
        if known is None or (known.run_id, known.time_ns) != (run_id, glance.time_ns):
            await persist(lambda: self._ports.snapshots.remove(run_id))
        return run_id

    async def _owed(self, run_id: str, upto: int, debts: Debts) -> list[AnyAction]:
        """What a run that goes on has decided, and what others have decided for it."""
        run = await self._loaded(run_id, upto)
        if run is None or run.ended:
            return []
        actions = await self._decided(run_id, upto, debts)
        for relative in _relatives(run):
            await self._loaded(relative, upto)
            said = await self._decided(relative, upto, debts)
            actions += [action for action in said if action.run_id == run_id and not is_own(action)]
        await debts.forgive_removed(self._ports.log)
        return [action for action in actions if debts.is_owed(action)]

    async def _loaded(self, run_id: str, upto: int) -> Run | None:
        if not await self._decider.have(run_id, before=upto + 1):
            return None
        seat = self._roster.seat(run_id)
        return seat.run if seat is not None else None

    async def _decided(self, run_id: str, upto: int, debts: Debts) -> list[AnyAction]:
        found = await decided(self._ports, self._decider, self._gates, run_id, upto, debts)
        return [action for action in found if not isinstance(action, _ONCE)]

    async def _send(self, actions: Iterable[AnyAction]) -> None:
        left = await self._doubt.left(actions)
        if left:
            log.warning("the server was started anew and has lost %d messages: they are sent again", len(left))
            try:
                await self._outbox.act(left)
            except LogCut:  # as the leader does: see there
                await self._keeper.begin(msgspec.structs.replace(self._keeper.now, anew=True))
                raise
            await self._take_back([action for action in left if isinstance(action, AddWaiter)])

    async def _take_back(self, waiters: Sequence[AddWaiter]) -> None:
        """Forget whom nobody waits for any more: a run that had its event while we asked has dropped its waiter before
        we sent it again, and never does so twice. What comes from now on, the leader folds after our sending."""
        wanted = {waiter.id for waiter in await self._doubt.left(waiters)}
        await self._outbox.act(
            [
                DropWaiter(id=each.id, run_id=each.run_id, step_id=each.step_id, attempt=each.attempt, event=each.event)
                for each in waiters
                if each.id not in wanted
            ]
        )


def _chunks(run_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (run_ids[at : at + _AT_ONCE] for at in range(0, len(run_ids), _AT_ONCE))


def _relatives(run: Run) -> list[str]:
    """The runs that this one waits to hear of: its parent, which may give it up, and its children."""
    waited = [state.child_run_id for state in run.steps.values() if state.child_run_id and state.status in IN_FLIGHT]
    above = [run.parent.run_id] if run.parent is not None else []
    return [run_id for run_id in (*above, *waited) if is_run_id(run_id)]


def _is_there(action: AnyAction, wakeups: set[tuple[str, int]]) -> bool:
    return isinstance(action, SetTimer) and (action.run_id, action.seq) in wakeups


class _Glance(msgspec.Struct):
    """What of a snapshot says whether the run goes on."""

    status: str
    seq: int
    time_ns: int


_glance = msgspec.json.Decoder(_Glance)


def _glanced(snapshot: bytes) -> _Glance | None:
    try:
        return _glance.decode(snapshot)
    except msgspec.DecodeError:
        return None
