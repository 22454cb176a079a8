"""The correlator: compares events from outside with what runs wait for, and tells each run its first match.

It reads the events in order, as far as its stored position and on from there. That position moves when all matches are
in their runs' histories: an engine that takes over may find a match again, which changes nothing, and skips none.
An event that came before its waiter is found by looking back, from the waiter's beginning to where the reading is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import ConflictError, DagnatsError, DecodeError, RefusedError
from dagnats.model.event import (
    Failure,
    Outcome,
    StepFailed,
    WaitMatched,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowReopened,
    WorkflowStarted,
    encode_event,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import NULL, encode
from dagnats.model.waiter import Waiter, decode_waiter, encode_waiter
from dagnats.runtime.burial import bury
from dagnats.runtime.core.cancel import PREFIX
from dagnats.runtime.core.path import Missing
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.letter import EVENT_UNREADABLE
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut
from dagnats.runtime.recall import recall
from dagnats.runtime.reuse import said
from dagnats.runtime.standing import standing
from dagnats.runtime.together import together
from dagnats.runtime.watch import Watch, Watches, body_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dagnats.runtime.core.action import AddWaiter, DropWaiter
    from dagnats.runtime.ports import EngineFeeds, EventFeed, Happening, Ports, Stored
    from dagnats.runtime.position import Position
    from dagnats.runtime.recall import Recalled
    from dagnats.runtime.together import Errands
    from dagnats.runtime.watch import Key

log = logging.getLogger("dagnats.engine")

_EVERY_S = 0.25
_AT_ONCE = 2_000  # comparisons without a pause: some milliseconds
_SHOWN = 1_000  # characters of an event's body that a cancelled run shows


class Correlated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the events are compared.

    Attributes:
        seq: The last one whose matches are all stored.
        time_ns: The server's time for it: another event there means that the stream lost its tail.
        by: The engine that wrote it.
    """

    seq: int = 0
    time_ns: int = 0
    by: str = ""


