"""The log folded again, all runs in its order, by nobody but the core: what everything else is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import DecodeError
from dagnats.model.event import (
    Record,
    TerminalEvent,
    WaitMatched,
    WorkflowCancelled,
    WorkflowReopened,
    WorkflowStarted,
    decode_event,
)
from dagnats.model.identifier import is_reserved
from dagnats.model.ops import FactRecord, decode_fact, is_fact
from dagnats.model.run import IN_FLIGHT, Run
from dagnats.runtime.blob import filled, has_reference
from dagnats.runtime.core.action import Decision
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.gate.fold import Gates

if TYPE_CHECKING:
    from dagnats.model.event import AnyEvent
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message
    from dagnats.runtime.ports import Ports
    from tests.simulation.gating import Watchman

TIMED_OUT = b'{"timeout":true}'
DONE = frozenset({"completed", "skipped", "recovered"})


class Story:
    """A run, folded again.

    Attributes:
        records: Its history.
        run: After all of it.
        done_at: When which step was done: the event that did it.
        late: The attempts of waits that were over when they were answered, told or not.
        wrong: What was seen on the way.
        said_again: Of that, what is due to a server that has stored one message twice.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.records: list[Record] = []
        self.run: Run | None = None
        self.done_at: dict[str, int] = {}
        self.late: set[tuple[str, int]] = set()
        self.wrong: list[str] = []
        self.said_again: list[str] = []
        self._ended_at = 0
        self._end: AnyEvent | None = None
        maps = [node.id for node in graph.nodes.values() if getattr(node.config, "max_parallel", 0)]
        self._is_limited = bool(graph.max_steps or maps)

    @property
    def waits_for_people(self) -> bool:
        """Whether nothing else lets it go on."""
        run = self.run
        if run is None:
            return False
        asked = (name for name, state in run.steps.items() if state.status in IN_FLIGHT)
        return run.paused or any(self._is_approval(self.graph.node(name, run)) for name in asked)

    @staticmethod
    def _is_approval(node: Node | None) -> bool:
        return node is not None and node.type == "approval"

    def add(self, record: Record) -> Decision | None:
        """Fold one more event; gives what it decides, None for what is before the run's start."""
        self.records.append(record)
        if self.run is None and not isinstance(record.event, WorkflowStarted):
            return None
        if self.run is not None and isinstance(record.event, WaitMatched):
            self._look_at_clock(self.run, record, record.event)
        try:
            decision = advance(self.graph, self.run, record)
        except Exception as error:  # noqa: BLE001  # a mistake of ours, to be told
            self.wrong.append(f"event {record.seq} cannot be folded: {type(error).__name__}: {error}")
            return None
        run = self.run = decision.run
        if run is not None:
            self._look(run, record)
        return decision

    def _look_at_clock(self, run: Run, record: Record, event: WaitMatched) -> None:
        state = run.steps.get(event.step_id)
        if state is None:
            return
        is_over = state.attempt == event.attempt_number and bytes(state.output) == TIMED_OUT
        if is_over or 0 < state.due_ns <= max(run.clock_ns, record.time_ns):
            self.late.add((event.step_id, event.attempt_number))

    def _look(self, run: Run, record: Record) -> None:
        for step_id, state in run.steps.items():
            if state.status in DONE and step_id not in self.done_at:
                self.done_at[step_id] = record.seq
        if self._is_limited:
            self._count(run)
        event = record.event
        if isinstance(event, TerminalEvent) and run.ended:  # else it did not end it: a cancelled run is undone first
            if self._ended_at and not isinstance(event, WorkflowCancelled):  # which others may say when it is too late
                wrong = self.said_again if _says_same(event, self._end) else self.wrong
                wrong.append(f"event {record.seq} ends it again, it had ended at {self._ended_at}")
            self._ended_at, self._end = self._ended_at or record.seq, self._end or event
        elif isinstance(event, WorkflowReopened) and not run.ended:
            self._ended_at, self._end = 0, None

    def _count(self, run: Run) -> None:
        """No more steps, and no more items of a map, are in flight than may be."""
        graph = self.graph
        flying = [name for name, state in run.steps.items() if state.status in IN_FLIGHT and not state.part_of]
        working = [name for name in flying if not run.steps[name].serves]
        if graph.max_steps and len(working) > graph.max_steps:
            self.wrong.append(f"at event {run.seq} steps {working} are in flight; max_steps is {graph.max_steps}")
        for name in flying:
            node = graph.node(name, run)
            most = getattr(node.config, "max_parallel", 0) if node is not None and node.type == "map" else 0
            if most:
                items = [one for one, state in run.steps.items() if state.part_of == name and state.status in IN_FLIGHT]
                if len(items) > most:
                    self.wrong.append(f"at event {run.seq} items {items} are in flight; max_parallel is {most}")


def _says_same(end: TerminalEvent, other: AnyEvent | None) -> bool:
    """Whether two ends of a run are one, said at two times."""
    return type(end) is type(other) and end.payload == getattr(other, "payload", None)


class Chronicle:
    """All stories, as far as they were read.

    Args:
        ports: Where payloads lie that references stand for.
        watchman: Looks at what crosses runs.
    """

    def __init__(self, server: MemoryServer, graphs: dict[str, Graph], ports: Ports, watchman: Watchman) -> None:
        self.stories: dict[str, Story] = {}
        self.gates = Gates()
        self._history = server.history
        self._graphs = graphs
        self._ports = ports
        self._watchman = watchman
        self._seq = 0

    async def read(self) -> list[str]:
        """Fold what is new; gives the runs that have not ended."""
        while messages := self._history.behind(self._seq, 512):
            for message in messages:
                await self._add(message)
            self._seq = messages[-1].seq
        stories = self.stories.items()
        return [run_id for run_id, story in stories if story.run is not None and not story.run.ended]

    async def _add(self, message: Message) -> None:
        run_id = message.subject.partition(".")[2]
        if is_reserved(run_id):
            if is_fact(run_id):
                record = FactRecord(message.seq, message.time_ns, decode_fact(message.data))
                self.gates.tell(record)
                self._watchman.told(record)
            return
        try:
            record = Record(message.seq, message.time_ns, decode_event(message.data))
        except DecodeError:  # nobody can say what it would have been
            return
        story = self._story(run_id, record)
        if story is None:
            return
        if has_reference(message.data):
            record = await filled(self._ports, story.graph, record)
        decision = story.add(record)
        if decision is not None:
            self._watchman.decided(record, decision)
            self.gates.fold(record, decision)

    def _story(self, run_id: str, record: Record) -> Story | None:
        story = self.stories.get(run_id)
        if story is None and isinstance(record.event, WorkflowStarted):
            story = self.stories[run_id] = Story(self._graphs[record.event.payload.def_hash])
        return story
