"""Does everything say what the log says? Every run is folded from its first event, and what was made of it compared.

Compared are snapshots, tasks, wake-ups, waiters, places at gates and operators' limits. Not compared is what the log
does not tell whole: how full the buckets of rates are and who is before whom in a line, because runs that were removed
count there as well; dead letters, because people discard them; blobs and signals, which go with their run.

Only reads, except for `mend`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.client.difference import Difference, of_gone, of_live
from dagnats.client.fold import Fold
from dagnats.client.stock import Stock
from dagnats.errors import DecodeError
from dagnats.model.event import Record, WorkflowStarted, decode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.old_start import old_start_of
from dagnats.model.ops import OPS, TaskLimited, WorkflowLimited, decode_fact, task_history, workflow_history
from dagnats.model.run import Run, decode_run
from dagnats.runtime.blob import filled
from dagnats.runtime.core.graph import Graph, graph_of
from dagnats.runtime.pointer import complete_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagnats.model.ops import Fact
    from dagnats.runtime.ports import Entry, Ports, Stored

_AT_ONCE = 16
_LOOKS = 3
_REST_S = 1.0
"""Between two looks: long enough for an acknowledgement, and for what the engine clears up aside."""

_SURE = frozenset({"unreadable", "start", "definition", "fold", "snapshot"})


class Verified(NamedTuple):
    """What `verify` found.

    Attributes:
        runs: How many were folded.
        events: How many events they have.
        differences: What is not as it should be.
        moving: Runs that the engine had more to do for whenever they were looked at: only their snapshots were
            compared.
    """

    runs: int
    events: int
    differences: tuple[Difference, ...]
    moving: int = 0


async def verify(ports: Ports, *, told: Callable[[int, int], None] | None = None) -> Verified:
    """Fold every run.

    Args:
        told: Called now and then with how many runs are done, and how many there are.
    """
    check = _Check(ports, await Stock.read(ports))
    run_ids = sorted({*(await ports.log.run_ids()), *check.stock.run_ids})
    found = await check.all(run_ids, told)
    runs, events, moving = check.runs, check.events, check.moving
    for _ in range(_LOOKS - 1):
        again = {each.run_id for each in found if each.kind not in _SURE} | moving
        if not again:
            break
        await asyncio.sleep(_REST_S)
        check.look_at(await Stock.read(ports))
        later = await check.all(sorted(again), None)
        found = [each for each in found if each.kind in _SURE or each in later]
        found += [each for each in later if each.run_id in moving]
        moving = moving & check.moving
    return Verified(runs, events, (*found, *await check.limits()), len(moving))


class _Check:
    """Checks runs; definitions are read once.

    Attributes:
        stock: What there is.
        moving: Runs that the engine had not dealt with when that was read.
    """

    def __init__(self, ports: Ports, stock: Stock) -> None:
        self._ports = ports
        self._graphs: dict[str, Graph] = {}
        self.look_at(stock)

    def look_at(self, stock: Stock) -> None:
        """Compare with this from now on."""
        self.stock = stock
        self.runs = 0
        self.events = 0
        self.moving: set[str] = set()

    async def all(self, run_ids: list[str], told: Callable[[int, int], None] | None) -> list[Difference]:
        """What differs in these runs."""
        found: list[Difference] = []
        for at in range(0, len(run_ids), _AT_ONCE):
            for differences in await asyncio.gather(*map(self._run, run_ids[at : at + _AT_ONCE])):
                found += differences
            if told is not None:
                told(min(at + _AT_ONCE, len(run_ids)), len(run_ids))
        return found

    async def _run(self, run_id: str) -> list[Difference]:
        """What is wrong with a run. Looked at again when it has moved meanwhile: then nothing was compared with it."""
        if not is_run_id(run_id):  # nothing else can be stored for it
            return [Difference(run_id, "unreadable", "this cannot name a run")]
        while True:
            # The snapshot first: the history is then at least as far.
            stored = await self._ports.snapshots.load(run_id)
            entries = await self._ports.log.read(run_id)
            if not entries:  # removed
                return of_gone(run_id, self.stock.of(run_id), self._ports.clock.now_ns())
            found = await self._differences(run_id, entries, stored)
            if not found or not await self._ports.log.read(run_id, after=entries[-1].seq):
                self.runs += 1
                self.events += len(entries)
                return found

    async def _differences(self, run_id: str, entries: list[Entry], stored: Stored | None) -> list[Difference]:
        found: list[Difference] = []
        records: list[Record] = []
        for entry in entries:
            try:
                records.append(Record(entry.seq, entry.time_ns, decode_event(entry.data)))
            except DecodeError as error:
                if old_start_of(entry.data) is None:  # that stays before the start that took its place
                    found.append(Difference(run_id, "unreadable", f"event {entry.seq}: {error}"))
        start = records[0].event if records else None
        if not isinstance(start, WorkflowStarted):
            return [*found, Difference(run_id, "start", "its history does not begin with its start")]
        graph = await self._graph(start)
        if graph.unusable and not start.payload.refusal:  # who was refused has no use for one
            found.append(Difference(run_id, "definition", graph.unusable))
        snapshot = readable(stored)
        records = [await filled(self._ports, graph, record) for record in records]
        try:
            fold = Fold(graph, records, snapshot.seq if snapshot is not None else 0)
        except Exception as error:  # noqa: BLE001  # a mistake of the core's is what is looked for
            return [*found, Difference(run_id, "fold", f"{type(error).__name__}: {error}")]
        if stored is not None:
            found += compared(snapshot, fold.then, entries)
        if entries[-1].seq > self.stock.acted:
            self.moving.add(run_id)
            return found
        return found + of_live(graph, fold, self.stock.of(run_id), self._ports.clock.now_ns())

    async def _graph(self, start: WorkflowStarted) -> Graph:
        name, identity = start.payload.workflow, start.payload.def_hash
        if identity not in self._graphs:
            data = await self._ports.definitions.version(name, identity)
            self._graphs[identity] = graph_of(name, identity, data)
        return self._graphs[identity]

    # -- what operators said -----------------------------------------------------------------------------------

    async def limits(self) -> list[Difference]:
        """Where the gates go by something else than what operators said last."""
        stock = self.stock
        if stock.acted < 0:
            return []
        known: dict[str, Fact | None] = {task_history(task): said for task, said in stock.page.task_limits.items()}
        known |= {workflow_history(name): said for name, said in stock.page.workflow_limits.items()}
        tasks = {node.task for graph in self._graphs.values() for node in graph.nodes.values() if node.task}
        names = {*map(task_history, tasks), *map(workflow_history, await self._ports.definitions.names())}
        found: list[Difference] = []
        for name in sorted({*known, *names}):
            said = _newest(entry for entry in await self._ports.log.read(name) if entry.seq <= stock.acted)
            if known.get(name) != said:
                detail = f"the gates go by {_words(known.get(name))}"
                found.append(Difference(name.removeprefix(OPS), "limit", detail, _words(said), "rebuild"))
        return found


def _newest(entries: Iterable[Entry]) -> Fact | None:
    said: Fact | None = None
    for entry in entries:
        try:
            said = decode_fact(entry.data)
        except DecodeError:
            continue
    return said if isinstance(said, TaskLimited | WorkflowLimited) and not said.is_idle else None


def _words(said: Fact | None) -> str:
    return msgspec.json.encode(said).decode() if said is not None else "no limit"


def readable(stored: Stored | None) -> Run | None:
    """A stored snapshot; None when there is none, or it cannot be read."""
    try:
        return decode_run(stored.data) if stored is not None else None
    except msgspec.DecodeError:
        return None


def compared(snapshot: Run | None, then: bytes, entries: Sequence[Entry]) -> list[Difference]:
    """Where a snapshot differs from what its history gave at its event.

    Args:
        then: The run as that gave it; b"" when it has no such event.
        entries: The history.
    """
    run_id, expected = entries[0].run_id, "as its history gives it"
    if snapshot is None:
        return [Difference(run_id, "snapshot", "it cannot be read", expected, "snapshot")]
    if not then:
        detail = f"it was made at event {snapshot.seq}, which the history does not have"
        return [Difference(run_id, "snapshot", detail, expected, "snapshot")]
    folded = decode_run(then)
    if folded == snapshot:
        return []
    for each in (folded, snapshot):  # earlier versions kept every payload in the state
        complete_from(entries, each)
    names = [name for name in Run.__struct_fields__ if getattr(folded, name) != getattr(snapshot, name)]
    if not names:
        return []
    detail = f"at event {snapshot.seq} it differs in {', '.join(names)}"
    return [Difference(run_id, "snapshot", detail, expected, "snapshot")]
