"""The engine: reads the log in order, asks the core what each event decides, does it, acknowledges.

    load → advance → publish → acknowledge

Nothing is decided here. Nothing of a batch is acknowledged before all its actions are: a crash anywhere repeats
actions under the ids they had, which changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import DecodeError, RefusedError
from dagnats.model.event import (
    Outcome,
    Record,
    TimerFired,
    WorkflowFailed,
    WorkflowStarted,
    decode_event,
    encode_event,
)
from dagnats.model.identifier import is_run_id
from dagnats.model.instant import rfc3339
from dagnats.model.run import IN_FLIGHT, decode_run, encode_run
from dagnats.runtime.burial import bury
from dagnats.runtime.core.action import EnqueueTask, SetTimer
from dagnats.runtime.core.advance import advance, fold
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.lease import Leadership, LeaseLost
from dagnats.runtime.outbox import Outbox
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Entry
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from dagnats.model.run import Run
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import EngineFeeds, LogFeed, Ports, Wakeup, WakeupFeed

log = logging.getLogger("dagnats.engine")

_NEAR_NS = 5_000_000_000  # native schedules are up to 250 ms late; timers nearer than this are kept here too


class Engine:
    """Decides for every run on a server, while it leads."""

    def __init__(self, ports: Ports, feeds: EngineFeeds) -> None:
        self._ports = ports
        self._feeds = feeds
        self._outbox = Outbox(ports)
        self._leadership = Leadership(ports.lease, f"engine-{secrets.token_hex(8)}")
        self._runs: dict[str, Run] = {}
        self._graphs: dict[str, Graph] = {}
        self._near: dict[str, asyncio.TimerHandle] = {}
        self._aside: set[asyncio.Task[None]] = set()

    async def run(self, *, alone: bool = False) -> None:
        """Lead when nobody else does, until cancelled; stand by in between.

        Args:
            alone: Nobody else can be leading: see `Leadership.acquire`.
        """
        while True:
            await self._leadership.acquire(at_once=alone)
            alone = False
            try:
                await self._lead()
            except LeaseLost as lost:
                log.warning("no longer leading: %s", lost)
            finally:
                self._runs.clear()
                await self._leadership.release()

    async def _lead(self) -> None:
        history = await persist(self._feeds.history)
        wakeups = await persist(self._feeds.wakeups)
        work = [
            asyncio.create_task(self._follow(history), name="engine: history"),
            asyncio.create_task(self._wake(wakeups), name="engine: wake-ups"),
            asyncio.create_task(self._leadership.keep(), name="engine: lease"),
        ]
        try:
            await asyncio.gather(*work)
        finally:
            for timer in self._near.values():
                timer.cancel()
            self._near.clear()
            await _cancelled([*work, *self._aside])
            await history.close()
            await wakeups.close()

    async def _follow(self, history: LogFeed) -> None:
        while True:
            entries = await history.batch()
            await self._process(entries)
            history.acknowledge(entries[-1].seq)

    async def _wake(self, wakeups: WakeupFeed) -> None:
        while True:
            await asyncio.gather(*(self._fire(wakeup) for wakeup in await wakeups.batch()))

    # -- a batch of events -----------------------------------------------------------------------------------

    async def _process(self, entries: Sequence[Entry]) -> None:
        """Fold a batch and do what it decides; returns when all of it is stored."""
        records = await self._decode(entries)
        new = {entry.run_id for entry in entries if entry.first}
        await self._load([record for record in records if record.event.run_id not in new])
        await self._load_definitions(records)
        actions: list[AnyAction] = []
        ended: list[Run] = []
        for record in records:
            run = self._runs.get(record.event.run_id)
            was_over = run is None or run.ended
            graph = self._graph_of(record, run)
            if graph is None:
                continue  # late news: the run has ended, or its history is gone
            try:
                decision = advance(graph, run, record)
            except Exception as error:  # noqa: BLE001  # a bug of the core must not stop the runs it does not concern
                await self._park(record, error)
                continue
            run = decision.run
            if run is None:
                continue
            self._runs[run.run_id] = run
            actions += decision.actions
            if run.ended and not was_over:
                ended.append(run)
            self._set_near_timers(decision.actions, run.clock_ns)
        self._leadership.check()
        await self._outbox.act([action for action in actions if self._is_wanted(action)])
        for run in ended:
            self._write_behind(run)
            self._drop_tasks(run)
        for record in records:
            run = self._runs.get(record.event.run_id)
            if run is not None and run.ended:
                self._forget(run.run_id)

    async def _decode(self, entries: Iterable[Entry]) -> list[Record]:
        records: list[Record] = []
        for entry in entries:
            try:
                event = decode_event(entry.data)
                if not is_run_id(entry.run_id):
                    raise DecodeError(f"{entry.run_id!r} cannot name a run", data=entry.data)
                if event.run_id != entry.run_id:
                    raise DecodeError(f"run {event.run_id!r} in the history of run {entry.run_id!r}", data=entry.data)
            except DecodeError as error:
                await self._bury(entry, error, "unmarshal-failed")
                continue
            records.append(Record(entry.seq, entry.time_ns, event))
        return records

    async def _park(self, record: Record, error: Exception) -> None:
        """Fail a run the core cannot decide: its event into the dead letters, its end into its history."""
        run_id = record.event.run_id
        log.error("run %s cannot be decided at event %d", run_id, record.seq, exc_info=error)
        self._runs.pop(run_id, None)  # half moved
        why = f"the engine cannot decide event {record.seq}: {type(error).__name__}: {error}"
        entry = Entry(record.seq, record.time_ns, run_id, encode_event(record.event))
        await self._bury(entry, error, "parked")
        failed = WorkflowFailed(run_id=run_id, timestamp=rfc3339(record.time_ns), payload=Outcome(error=why))
        await self._ports.log.append(run_id, encode_event(failed), id=f"{run_id}.{record.seq}.parked")

    async def _bury(self, entry: Entry, error: Exception, kind: str) -> None:
        """Put an event nobody can act on into the dead letters, with its bytes, and go on."""
        log.error("event %d of run %s goes to the dead letters: %s", entry.seq, entry.run_id, error)
        headers = {
            "Dagnats-Dlq-Run-Id": entry.run_id,
            "Dagnats-Dlq-Error": str(error),
            "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY",
            "Dagnats-Dlq-Sequence": str(entry.seq),
        }
        subject = f"orchestrator.{kind}.{entry.run_id}"
        await bury(self._ports.dead_letters, subject, entry.data, headers, id=f"dlq:history:{entry.seq}")

    # -- runs and definitions --------------------------------------------------------------------------------

    def _graph_of(self, record: Record, run: Run | None) -> Graph | None:
        event = record.event
        if run is not None:
            return self._graphs.get(run.def_hash)
        return self._graphs[event.payload.def_hash] if isinstance(event, WorkflowStarted) else None

    async def _load(self, records: Sequence[Record]) -> None:
        """Have the runs of these events in memory as they were before the first of them."""
        first = {record.event.run_id: record for record in reversed(records)}
        unknown = [record for run_id, record in first.items() if run_id not in self._runs]
        await asyncio.gather(*(self._load_run(record) for record in unknown))

    async def _load_definitions(self, records: Sequence[Record]) -> None:
        starts = [record.event for record in records if isinstance(record.event, WorkflowStarted)]
        wanted = {(start.payload.workflow, start.payload.def_hash) for start in starts}
        await asyncio.gather(*(self._load_graph(*pair) for pair in wanted))

    async def _load_run(self, record: Record) -> None:
        run_id = record.event.run_id
        snapshot = await persist(lambda: self._ports.snapshots.load(run_id))
        if snapshot is not None:
            try:
                self._runs[run_id] = decode_run(snapshot)
                return
            except msgspec.DecodeError as error:
                log.warning("the snapshot of run %s cannot be read, the log will do: %s", run_id, error)
        if await persist(lambda: self._ports.log.first(run_id)) < record.seq:
            await self._refold(run_id, before=record.seq)

    async def _refold(self, run_id: str, *, before: int) -> None:
        """Make a run again from its history, up to the event that is about to be decided."""
        entries = await persist(lambda: self._ports.log.read(run_id))
        records = decoded(entry for entry in entries if entry.seq < before)
        if not records or not isinstance(records[0].event, WorkflowStarted):
            return
        start = records[0].event.payload
        await self._load_graph(start.workflow, start.def_hash)
        try:
            run = fold(self._graphs[start.def_hash], records)
        except Exception:
            log.exception("run %s cannot be folded: it stays parked", run_id)
            return
        if run is not None:
            self._runs[run_id] = run

    async def _load_graph(self, workflow: str, identity: str) -> None:
        known = self._graphs.get(identity)
        if known is None or known.unusable:  # what was missing may have been stored since
            data = await persist(lambda: self._ports.definitions.version(workflow, identity))
            self._graphs[identity] = graph_of(workflow, identity, data)

    # -- after the batch -------------------------------------------------------------------------------------

    def _is_wanted(self, action: AnyAction) -> bool:
        """False for a task that the same batch has an answer to (as after a restart): it would run twice."""
        if not isinstance(action, EnqueueTask):
            return True
        run = self._runs.get(action.run_id)
        if run is None:  # it was parked
            return False
        state = run.steps[action.step_id]
        return state.attempt == action.attempt and state.status in IN_FLIGHT

    def _write_behind(self, run: Run) -> None:
        """Write a run's snapshot, without waiting for it: losing it costs a refold, never a run."""
        self._spawn(self._save(run.run_id, encode_run(run)))

    async def _save(self, run_id: str, snapshot: bytes) -> None:
        try:
            await self._ports.snapshots.save(run_id, snapshot)
        except RefusedError as error:
            log.warning("run %s has no snapshot: %s", run_id, error)

    def _drop_tasks(self, run: Run) -> None:
        """Take what an ended run has left in the queues: handlers that begin now would work for nobody."""
        graph = self._graphs[run.def_hash]
        left = {
            graph.nodes[step].task
            for step, state in run.steps.items()
            if state.status == "cancelled" and step in graph.nodes
        }
        for task_type in left:
            self._spawn(persist(lambda task_type=task_type: self._ports.tasks.drop(task_type, run.run_id)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    def _forget(self, run_id: str) -> None:
        del self._runs[run_id]
        timer = self._near.pop(run_id, None)
        if timer is not None:
            timer.cancel()

    # -- timers ----------------------------------------------------------------------------------------------

    def _set_near_timers(self, actions: Iterable[AnyAction], now_ns: int) -> None:
        """Keep a near wake-up here as well: the durable one may come a quarter of a second late."""
        loop = asyncio.get_running_loop()
        for action in actions:
            if isinstance(action, SetTimer) and action.due_ns - now_ns <= _NEAR_NS:
                earlier = self._near.pop(action.run_id, None)
                if earlier is not None:
                    earlier.cancel()
                # Counted from the event that was read just now: late by its travel, never early.
                delay_s = max(action.due_ns - now_ns, 0) / 1e9
                self._near[action.run_id] = loop.call_later(delay_s, self._near_due, action)

    def _near_due(self, action: SetTimer) -> None:
        self._near.pop(action.run_id, None)
        self._spawn(self._tick(action.run_id, action.seq, action.due_ns))

    async def _fire(self, wakeup: Wakeup) -> None:
        if await self._may_wait(wakeup.run_id):
            await self._tick(wakeup.run_id, wakeup.seq, wakeup.due_ns)
        wakeup.acknowledge()

    async def _may_wait(self, run_id: str) -> bool:
        """Whether a run can still be woken: a run that ended has a snapshot."""
        if run_id in self._runs:
            return True
        return await persist(lambda: self._ports.snapshots.load(run_id)) is None

    async def _tick(self, run_id: str, seq: int, due_ns: int) -> None:
        """Put a due wake-up into the run's history. Both timers of one wake-up write the same message."""
        event = TimerFired(run_id=run_id, timestamp=rfc3339(due_ns), due_ns=due_ns)
        await self._ports.log.append(run_id, encode_event(event), id=f"{run_id}.{seq}.timer")


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