class Correlator:
    """Compares, while its engine leads.

    Args:
        holder: The engine.
        check: Raises LeaseLost when it may not lead any more.
        stored_when: Returns when the engine's position fits, of which all is done that it covers.
    """

    def __init__(
        self,
        ports: Ports,
        feeds: EngineFeeds,
        errands: Errands,
        *,
        holder: str,
        check: Callable[[], None],
        stored_when: Callable[[Callable[[Position], bool]], Awaitable[object]],
    ) -> None:
        self._ports = ports
        self._feeds = feeds
        self._errands = errands
        self._holder = holder
        self._check = check
        self._stored_when = stored_when
        self._watches = Watches()
        self._adding: dict[Key, asyncio.Task[None]] = {}
        self._dropping: dict[Key, asyncio.Task[None]] = {}
        self._kept: list[Waiter] = []  # as the bucket had them
        self._unasked: set[Key] = set()  # of these, what nobody has asked for since
        self._read = Correlated()  # the last event that is being compared
        self._done = Correlated()
        self._moved = asyncio.Event()
        self._revision = 0

    # -- taking over -----------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Go on where the engine before us was, and keep it from going on itself."""
        while True:
            stored = await persist(self._ports.correlated.read)
            self._revision = stored.revision if stored is not None else 0
            self._read = self._done = await self._begins_at(stored)
            self._check()  # whoever has relieved us meanwhile keeps what is theirs
            try:
                await self._write(self._done)
            except LeaseLost:  # it has moved it once more; that was its last time
                continue
            break
        for data in await persist(self._ports.waiters.all):
            try:
                self._kept.append(decode_waiter(data))
            except DecodeError as error:
                log.warning("a waiter is ignored: %s", error)

    async def _begins_at(self, stored: Stored | None) -> Correlated:
        events = self._ports.events
        last = await persist(events.last)
        position = _position_in(stored)
        if position is None or position.seq > last:
            # Nothing waits for what is there, or it has been lost: looking back finds what counts.
            event = await persist(lambda: events.at(last)) if last else None
            return Correlated(seq=last, time_ns=event.time_ns if event is not None else 0)
        event = await persist(lambda: events.at(position.seq)) if position.seq else None
        if event is not None and event.time_ns != position.time_ns:
            log.warning("the events do not go on where they were: all of them are compared again")
            return Correlated()
        return position

    def admit(self, upto: int, *, last: int, epoch: int) -> None:
        """Go on watching for what was asked for by event `upto`. What was asked for later is asked for again.

        Args:
            last: When this is decided, it has been asked for: what is not by then was of events that are lost.
        """
        kept: list[Watch] = []
        for waiter in self._kept:
            if self._watches.has(waiter):
                continue
            watch = Watch(waiter, epoch, looked=True)
            if int(waiter.id.split(".")[1]) <= upto:
                self._watches.add(watch)
                kept.append(watch)
            else:
                self._unasked.add(watch.key)
        self._kept = []
        self._errands.begin(self._forget(kept, last))

    async def _forget(self, kept: Sequence[Watch], last: int) -> None:
        try:
            await self._forget_ended(kept)
            await self._forget_unasked(last)
        except DagnatsError as error:  # nothing is matched by them
            log.warning("waiters that nobody needs stay until another engine leads: %s", error)

    async def _forget_ended(self, watches: Sequence[Watch]) -> None:
        """Forget waiters of runs that have ended, which nobody drops: such a run could not say what it had waited for
        any more, as its definition was gone; or its start was lost."""
        for watch in watches:
            if not await self._is_over(watch.waiter.run_id):
                continue
            if self._watches.get(watch.key) in (watch, None) and watch.key not in self._adding:
                self._watches.drop(watch.key)
                await self._dropped(watch.key)

    async def _forget_unasked(self, last: int) -> None:
        if self._unasked:
            await self._stored_when(lambda position: position.seq >= last)
        while self._unasked:
            await self._dropped(self._unasked.pop())

    async def _is_over(self, run_id: str) -> bool:
        """Whether a run is not there any more, or its snapshot says that it has ended, and it was not opened since."""
        recalled = await persist(lambda: recall(self._ports, run_id))
        run, later = recalled.run, recalled.later
        if run is not None and run.ended:
            return not any(isinstance(record.event, WorkflowReopened) for record in later)
        if run is None and not any(isinstance(record.event, WorkflowStarted) for record in later):
            return True
        return bool(later) and await self._has_ended(run_id, recalled)

    async def _has_ended(self, run_id: str, recalled: Recalled) -> bool:
        """Whether a run's history has ended it, whatever its snapshot says: the newest one may be lost."""
        try:
            _, run = await persist(lambda: standing(self._ports, run_id, recalled))
        except DagnatsError:  # it is parked: somebody has to look at it
            return False
        return run.ended

    async def forget_others(self) -> None:
        """Forget the stored waiters that nobody has asked for anew."""
        stale = [waiter for waiter in self._kept if not self._watches.has(waiter)]
        self._kept = []
        for waiter in stale:
            await self._dropped((waiter.run_id, waiter.step_id, waiter.attempt))

    # -- what is waited for ----------------------------------------------------------------------------------

    def add(self, action: AddWaiter, epoch: int) -> asyncio.Task[None]:
        """Watch for an event; done when that is stored, and an event that came before is found."""
        waiter = Waiter(
            id=action.id,
            run_id=action.run_id,
            step_id=action.step_id,
            attempt=action.attempt,
            event=action.event,
            left=action.left,
            op=action.op,
            right=action.right,
            since_ns=action.since_ns,
            until_ns=action.until_ns,
        )
        watch = Watch(waiter, epoch)
        self._unasked.discard(watch.key)
        if not self._watches.add(watch):
            return self._errands.begin(self._too_many(watch))
        adding = self._add(watch, self._read, self._dropping.get(watch.key))
        return _known(self._adding, watch.key, self._errands.begin(adding))

    async def _add(self, watch: Watch, read: Correlated, dropping: asyncio.Task[None] | None) -> None:
        try:
            if dropping is not None:  # else it would be taken away with what was there
                await asyncio.wait([dropping])
            waiter = watch.waiter
            await self._ports.waiters.put(waiter.run_id, waiter.step_id, waiter.attempt, encode_waiter(waiter))
            await self._look_back(watch, read)
        finally:
            watch.looked.set()

    async def _look_back(self, watch: Watch, read: Correlated) -> None:
        """Compare with what came before the watch and after its beginning."""
        waiter, after = watch.waiter, 0
        if read.time_ns and read.time_ns < waiter.since_ns:
            return
        while events := await persist(
            lambda after=after: self._ports.events.page(
                waiter.event, since_ns=waiter.since_ns, after=after, upto=read.seq
            )
        ):
            first = next((event for event in events if _is_match(watch, event)), None)
            if first is not None:
                watch.found = first
                self._watches.drop(watch.key)
                await self._tell(watch, first)
                return
            after = events[-1].seq

    def drop(self, action: DropWaiter) -> asyncio.Task[None]:
        """Watch no longer."""
        key = (action.run_id, action.step_id, action.attempt)
        self._watches.drop(key)
        return self._dropped(key)

    def _dropped(self, key: Key) -> asyncio.Task[None]:
        return _known(self._dropping, key, self._errands.begin(self._drop(key, self._adding.get(key))))

    async def _drop(self, key: Key, adding: asyncio.Task[None] | None) -> None:
        if adding is not None:  # a removal must not overtake what it removes
            await asyncio.wait([adding])

        def drop() -> Awaitable[None]:
            self._check()  # whoever has relieved us may have asked for it anew
            return self._ports.waiters.drop(*key)

        await persist(drop)

    # -- events ----------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Compare all that comes, until LeaseLost is raised."""
        await together(self._compare_all(), self._save())

    async def _compare_all(self) -> None:
        while True:
            feed: EventFeed | None = None
            try:
                feed = await persist(lambda: self._feeds.events(self._read.seq))
                while True:
                    await self._compare(await feed.batch())
            except LogCut as cut:
                log.warning("all events are compared again: %s", cut)
                self._read = self._done = Correlated()
            finally:
                if feed is not None:
                    await feed.close()

    async def _compare(self, events: Sequence[Happening]) -> None:
        telling: list[asyncio.Task[None]] = []
        compared = 0
        for event in events:
            # First of all: what is watched for from now on looks back as far as this.
            self._read = Correlated(seq=event.seq, time_ns=event.time_ns)
            watches, body = await self._near(event)
            for watch in watches:
                if watch.takes(event, body):  # it has its match then, and is not watched any more
                    self._watches.drop(watch.key)
                    telling.append(self._errands.begin(self._match(watch, event)))
            compared += len(watches)
            if compared >= _AT_ONCE:
                await self._told(telling)
                telling, compared = [], 0
        await self._told(telling)

    async def _told(self, telling: list[asyncio.Task[None]]) -> None:
        """Return when all matches so far are stored. Meanwhile the engine does other things: it renews its lease."""
        self._check()
        await (asyncio.gather(*telling) if telling else asyncio.sleep(0))
        self._done = self._read
        self._moved.set()

    async def _near(self, event: Happening) -> tuple[list[Watch], Any]:
        """What may wait for this event, and what it says."""
        if not self._watches.any_of(event.type):
            return [], None
        try:
            body = body_of(event)
        except Missing as error:
            await self._bury(event, str(error))
            return [], None
        return self._watches.near(event.type, body), body

    async def _match(self, watch: Watch, event: Happening) -> None:
        """Tell a run of a match, unless an earlier one is found."""
        await watch.looked.wait()
        if watch.found is None:
            await self._tell(watch, event)

    async def _tell(self, watch: Watch, event: Happening) -> None:
        waiter = watch.waiter
        epoch = f".{watch.epoch}" if watch.epoch else ""
        match_id = f"{waiter.run_id}.{waiter.step_id}.{waiter.attempt}.matched.{event.seq}{epoch}"
        match = _cancelled(waiter, event) if waiter.step_id.startswith(PREFIX) else _matched(waiter, event)
        try:
            await said(self._ports, waiter, encode_event(match), match_id)
        except RefusedError as error:
            await self._fail(watch, f"event {event.seq} matches, and does not fit the run's history: {error}")

    async def _too_many(self, watch: Watch) -> None:
        most, event = Watches.MOST, watch.waiter.event
        await self._fail(watch, f"{most} steps and runs wait for events of type {event!r} already")

    async def _fail(self, watch: Watch, why: str) -> None:
        """Nothing that the run could wait for: it is told so, as its step's failure."""
        waiter = watch.waiter
        epoch = f".{watch.epoch}" if watch.epoch else ""
        data = encode_event(failed_wait(waiter.run_id, waiter.step_id, waiter.attempt, why))
        await self._ports.log.append(waiter.run_id, data, id=f"{waiter.id}{epoch}.refused")

    async def _bury(self, event: Happening, why: str) -> None:
        log.error("event %d of type %s goes to the dead letters: %s", event.seq, event.type, why)
        headers = {
            "Dagnats-Dlq-Error": why,
            "Dagnats-Dlq-Consumer": "EVENTS",
            "Dagnats-Dlq-Sequence": str(event.seq),
            "Dagnats-Dlq-Event-Type": event.type,
        }
        letter_id = f"dlq:events:{event.seq}:{event.time_ns}"
        await bury(self._ports.dead_letters, f"{EVENT_UNREADABLE}.{event.seq}", event.data, headers, id=letter_id)

    # -- position --------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Store the position now and then. Raises LeaseLost."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            await self._write(self._done)
            await asyncio.sleep(_EVERY_S)

    async def _write(self, position: Correlated) -> None:
        data = msgspec.json.encode(msgspec.structs.replace(position, by=self._holder))

        def write() -> Awaitable[int]:
            self._check()  # again with each try: whoever has relieved us meanwhile keeps what is theirs
            return self._ports.correlated.write(data, revision=self._revision)

        try:
            self._revision = await persist(write)
        except ConflictError:
            # Another engine's, or our own from a try whose answer was lost.
            stored = await persist(self._ports.correlated.read)
            if stored is None or stored.data != data:
                raise LeaseLost("another engine compares the events") from None
            self._revision = stored.revision


