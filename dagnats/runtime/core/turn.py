"""One turn: a run, the event being folded into it, and the actions decided so far."""

from __future__ import annotations

from heapq import heappop, heappush

from dagnats.model.event import CompensateStarted, CompensateStepCompleted, Failure, TerminalEvent
from dagnats.model.instant import rfc3339
from dagnats.model.run import Deadline, Run, RunStatus, StepState
from dagnats.runtime.core.action import AnyAction, AppendEvent, EndRun, EnqueueTask, SendDeadLetter, SetTimer
from dagnats.runtime.core.graph import Graph, Node
from dagnats.runtime.core.inputs import input_of


class Turn:
    """Collects what one event decides. Its methods are the only way the core acts or keeps a deadline."""

    __slots__ = ("_actions", "graph", "run", "seq")

    def __init__(self, graph: Graph, run: Run, seq: int) -> None:
        self.graph = graph
        self.run = run
        self.seq = seq
        self._actions: list[AnyAction] = []

    @property
    def actions(self) -> tuple[AnyAction, ...]:
        return tuple(self._actions)

    @property
    def now(self) -> str:
        """The run's clock, as events carry it."""
        return rfc3339(self.run.clock_ns)

    def _next_id(self) -> str:
        return f"{self.run.run_id}.{self.seq}.{len(self._actions)}"

    # -- steps ---------------------------------------------------------------------------------------------

    def node_of(self, step_id: str) -> Node:
        """The definition's step behind a step that has state."""
        node = self.graph.node(step_id)
        assert node is not None, f"state without a step: {step_id}"
        return node

    def dispatch(self, step_id: str, *, serves: str = "") -> None:
        """Hand out the next attempt of a step: the first one, or a retry."""
        run = self.run
        node = self.node_of(step_id)
        state = run.steps.get(step_id)
        if state is None:
            state = run.steps[step_id] = StepState(serves=serves)
        state.status = "queued"
        state.attempt += 1
        state.queued_ns = run.clock_ns
        state.started_ns = 0
        state.retry_at_ns = 0
        state.deadline_ns = 0
        state.worker_id = ""
        self._actions.append(
            EnqueueTask(
                id=self._next_id(),
                run_id=run.run_id,
                workflow=run.workflow_id,
                step_id=step_id,
                task=node.task,
                attempt=state.attempt,
                input=input_of(self.graph, run, node, state),
                timeout_ns=node.timeout_ns,
                trace_parent=run.trace_parent,
            )
        )

    def dead_letter(self, step_id: str, failure: Failure) -> None:
        """Keep the last attempt's task of a step that failed for good."""
        node = self.node_of(step_id)
        state = self.run.steps[step_id]
        self._actions.append(
            SendDeadLetter(
                id=self._next_id(),
                run_id=self.run.run_id,
                step_id=step_id,
                task=node.task,
                attempt=state.attempt,
                input=input_of(self.graph, self.run, node, state),
                failure=failure,
            )
        )

    # -- events --------------------------------------------------------------------------------------------

    def append(self, event: CompensateStarted | CompensateStepCompleted) -> None:
        self._actions.append(AppendEvent(id=self._next_id(), run_id=self.run.run_id, event=event))

    def end(self, status: RunStatus, event: TerminalEvent) -> None:
        """Decide the run's end. The status takes effect when the event is folded."""
        self.run.ending = status
        self._actions.append(EndRun(id=self._next_id(), run_id=self.run.run_id, event=event))

    # -- deadlines -----------------------------------------------------------------------------------------

    def add_deadline(self, due_ns: int, step_id: str, attempt: int) -> None:
        heappush(self.run.deadlines, (due_ns, step_id, attempt))

    def next_deadline(self) -> Deadline | None:
        """The earliest deadline that still matches the state; passed-over ones are dropped."""
        deadlines = self.run.deadlines
        while deadlines:
            if self._stands(deadlines[0]):
                return deadlines[0]
            heappop(deadlines)
        return None

    def _stands(self, deadline: Deadline) -> bool:
        due_ns, step_id, attempt = deadline
        if not step_id:
            return self.run.deadline_ns == due_ns and not self.run.ending and self.run.saga is None
        state = self.run.steps[step_id]
        return state.attempt == attempt and due_ns in (state.retry_at_ns, state.deadline_ns)

    def wake(self) -> None:
        """Ask for a wake-up at the earliest deadline, unless one that is early enough is outstanding."""
        deadline = self.next_deadline()
        if deadline is None or (self.run.wake_ns and self.run.wake_ns <= deadline[0]):
            return
        self.run.wake_ns = deadline[0]
        self._actions.append(SetTimer(id=self._next_id(), run_id=self.run.run_id, due_ns=deadline[0], seq=self.seq))
