"""One turn: a run, the event being folded into it, and the actions decided so far."""

from __future__ import annotations

from heapq import heappop, heappush

from dagnats.model.event import CompensateStarted, CompensateStepCompleted, Failure, TerminalEvent
from dagnats.model.instant import rfc3339
from dagnats.model.run import Deadline, Run, RunStatus, StepState
from dagnats.runtime.core.action import (
    AnyAction,
    AppendEvent,
    Attempt,
    CancelTasks,
    DropTimer,
    EndRun,
    EnqueueTask,
    SendDeadLetter,
    SetTimer,
)
from dagnats.runtime.core.graph import Graph, Node
from dagnats.runtime.core.inputs import input_of

_FAR_NS = 60_000_000_000  # a wake-up nearer than this may come: it finds the run ended, and that costs less
_PASSED_OVER = 64  # so many passed-over deadlines are kept in any case


class Turn:
    """Collects what one event decides. Its methods are the only way the core acts or keeps a deadline."""

    __slots__ = ("_actions", "_given_up", "graph", "run", "seq")

    def __init__(self, graph: Graph, run: Run, seq: int) -> None:
        self.graph = graph
        self.run = run
        self.seq = seq
        self._actions: list[AnyAction] = []
        self._given_up: list[Attempt] | None = None

    def close(self) -> tuple[AnyAction, ...]:
        """All that the event leads to; last what is said once: whom to stop, and when to look at the run again."""
        run = self.run
        over = run.ended or run.ending != ""
        if self._given_up is not None:
            self._actions.append(
                CancelTasks(id=self._next_id(), run_id=run.run_id, steps=tuple(self._given_up), ended=over)
            )
        if not over:
            self._wake()
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
        state.worker_id = ""
        self.limit_wait(node, step_id, state)
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
                heartbeat_ns=node.heartbeat_timeout_ns,
                expires_ns=state.deadline_ns,
                deadline_ns=run.deadline_ns,
                trace_parent=run.trace_parent,
            )
        )

    def limit_wait(self, node: Node, step_id: str, state: StepState) -> None:
        """The current attempt is in its queue from now on."""
        state.deadline_ns = 0
        if node.queue_timeout_ns:
            state.deadline_ns = self.run.clock_ns + node.queue_timeout_ns
            self.add_deadline(state.deadline_ns, step_id, state.attempt)

    def give_up(self, step_id: str, state: StepState) -> None:
        """Nobody waits for the current attempt any more, which is queued or running: have it stopped."""
        node = self.graph.node(step_id)
        if node is None:  # the definition is gone: the run can still be ended
            return
        if self._given_up is None:
            self._given_up = []
        self._given_up.append((step_id, node.task, state.attempt))

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
        """Keep a deadline that the state has already."""
        deadlines = self.run.deadlines
        heappush(deadlines, (due_ns, step_id, attempt))
        # Heartbeats, results and retries leave passed-over deadlines behind, and at most two of a step stand.
        if len(deadlines) > 4 * len(self.run.steps) + _PASSED_OVER:
            deadlines[:] = sorted({deadline for deadline in deadlines if self._stands(deadline)})

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
            return self.run.deadline_ns == due_ns
        state = self.run.steps[step_id]
        return state.attempt == attempt and due_ns in (state.retry_at_ns, state.deadline_ns, state.heartbeat_due_ns)

    def _wake(self) -> None:
        """Ask for a wake-up at the earliest deadline, unless one that is early enough is outstanding."""
        deadline = self.next_deadline()
        if deadline is None or (self.run.wake_ns and self.run.wake_ns <= deadline[0]):
            return
        due_ns, run = deadline[0], self.run
        self._actions.append(
            SetTimer(id=self._next_id(), run_id=run.run_id, due_ns=due_ns, seq=self.seq, replaces=run.wake_seq)
        )
        run.wake_ns, run.wake_seq = due_ns, self.seq

    def forget_wake(self) -> None:
        """Nothing has to be looked at any more."""
        run = self.run
        if run.wake_ns > run.clock_ns + _FAR_NS:
            self._actions.append(DropTimer(id=self._next_id(), run_id=run.run_id, seq=run.wake_seq))
        run.wake_ns = run.wake_seq = 0
