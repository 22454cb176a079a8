"""Between the log and the core: reads events, has their runs and definitions at hand, asks `advance`.

Standby and leader use it alike; only the leader acts on what is decided.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import DecodeError
from dagnats.model.event import CORE_VERSION, Record, WorkflowStarted, decode_event
from dagnats.model.identifier import is_reserved, is_run_id
from dagnats.model.ops import FactRecord, decode_fact, is_fact
from dagnats.model.pointer import STATE_BYTES
from dagnats.model.run import ENDED
from dagnats.runtime.blob import BlobLost, filled, has_reference
from dagnats.runtime.core.advance import advance, fold
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.patience import persist
from dagnats.runtime.pointer import Carriers
from dagnats.runtime.recall import recall
from dagnats.runtime.together import gathered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagnats.model.event import AnyEvent, Start
    from dagnats.model.run import Run
    from dagnats.runtime.core.action import Decision
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import Entry, Ports
    from dagnats.runtime.roster import Roster

log = logging.getLogger("dagnats.engine")

_MOST_GRAPHS = 1_000


class Unreadable(NamedTuple):
    """An entry of the log that is no event of its run."""

    entry: Entry
    error: DecodeError


class Undecidable(NamedTuple):
    """An event the core raised at: a mistake of ours."""

    record: Record
    error: Exception


class CoreError(Exception):
    """The core cannot fold a run: a mistake of ours, or a run for a newer core."""


class Decider:
    """Decides events in the log's order, each run on its own."""

    def __init__(self, ports: Ports, roster: Roster) -> None:
        self._ports = ports
        self._roster = roster
        self._graphs: dict[str, Graph] = {}
        self.carriers = Carriers(ports.log)
        """The large events that were read lately."""
        self.parked: set[str] = set()
        self._unloadable: dict[str, Exception] = {}
        self.active = 0
        """Runs that have begun and not ended."""
        self.live_from = 0
        """From this event on nobody has decided before us. 0: not known yet."""
        self.unsaved_from = 0
        """No snapshot can know of this event, or of later ones. 0: not known yet."""

    # -- a batch -----------------------------------------------------------------------------------------------

    async def read(self, entries: Sequence[Entry]) -> tuple[list[Record | FactRecord], list[Unreadable]]:
        """The events in a batch, with everything in memory that deciding them takes."""
        records: list[Record | FactRecord] = []
        poison: list[Unreadable] = []
        heavy: list[int] = []
        new: set[str] = set()
        wanted: dict[str, int] = {}
        starts: list[Start] = []
        run_ids = {entry.run_id for entry in entries}
        self._roster.expect(run_ids)
        unknown = {run_id for run_id in self._roster.strange(run_ids) if self._can_be_loaded(run_id)}
        for entry in entries:
            run_id = entry.run_id
            if is_reserved(run_id):
                _read_fact(entry, records, poison)
                continue
            try:
                event = _event_of(entry)
            except DecodeError as error:
                poison.append(Unreadable(entry, error))
            else:
                records.append(Record(entry.seq, entry.time_ns, event))
                if isinstance(event, WorkflowStarted):
                    starts.append(event.payload)
                    if self._roster.leave(run_id):
                        unknown.add(run_id)
                if len(entry.data) > STATE_BYTES:
                    self.carriers.keep(entry)
                if has_reference(entry.data):
                    heavy.append(len(records) - 1)
            if entry.first:
                new.add(run_id)
            elif run_id in unknown and run_id not in new:
                wanted.setdefault(run_id, entry.seq)
        if wanted:
            await gathered(self._load(run_id, seq) for run_id, seq in wanted.items())
        if starts:
            await self._load_definitions(starts)
        if heavy:
            await self._fill(records, heavy)
        return records, poison

    async def _fill(self, records: list[Record | FactRecord], heavy: Iterable[int]) -> None:
        """Give events their payloads where deciding looks into them; without them, their runs are parked."""
        events = (record.event for record in records if isinstance(record, Record))
        hashes = {event.run_id: event.payload.def_hash for event in events if isinstance(event, WorkflowStarted)}
        for at in heavy:
            record = records[at]
            assert isinstance(record, Record), "facts have no payloads"
            run_id = record.event.run_id
            seat = self._roster.seat(run_id)
            identity = seat.run.def_hash if seat is not None else hashes.get(run_id)
            if identity is None:
                continue
            try:
                records[at] = await self._filled(self._graphs[identity], record)
            except BlobLost as lost:
                self._unloadable[run_id] = lost

    async def _filled(self, graph: Graph, record: Record) -> Record:
        return await persist(lambda: filled(self._ports, graph, record))

    def decide(self, record: Record) -> Decision | Undecidable | None:
        """What an event leads to; None when it concerns no run, or one that is parked."""
        event = record.event
        run_id = event.run_id
        if run_id in self.parked:
            return None
        if run_id in self._unloadable:
            return self._park(record, self._unloadable.pop(run_id))
        seat = self._roster.seat(run_id)
        run = seat.run if seat is not None else None
        if run is not None:
            graph = self._graphs[run.def_hash]
        elif isinstance(event, WorkflowStarted):
            if event.payload.core_version > CORE_VERSION:
                return self._park(record, CoreError(f"it asks for core version {event.payload.core_version}"))
            graph = self._graphs[event.payload.def_hash]
        else:
            return None  # late news: its history is gone
        was_live = run is not None and run.status not in ENDED
        try:
            decision = advance(graph, run, record)
        except Exception as error:  # noqa: BLE001  # a mistake of ours must not stop the runs it does not concern
            return self._park(record, error)
        run = decision.run
        if run is None:
            return None
        if run.seq == record.seq:
            self._roster.fold(run, record.seq)
            self.active += (run.status not in ENDED) - was_live  # one that is opened again lives again
        return decision

    def _park(self, record: Record, error: Exception) -> Undecidable:
        run_id = record.event.run_id
        self._roster.dismiss(run_id)  # half moved
        self.parked.add(run_id)
        return Undecidable(record, error)

    def clear(self) -> None:
        """Know of no runs."""
        self.parked.clear()
        self._unloadable.clear()
        self.carriers.clear()
        self.active = 0

    # -- runs and definitions ----------------------------------------------------------------------------------

    def _is_unknown(self, run_id: str) -> bool:
        return self._roster.seat(run_id) is None and self._can_be_loaded(run_id)

    def _can_be_loaded(self, run_id: str) -> bool:
        return run_id not in self.parked and is_run_id(run_id)

    async def have(self, run_id: str, before: int) -> bool:
        """Have a run in memory as it was before event `before`; False, and it is parked, when it cannot be folded."""
        if self._is_unknown(run_id):
            await self._load(run_id, before)
        if self._unloadable.pop(run_id, None) is None:
            return True
        self.parked.add(run_id)
        return False

    async def graph_for(self, start: Start) -> Graph:
        """The definition that a start names."""
        await self._load_graph(start.workflow, start.def_hash)
        return self._graphs[start.def_hash]

    async def _load(self, run_id: str, before: int) -> None:
        """Have a run in memory as it was before event `before`, unless that was its first."""
        ahead_from = max(before, self.unsaved_from) if self.unsaved_from else 0
        recalled = await persist(lambda: recall(self._ports, run_id, ahead_from=ahead_from))
        try:
            run = await self.refold([record for record in recalled.later if record.seq < before], recalled.run)
        except CoreError as error:
            self._unloadable[run_id] = error
            return
        if run is not None:
            self._roster.admit(run, recalled.revision, recalled.size)

    async def refold(self, records: Sequence[Record], run: Run | None = None) -> Run | None:
        """`run` after `records`. Raises CoreError when the core cannot do it."""
        start = records[0].event if records else None
        if run is not None:
            await self._load_graph(run.workflow_id, run.def_hash)
            graph = self._graphs[run.def_hash]
        elif isinstance(start, WorkflowStarted):
            graph = await self.graph_for(start.payload)
        else:
            return None
        try:
            return fold(graph, [await self._filled(graph, record) for record in records], run)
        except Exception as error:
            raise CoreError(f"{type(error).__name__}: {error}") from error

    async def _load_definitions(self, starts: Iterable[Start]) -> None:
        wanted: set[tuple[str, str]] = set()
        for start in starts:
            known = self._graphs.get(start.def_hash)
            if known is None or known.unusable:
                wanted.add((start.workflow, start.def_hash))
        if wanted:
            await gathered(self._load_graph(*pair) for pair in sorted(wanted))

    async def _load_graph(self, workflow: str, identity: str) -> None:
        known = self._graphs.get(identity)
        if known is None or known.unusable:  # what was missing may have been stored since
            data = await persist(lambda: self._ports.definitions.version(workflow, identity))
            self._graphs[identity] = graph_of(workflow, identity, data)

    def tidy(self) -> None:
        """Forget definitions that no run in memory uses, when there are many."""
        if len(self._graphs) > _MOST_GRAPHS:
            used = {seat.run.def_hash for seat in self._roster}
            self._graphs = {identity: graph for identity, graph in self._graphs.items() if identity in used}


def _read_fact(entry: Entry, records: list[Record | FactRecord], poison: list[Unreadable]) -> None:
    """An entry of a history of DagNats's own: what is not about gates is somebody else's."""
    if not is_fact(entry.run_id):
        return
    try:
        records.append(FactRecord(entry.seq, entry.time_ns, decode_fact(entry.data)))
    except DecodeError as error:
        poison.append(Unreadable(entry, error))


def _event_of(entry: Entry) -> AnyEvent:
    event = decode_event(entry.data)
    run_id = entry.run_id
    if event.run_id != run_id:
        raise DecodeError(f"run {event.run_id!r} in the history of run {run_id!r}", data=entry.data)
    if not is_run_id(run_id):
        raise DecodeError(f"{run_id!r} cannot name a run", data=entry.data)
    return event
