"""Does everything say what the log says? Every run is folded from its first event, and what was made of it compared.

Only reads, except for `mend`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from dagnats.errors import ConflictError, DecodeError
from dagnats.model.event import Record, WorkflowStarted, decode_event
from dagnats.model.run import Run, decode_run, encode_run
from dagnats.model.task import decode_task
from dagnats.runtime.blob import filled
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.graph import Graph, graph_of
from dagnats.runtime.limit import gate_view
from dagnats.runtime.position import decode_position
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.model.run import StepState
    from dagnats.runtime.ports import Entry, Ports, Stored

_AT_ONCE = 16

Kind = Literal["unreadable", "start", "definition", "fold", "snapshot", "task"]


class Difference(NamedTuple):
    """Something that is not as the log says.

    Attributes:
        run_id: Which run.
        kind: `unreadable` event, missing `start`, missing `definition`, `fold` that raises, `snapshot`, `task`.
        detail: What it is.
        mendable: Whether `mend` can put it right.
        step_id: Which step, or "".
    """

    run_id: str
    kind: Kind
    detail: str
    mendable: bool = False
    step_id: str = ""


class Verified(NamedTuple):
    """What `verify` found.

    Attributes:
        runs: How many were folded.
        events: How many events they have.
        differences: What is not as it should be.
    """

    runs: int
    events: int
    differences: tuple[Difference, ...]


async def verify(ports: Ports, *, told: Callable[[int, int], None] | None = None) -> Verified:
    """Fold every run.

    Args:
        told: Called now and then with how many runs are done, and how many there are.
    """
    run_ids = sorted(await ports.log.run_ids())
    stored = await ports.position.read()
    position = decode_position(stored.data) if stored is not None else None
    check = _Check(ports, position.seq if position is not None else 0)
    found: list[Difference] = []
    for at in range(0, len(run_ids), _AT_ONCE):
        for differences in await asyncio.gather(*map(check.run, run_ids[at : at + _AT_ONCE])):
            found += differences
        if told is not None:
            told(min(at + _AT_ONCE, len(run_ids)), len(run_ids))
    return Verified(check.runs, check.events, tuple(found))


class _Check:
    """Checks runs; definitions are read once.

    Args:
        acted: Everything up to this event was acted on.
    """

    def __init__(self, ports: Ports, acted: int) -> None:
        self._ports = ports
        self._acted = acted
        self._graphs: dict[str, Graph] = {}
        self.runs = 0
        self.events = 0

    async def run(self, run_id: str) -> list[Difference]:
        """What is wrong with a run. Looked at again when it has moved meanwhile: then nothing was compared with it."""
        while True:
            # The snapshot first: the history is then at least as far.
            stored = await self._ports.snapshots.load(run_id)
            entries = await self._ports.log.read(run_id)
            if not entries:
                return []  # removed meanwhile
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
                found.append(Difference(run_id, "unreadable", f"event {entry.seq}: {error}"))
        start = records[0].event if records else None
        if not isinstance(start, WorkflowStarted):
            return [*found, Difference(run_id, "start", "its history does not begin with its start")]
        graph = await self._graph(start)
        if graph.unusable:
            found.append(Difference(run_id, "definition", graph.unusable))
        snapshot = _readable(stored)
        records = [await filled(self._ports, graph, record) for record in records]
        try:
            run, before = _folded(graph, records, snapshot.seq if snapshot is not None else 0)
        except Exception as error:  # noqa: BLE001  # a mistake of the core's is what is looked for
            return [*found, Difference(run_id, "fold", f"{type(error).__name__}: {error}")]
        if stored is not None:
            found += _compared(run_id, snapshot, before)
        return found + await self._missing_tasks(graph, run)

    async def _graph(self, start: WorkflowStarted) -> Graph:
        name, identity = start.payload.workflow, start.payload.def_hash
        if identity not in self._graphs:
            data = await self._ports.definitions.version(name, identity)
            self._graphs[identity] = graph_of(name, identity, data)
        return self._graphs[identity]

    async def _missing_tasks(self, graph: Graph, run: Run) -> list[Difference]:
        """Steps that workers should have, and that no queue has."""
        if run.ended or run.seq > self._acted:
            return []
        found: list[Difference] = []
        for step_id, state in run.steps.items():
            node = graph.node(step_id, run)
            if node is None or not node.task or not _is_handed_out(state):
                continue
            data = await self._ports.tasks.waiting(node.task, run.run_id, group=node.extra.get("group", ""))
            if (step_id, state.attempt) not in [(task.step_id, task.attempt) for task in map(decode_task, data)]:
                detail = f"step {step_id!r} is {state.status}, and attempt {state.attempt} is in no queue"
                found.append(Difference(run.run_id, "task", detail, step_id=step_id))
        if not found:
            return []
        gates = await gate_view(self._ports)
        held = {place.step_id for _, place in gates.steps(run.run_id)}
        return [difference for difference in found if difference.step_id not in held]


def _is_handed_out(state: StepState) -> bool:
    return state.status in ("queued", "running") and not (state.retry_at_ns or state.held or state.left or state.items)


def _readable(stored: Stored | None) -> Run | None:
    try:
        return decode_run(stored.data) if stored is not None else None
    except msgspec.DecodeError:
        return None


def _folded(graph: Graph, records: list[Record], upto: int) -> tuple[Run, bytes]:
    """The run after all records, and its snapshot as it was after event `upto`."""
    run: Run | None = None
    then = b""
    for record in records:
        run = advance(graph, run, record).run
        if run is not None and record.seq == upto:
            then = encode_run(run)
    assert run is not None, "a history that begins with a start gives a run"
    return run, then


def _compared(run_id: str, snapshot: Run | None, then: bytes) -> list[Difference]:
    if snapshot is None:
        return [Difference(run_id, "snapshot", "it cannot be read", mendable=True)]
    if not then:
        detail = f"it was made at event {snapshot.seq}, which the history does not have"
        return [Difference(run_id, "snapshot", detail, mendable=True)]
    folded = decode_run(then)
    names = [name for name in Run.__struct_fields__ if getattr(folded, name) != getattr(snapshot, name)]
    if not names:
        return []
    return [Difference(run_id, "snapshot", f"at event {snapshot.seq} it differs in {', '.join(names)}", mendable=True)]


async def mend(ports: Ports, difference: Difference) -> bool:
    """Put a difference right, from the log; False when that has to be left to people."""
    if difference.kind != "snapshot":
        return False
    run_id = difference.run_id
    while True:
        stored = await ports.snapshots.load(run_id)
        records = decoded(await ports.log.read(run_id))
        start = records[0].event
        assert isinstance(start, WorkflowStarted), "only runs that can be folded have a snapshot to mend"
        name, identity = start.payload.workflow, start.payload.def_hash
        graph = graph_of(name, identity, await ports.definitions.version(name, identity))
        run, _ = _folded(graph, [await filled(ports, graph, record) for record in records], 0)
        try:
            await ports.snapshots.save(run_id, encode_run(run), revision=stored.revision if stored is not None else 0)
        except ConflictError:
            continue  # the engine has made a new one meanwhile
        return True