def _known(under_way: dict[Key, asyncio.Task[None]], key: Key, task: asyncio.Task[None]) -> asyncio.Task[None]:
    """Have a task known by its key for as long as it is under way, or until the next one is."""

    def forget(task: asyncio.Task[None]) -> None:
        if under_way.get(key) is task:
            del under_way[key]

    under_way[key] = task
    task.add_done_callback(forget)
    return task


_decode = msgspec.json.Decoder(Correlated).decode


def _position_in(stored: Stored | None) -> Correlated | None:
    if stored is None:
        return None
    try:
        return msgspec.structs.replace(_decode(stored.data), by="")
    except msgspec.DecodeError as error:
        log.error("how far events were compared cannot be read, they are all compared again: %s", error)
        return Correlated()


def _is_match(watch: Watch, event: Happening) -> bool:
    try:
        return watch.takes(event, body_of(event))
    except Missing:
        return False


def _matched(waiter: Waiter, event: Happening) -> WaitMatched:
    return WaitMatched(
        run_id=waiter.run_id,
        step_id=waiter.step_id,
        attempt_number=waiter.attempt,
        timestamp=rfc3339(event.time_ns),
        payload=msgspec.Raw(event.data) if event.data else NULL,
        event_seq=event.seq,
    )


def _cancelled(waiter: Waiter, event: Happening) -> WorkflowCancelled:
    body = event.data.decode(errors="replace")
    body = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}…"
    why = Outcome(error=f"cancelled by event {event.type!r} ({event.seq}): {body}")
    return WorkflowCancelled(run_id=waiter.run_id, timestamp=rfc3339(event.time_ns), payload=why)


def failed_wait(run_id: str, step_id: str, attempt: int, why: str) -> StepFailed | WorkflowFailed:
    """What a run is told that cannot wait for an event: its step fails, or, to be cancelled by one, the run."""
    if step_id.startswith(PREFIX):
        return WorkflowFailed(run_id=run_id, payload=Outcome(error=why))
    failure = Failure(error=why, failure_type="non_retriable", detail="wait_for_event")
    return StepFailed(run_id=run_id, step_id=step_id, attempt_number=attempt, payload=encode(failure))
