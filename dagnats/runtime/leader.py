"""The leading engine: reads the log in order, asks the core what each event decides, does it, stores the position.

    load → advance → publish → save

Nothing is decided here. Nothing of a batch is saved before all its actions are stored: a crash anywhere repeats
actions under the ids they had, which changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.errors import DagnatsError
from dagnats.model.event import OF_STEP, TERMINAL_PREFIXES, Poison, TimerFired, WorkflowPoisoned, encode_event
from dagnats.model.instant import rfc3339
from dagnats.model.ops import GATES, TICKS, FactRecord, GateTicked, encode_fact
from dagnats.model.run import ENDED
from dagnats.runtime.adoption import adopted
from dagnats.runtime.alarm import NEAR_S, Alarm
from dagnats.runtime.archive import Archive, due_after_s
from dagnats.runtime.burial import bury
from dagnats.runtime.decider import Undecidable
from dagnats.runtime.doubt import decided_by
from dagnats.runtime.letter import PARKED, UNREADABLE
from dagnats.runtime.patience import persist
from dagnats.runtime.porter import Porter
from dagnats.runtime.ports import Entry, LogCut
from dagnats.runtime.position import REACH, Position
from dagnats.runtime.together import gathered, together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.event import Record
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.core.gate.book import Page
    from dagnats.runtime.core.gate.fold import Gates
    from dagnats.runtime.decider import Decider, Unreadable
    from dagnats.runtime.doubt import Doubt
    from dagnats.runtime.follower import Follower, Unsettled
    from dagnats.runtime.lease import Leadership
    from dagnats.runtime.ledger import Ledger
    from dagnats.runtime.outbox import Flight, Outbox
    from dagnats.runtime.ports import EngineFeeds, Outstanding, Ports, Wakeup, WakeupFeed
    from dagnats.runtime.position import PositionKeeper
    from dagnats.runtime.roster import Roster, Seat
    from dagnats.runtime.schedule import Schedule
    from dagnats.runtime.together import Aside

log = logging.getLogger("dagnats.engine")

_MOST_PARKED = 100  # in a minute: more than that is no odd run but a broken engine
_MOST_FLIGHTS = 4
_LONGEST_UNSAVED_S = 5.0  # a run that every batch touches is saved this late at the latest
_OVERDUE_S = 5.0
LOOK_S = 30.0
_LOOKS_BACK = 10  # of so many, one goes through all durable wake-ups, for as long as the server's clock is behind


class EngineBroken(DagnatsError):
    """The core fails at run after run: deciding on would leave more of them behind."""


class _Batch(NamedTuple):
    """A batch whose actions are on their way."""

    last: Entry
    flight: Flight
    poison: Sequence[Unreadable]
    undecidable: Sequence[Undecidable]
    active: int
    gates: Page


class Leader:
    """Decides for every run on a server, once the takeover is done, until another engine does."""

    def __init__(
        self,
        ports: Ports,
        feeds: EngineFeeds,
        *,
        leadership: Leadership,
        keeper: PositionKeeper,
        follower: Follower,
        roster: Roster,
        decider: Decider,
        doubt: Doubt,
        outbox: Outbox,
        gates: Gates,
        ledger: Ledger,
        aside: Aside,
        schedule: Schedule,
        save_after_s: float,
        look_s: float = LOOK_S,
    ) -> None:
        self._look_s = look_s
        self._ports = ports
        self._feeds = feeds
        self._leadership = leadership
        self._keeper = keeper
        self._follower = follower
        self._roster = roster
        self._decider = decider
        self._doubt = doubt
        self._outbox = outbox
        self._save_after_s = save_after_s
        self._gates = gates
        self._ledger = ledger
        self._schedule = schedule
        self._porter = Porter(ports.tasks, gates)
        self._archive = Archive(
            ports.snapshots, roster, self._covered, aside, upto=lambda: keeper.stored_seq, rest_s=save_after_s
        )
        self._alarm = Alarm(self._ring)
        self._loop = asyncio.get_running_loop()
        self._parked: deque[float] = deque(maxlen=_MOST_PARKED)
        self._aside = aside
        self._launched = keeper.now.seq
        self._armed = 0  # the gates' wake-up that we count down to
        self._gates_at = 0.0  # when that is
        self._steady = keeper.now.seq  # the log up to here was written before the server's clock was set back
        self._looks_back = 0
        self._flights: asyncio.Queue[_Batch] = asyncio.Queue(_MOST_FLIGHTS)

    async def lead(self, doubtful: int, unsettled: Unsettled) -> None:
        """Decide, until LeaseLost, LogCut or EngineBroken is raised.

        Args:
            doubtful: The last event that an engine before us may have acted on.
            unsettled: What could not be folded, and nobody may have seen to.
        """
        await self._see_to(unsettled.poison, unsettled.undecidable)
        if self._keeper.now.anew:  # it only waited for that
            await self._keeper.begin(msgspec.structs.replace(self._keeper.now, anew=False))
        wakeups = await persist(self._feeds.wakeups)
        self._arm_all()
        self._arm_gates(self._leadership.server_now_ns())
        try:
            await together(
                self._decide(doubtful),
                self._land(),
                self._wake(wakeups),
                self._look_after(),
                self._archive.keep(),
                self._porter.keep(),
                self._keeper.keep(),
                self._keeper.show(),
                self._aside.watch(),
            )
        except LogCut:
            # What was lost may be covered up by what has come since: whoever leads next must not go by that.
            await self._keeper.begin(msgspec.structs.replace(self._keeper.now, anew=True))
            raise
        finally:
            self._alarm.close()
            await wakeups.close()
            await self._aside.close()

    # -- events ----------------------------------------------------------------------------------------------

    async def _decide(self, doubtful: int) -> None:
        """Fold batch after batch and send what follows; `_land` waits for the answers, in the same order."""
        while True:
            entries = await self._next_batch()
            self._tell_ends(entries)
            if entries[0].seq <= doubtful:
                await self._flights.join()
            elif self._roster.is_waiting(_LONGEST_UNSAVED_S):
                await self._settle()
            self._roster.evict()  # only here: what is loaded for a batch has to be there until it is folded
            self._decider.tidy()
            records, poison = await self._decider.read(entries)
            actions, undecidable = self._decisions(records)
            if entries[0].seq <= doubtful:
                actions = await self._settled(actions, doubtful)
            flight = self._outbox.launch(actions)
            self._roster.close_batch()
            is_live = entries[-1].seq >= self._decider.live_from
            self._arm_gates(entries[-1].time_ns if is_live else self._leadership.server_now_ns())
            changed = self._gates.taken()
            await self._flights.put(_Batch(entries[-1], flight, poison, undecidable, self._decider.active, changed))

    def _tell_ends(self, entries: Sequence[Entry]) -> None:
        """Let those hear it who wait for a run. What gets lost, they find when they look."""
        for entry in entries:
            data = entry.data
            if data[: len(OF_STEP)] != OF_STEP and data.startswith(TERMINAL_PREFIXES):
                self._ports.notices.end(entry)
                self._schedule.drop(entry.run_id)

    async def _settle(self) -> None:
        """Have nothing under way: what has waited for it can be saved then."""
        await self._flights.join()
        seq = self._keeper.now.seq
        await self._keeper.stored_when(lambda position: position.seq >= seq)
        self._archive.sweep()

    async def _next_batch(self) -> Sequence[Entry]:
        """The next events, once they are within reach of the stored position."""
        entries = await self._follower.batch()
        if entries[0].seq > self._launched + REACH:
            # All that was in between has been removed: the position can be just before what is left.
            await self._flights.join()
            self._launched = entries[0].seq - 1
            self._keeper.move(msgspec.structs.replace(self._keeper.now, seq=self._launched, time_ns=0))
        near = [entry for entry in entries if entry.seq <= self._launched + REACH]
        self._follower.put_back(entries[len(near) :])
        await self._keeper.room(near[-1].seq)
        self._launched = near[-1].seq
        return near

    def _decisions(self, records: Sequence[Record | FactRecord]) -> tuple[list[AnyAction], list[Undecidable]]:
        actions: list[AnyAction] = []
        undecidable: list[Undecidable] = []
        for record in records:
            if isinstance(record, FactRecord):
                actions += self._gates.tell(record)
                continue
            decision = self._decider.decide(record)
            if decision is None:
                continue
            if isinstance(decision, Undecidable):
                undecidable.append(decision)
                continue
            actions += self._gates.fold(record, decision)
            if decision.run is not None:
                self._note_wakeup(record)
        return actions, undecidable

    async def _land(self) -> None:
        """Wait, batch after batch, until all its actions are stored; only then is anything of it saved."""
        while True:
            batch = await self._flights.get()
            await self._outbox.land(batch.flight)
            await self._see_to(batch.poison, batch.undecidable)
            self._roster.commit(after_s=due_after_s(self._save_after_s, self._roster.unsaved))
            self._ledger.commit(batch.gates)
            await self._ledger.keep()
            self._move(batch.last, batch.active)
            self._porter.look()
            self._archive.sweep()
            self._flights.task_done()

    async def _settled(self, actions: list[AnyAction], doubtful: int) -> list[AnyAction]:
        """Without what an engine before us has done. A server that was restarted remembers no ids of answered tasks."""
        unsure = {action.id: action for action in actions if decided_by(action) <= doubtful}
        left = {action.id: action for action in await self._doubt.left(unsure.values())}
        return [left.get(action.id, action) for action in actions if action.id in left or action.id not in unsure]

    def _move(self, last: Entry, active: int) -> None:
        self._keeper.move(
            Position(
                seq=last.seq,
                time_ns=last.time_ns,
                low=self._roster.low(last.seq + 1),
                active=active,
                tasks=self._outbox.newest_task,
                epoch=self._outbox.epoch,
                server=self._keeper.now.server,
                gates=self._ledger.mark(),
            )
        )

    def _covered(self) -> None:
        """Snapshots cover more than before: the next to take over may begin later."""
        now = self._keeper.now
        low = min(self._roster.low(now.seq + 1), now.seq + 1)
        if low != now.low:
            self._keeper.move(msgspec.structs.replace(now, low=low))

    # -- what cannot be decided ------------------------------------------------------------------------------

    async def _see_to(self, poison: Sequence[Unreadable], undecidable: Sequence[Undecidable]) -> None:
        for bad in poison:
            await self._poisoned(bad)
        for lost in undecidable:
            await self._park(lost)

    async def _poisoned(self, poison: Unreadable) -> None:
        """An entry that is no event: into the dead letters with it, and its run fails, visibly."""
        entry, error = poison
        if await adopted(self._ports, entry):
            return
        await self._bury(entry, error, UNREADABLE)
        seat = self._roster.seat(entry.run_id)
        if seat is None or seat.run.ended:
            return
        why = f"event {entry.seq} of the run cannot be read: {error}; its bytes are in the dead letters"
        event = WorkflowPoisoned(run_id=entry.run_id, timestamp=rfc3339(entry.time_ns), payload=Poison(error=why))
        await self._ports.log.append(entry.run_id, encode_event(event), id=f"{entry.run_id}.{entry.seq}.poisoned")

    async def _park(self, lost: Undecidable) -> None:
        """An event the core raised at: its run waits, unchanged, for an engine that can decide it."""
        record, error = lost
        run_id = record.event.run_id
        log.error("run %s is parked: event %d cannot be decided", run_id, record.seq, exc_info=error)
        await self._bury(Entry(record.seq, record.time_ns, run_id, encode_event(record.event)), error, PARKED)
        now = self._loop.time()
        if len(self._parked) == _MOST_PARKED and now - self._parked[0] < 60.0:
            raise EngineBroken(
                f"{_MOST_PARKED} runs could not be decided within a minute, the last one because of "
                f"{type(error).__name__}: {error}",
                hint="this is a fault of DagNats: run the version before it, and report what the log says",
            )
        self._parked.append(now)

    async def _bury(self, entry: Entry, error: Exception, kind: str) -> None:
        log.error("event %d of run %s goes to the dead letters: %s", entry.seq, entry.run_id, error)
        headers = {
            "Dagnats-Dlq-Run-Id": entry.run_id,
            "Dagnats-Dlq-Error": f"{type(error).__name__}: {error}" if kind == PARKED else str(error),
            "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY",
            "Dagnats-Dlq-Sequence": str(entry.seq),
        }
        # With its time: a log that lost its tail uses sequences again.
        letter_id = f"dlq:history:{entry.seq}:{entry.time_ns}"
        await bury(self._ports.dead_letters, f"{kind}.{entry.run_id}", entry.data, headers, id=letter_id)

    # -- wake-ups --------------------------------------------------------------------------------------------

    def _note_wakeup(self, record: Record) -> None:
        """Count down to the run's wake-up here as well, from the event that was read just now."""
        seat = self._roster.seat(record.event.run_id)
        if seat is None or seat.armed == seat.run.wake_seq:
            return
        run = seat.run
        now_ns = run.clock_ns
        if record.seq < self._decider.live_from:  # it waited in the log
            server_ns = self._leadership.server_now_ns()
            if run.seq == record.seq:
                now_ns += max(server_ns - record.time_ns, 0)
            else:  # the snapshot was ahead of it
                now_ns = max(server_ns, now_ns)
        self._arm(seat, run.wake_ns - now_ns)

    def _arm_gates(self, now_ns: int) -> None:
        """Count down to the gates' wake-up. It needs no durable one: who leads has all gates in memory."""
        gates = self._gates
        if gates.wake_seq == self._armed:
            return
        self._armed = gates.wake_seq
        if not gates.wake_seq:
            self._alarm.drop(GATES)
            return
        delay_s = max(gates.wake_ns - now_ns, 0) / 1e9
        self._gates_at = self._loop.time() + delay_s
        if delay_s <= NEAR_S:
            self._alarm.set(GATES, gates.wake_seq, gates.wake_ns, self._gates_at)

    def _look_at_gates(self, now: float) -> None:
        gates = self._gates
        if not gates.wake_seq or gates.wake_seq != self._armed:
            return
        if self._gates_at < now - _OVERDUE_S:
            self._ring(GATES, gates.wake_seq, gates.wake_ns)
        elif self._gates_at <= now + NEAR_S:
            self._alarm.set(GATES, gates.wake_seq, gates.wake_ns, self._gates_at)

    def _arm_all(self) -> None:
        now_ns = self._leadership.server_now_ns()
        for seat in self._roster:
            self._arm(seat, seat.run.wake_ns - max(seat.run.clock_ns, now_ns))

    def _arm(self, seat: Seat, delay_ns: int) -> None:
        run = seat.run
        self._schedule.note(run)
        seat.armed = run.wake_seq
        if not run.wake_seq:
            self._alarm.drop(run.run_id)
            return
        delay_s = max(delay_ns, 0) / 1e9
        seat.wake_at = self._loop.time() + delay_s
        if delay_s <= NEAR_S:
            self._alarm.set(run.run_id, run.wake_seq, run.wake_ns, seat.wake_at)

    async def _look_after(self) -> None:
        """Bring wake-ups that have come near into the alarm, and fire what the server owes us. Raises LogCut."""
        while True:
            await asyncio.sleep(self._look_s)
            await self._outbox.check_tasks()
            now = self._loop.time()
            self._look_at_gates(now)
            for seat in self._roster:
                run = seat.run
                if not run.wake_seq or seat.armed != run.wake_seq:
                    continue
                if seat.wake_at < now - _OVERDUE_S:
                    self._ring(run.run_id, run.wake_seq, run.wake_ns)
                elif seat.wake_at <= now + NEAR_S:
                    self._alarm.set(run.run_id, run.wake_seq, run.wake_ns, seat.wake_at)
            await self._look_back()

    async def _look_back(self) -> None:
        """Fire what the server is late with because its clock was set back, for runs that we do not count down for."""
        if await self._leadership.set_back_s() < self._look_s / 2:
            self._steady, self._looks_back = self._launched, 0
            return
        self._looks_back += 1
        if self._looks_back % _LOOKS_BACK != 1:
            return
        late_ns = self._leadership.server_now_ns() - int(_OVERDUE_S * 1e9)
        for each in await persist(self._ports.timers.all):
            # What was asked for later goes by the clock as it is now.
            is_late = each.seq <= self._steady and each.due_ns <= late_ns
            if is_late and self._roster.seat(each.run_id) is None and await self._is_awaited(each):
                self._aside.spawn(self._tick(each.run_id, each.seq, each.due_ns))

    def _ring(self, run_id: str, seq: int, due_ns: int) -> None:
        seat = self._roster.seat(run_id)
        if seat is None or seat.run.wake_seq == seq:
            self._aside.spawn(self._tick(run_id, seq, due_ns))

    async def _wake(self, wakeups: WakeupFeed) -> None:
        while True:
            await gathered(self._fire(wakeup) for wakeup in await wakeups.batch())

    async def _fire(self, wakeup: Wakeup) -> None:
        seq = self._launched
        if await self._is_awaited(wakeup):
            seq = await self._tick(wakeup.run_id, wakeup.seq, wakeup.due_ns)
        self._aside.spawn(self._acknowledge(wakeup, seq))

    async def _acknowledge(self, wakeup: Wakeup, seq: int) -> None:
        """A tick that is lost with the log's tail leaves no trace, unless the position is behind it: then it shows."""
        await self._keeper.stored_when(lambda position: position.seq >= seq)
        wakeup.acknowledge()

    async def _is_awaited(self, wakeup: Wakeup | Outstanding) -> bool:
        """False for a wake-up that has been heard already, or was replaced, or whose run is over."""
        seat = self._roster.seat(wakeup.run_id)
        if seat is not None:
            return seat.run.wake_seq == wakeup.seq or seat.run.seq < wakeup.seq
        stored = await persist(lambda: self._ports.snapshots.load(wakeup.run_id))
        return stored is None or _awaits(stored.data, wakeup.seq, self._launched)

    async def _tick(self, run_id: str, seq: int, due_ns: int) -> int:
        """Put a due wake-up into the run's history, and give its place: both timers of one write the same message."""
        stamp = rfc3339(due_ns)
        if run_id == GATES:
            history, data = TICKS, encode_fact(GateTicked(due_ns=due_ns, timestamp=stamp))
        else:
            seat = self._roster.seat(run_id)
            trace = seat.run.trace_parent if seat is not None else ""
            self._schedule.drop(run_id)
            event = TimerFired(run_id=run_id, timestamp=stamp, trace_parent=trace, due_ns=due_ns)
            history, data = run_id, encode_event(event)
        # With its instant: an event that is lost may have asked, in this one's place, for another.
        return (await self._ports.log.append(history, data, id=f"{run_id}.{seq}.timer.{due_ns}")).seq


class _Glance(msgspec.Struct):
    """What a wake-up has to know of a snapshot."""

    status: str
    seq: int
    wake_seq: int = 0


_glance = msgspec.json.Decoder(_Glance)


def _awaits(snapshot: bytes, seq: int, last: int) -> bool:
    """Whether a run still waits for the wake-up that event `seq` asked for; in doubt, yes.

    Args:
        last: The last event that was decided. A snapshot that is ahead of it is of a log that has lost its tail.
    """
    try:
        run = _glance.decode(snapshot)
    except msgspec.DecodeError:
        return True
    if run.seq > last or run.seq < seq:  # an ended one, too: it was opened again, and the newest snapshot is lost
        return True
    return run.status not in ENDED and run.wake_seq == seq
