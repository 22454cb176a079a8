"""One turn: a run, the event being folded into it, and the actions decided so far."""

from __future__ import annotations

from bisect import insort
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.model.instant import rfc3339
from dagnats.model.pointer import lightened
from dagnats.model.run import ENDED, IN_FLIGHT, Deadline, Run, RunStatus, StepState, StepStatus
from dagnats.runtime.core import transition
from dagnats.runtime.core.action import (
    AnyAction,
    AppendEvent,
    Attempt,
    CancelTasks,
    Decision,
    DropDeadLetters,
    DropTask,
    DropTimer,
    EndRun,
    SendDeadLetter,
    SetTimer,
    Settled,
)
from dagnats.runtime.core.inputs import input_of

if TYPE_CHECKING:
    from dagnats.model.event import AnyEvent, Failure, TerminalEvent
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.core.node import Node

_FAR_NS = 60_000_000_000  # a wake-up nearer than this may come: it finds the run ended, and that costs less
_PASSED_OVER = 64  # so many passed-over deadlines are kept in any case
_decision = tuple[Any, ...].__new__  # without a function of Python's in between, as `Decision(…)` has one

RUN_OVER, RUN_BEGINS = 0, 1
"""What a deadline of the run itself means, in the place of an attempt."""

ALL_TURNS = 0
"""In the place of an attempt: a deadline of all turns of a loop together."""


def rests(state: StepState) -> bool:
    """Whether a step in flight only waits to be tried again: nobody has it in hand."""
    return state.retry_at_ns > 0 or state.held


class Turn:
    """Collects what one event decides. Its methods are the only way the core acts, or changes a status.

    Attributes:
        ready: Steps that are to be handed out before the turn ends, first one first.
        answers: Steps whose current attempt has come to its end, with what it gave or why it failed: likewise.
    """

    __slots__ = ("_actions", "_given_up", "_settled", "answers", "graph", "ready", "run", "seq")

    def __init__(self, graph: Graph, run: Run, seq: int) -> None:
        self.graph = graph
        self.run = run
        self.seq = seq
        self.ready: list[str] = []
        self.answers: list[tuple[str, msgspec.Raw | Failure]] = []
        self._actions: list[AnyAction] = []
        self._settled: list[Settled] = []
        self._given_up: list[Attempt] | None = None

    def close(self) -> Decision:
        """All that the event leads to; last what is said once: whom to stop, and when to look at the run again."""
        run = self.run
        over = run.ending != "" or run.status in ENDED
        if self._given_up is not None:
            self._actions.append(
                CancelTasks(id=self.next_id(), run_id=run.run_id, steps=tuple(self._given_up), ended=over)
            )
        if not over and run.deadlines:
            self._wake()
        return _decision(Decision, (run, tuple(self._actions), tuple(self._settled)))

    @property
    def now(self) -> str:
        """The run's clock, as events carry it."""
        return rfc3339(self.run.clock_ns)

    # -- actions -------------------------------------------------------------------------------------------

    def next_id(self) -> str:
        """The id of the action that is added next."""
        return f"{self.run.run_id}.{self.seq}.{len(self._actions)}"

    def act(self, action: AnyAction) -> None:
        """Order something; its id is from `next_id`."""
        self._actions.append(action)

    def append(self, event: AnyEvent) -> None:
        """Add an event to a history: this run's, or another's that it names."""
        event = msgspec.structs.replace(event, trace_parent=self.run.trace_parent)
        self.act(AppendEvent(id=self.next_id(), run_id=event.run_id, event=event))

    def end(self, status: RunStatus, event: TerminalEvent, *, schema: Any = None) -> None:
        """Decide the run's end. The status takes effect when the event is folded."""
        self.run.ending = status
        event = msgspec.structs.replace(event, trace_parent=self.run.trace_parent)
        self.act(EndRun(id=self.next_id(), run_id=self.run.run_id, event=event, schema=schema))

    def dead_letter(self, step_id: str, failure: Failure) -> None:
        """Keep the last attempt's task of a step that failed for good, if workers run it."""
        node = self.node_of(step_id)
        state = self.run.steps[step_id]
        if not node.worker_run:
            return
        state.dead = True
        self.act(
            SendDeadLetter(
                id=self.next_id(),
                run_id=self.run.run_id,
                step_id=step_id,
                task=node.task,
                attempt=state.attempt,
                input=input_of(self.graph, self.run, node, state),
                failure=failure,
                group=node.extra.get("group", ""),
            )
        )

    def drop_dead_letters(self, step_id: str, state: StepState) -> None:
        """Forget what was kept of a step that has succeeded after all."""
        state.dead = False
        task = self.node_of(step_id).task
        self.act(DropDeadLetters(id=self.next_id(), run_id=self.run.run_id, step_id=step_id, task=task))

    # -- what the state has of a payload -----------------------------------------------------------------------

    def kept(self, step_id: str, payload: msgspec.Raw, at: str = "") -> msgspec.Raw:
        """What a step has returned, or for "" the run's input, as the state has it.

        A large one that no decision looks into stays in the event that is being folded.

        Args:
            at: The member of the event's payload that it is.
        """
        lighter = lightened(payload, self.seq, at)
        return payload if lighter is payload or self.graph.keeps(step_id) else lighter

    # -- what is to be done before the turn ends -------------------------------------------------------------

    def finish(self, step_id: str, output: msgspec.Raw) -> None:
        """A step that no worker answers for is done."""
        self.answers.append((step_id, output))

    def fail(self, step_id: str, failure: Failure) -> None:
        """A step's current attempt has failed."""
        self.answers.append((step_id, failure))

    def undoes(self, state: StepState) -> bool:
        """Whether a step, or what it is a part of, runs for another one: a failure step, or a compensation."""
        whole = self.run.steps[state.part_of] if state.part_of else state
        return whole.serves != ""

    def again_in(self, step_id: str, state: StepState, delay_ns: int) -> None:
        """Hand a step out again, some time from now."""
        if not delay_ns:
            self.ready.append(step_id)
            return
        state.retry_at_ns = self.run.clock_ns + delay_ns
        self.add_deadline(state.retry_at_ns, step_id, state.attempt)

    def hold(self, step_id: str, state: StepState) -> None:
        """Put a step that is ready into the run's line, which is in the definition's order."""
        line, run = self.run.line, self.run
        state.held = True
        state.retry_at_ns = 0
        if state.status == "pending":
            state.queued_ns = run.clock_ns
        if not line or self._place(line[-1]) <= self._place(step_id):
            line.append(step_id)
        else:
            insort(line, step_id, key=self._place)

    def _place(self, step_id: str) -> tuple[int, int]:
        """Where a step stands in the definition; the parts of a map or a planner stand where the whole does."""
        node, whole = self.node_of(step_id), self.run.steps[step_id].part_of
        if not whole:
            return node.place, 0
        if node.type == "map":
            return node.place, int(step_id.rpartition(".")[2])
        return self.node_of(whole).place, node.place

    def serve(self, step_id: str, for_step: str) -> None:
        """Have an auxiliary step run for another one."""
        self.state_of(step_id).serves = for_step
        self.ready.append(step_id)

    # -- statuses ------------------------------------------------------------------------------------------

    def become(self, status: RunStatus) -> None:
        """Change the run's status."""
        assert status in transition.RUN[self.run.status], f"a run cannot go from {self.run.status} to {status}"
        self.run.status = status

    def state_of(self, step_id: str) -> StepState:
        """A step's state; a step that was not touched yet gets one."""
        state = self.run.steps.get(step_id)
        if state is None:
            state = self.run.steps[step_id] = StepState()
        return state

    def node_of(self, step_id: str) -> Node:
        """The definition's step behind a step that has state."""
        node = self.graph.nodes.get(step_id) or self.graph.node(step_id, self.run)
        assert node is not None, f"state without a step: {step_id}"
        return node

    def move(self, step_id: str, state: StepState, status: StepStatus) -> None:
        """Change a step's status."""
        before = state.status
        assert status in transition.STEP[before], f"step {step_id} cannot go from {before} to {status}"
        state.status = status
        if status in IN_FLIGHT:
            if before not in IN_FLIGHT and not state.part_of:  # a map and a planner count as one, with all their parts
                self.run.flying += 1
            return
        if before in IN_FLIGHT:
            if not state.part_of:
                self.run.flying -= 1
            if not rests(state):
                self.settle(step_id, state)
        state.ended_ns = self.run.clock_ns
        state.loop_ends_ns = state.retry_at_ns = 0
        state.held = False

    def settle(self, step_id: str, state: StepState) -> None:
        """The current attempt is in nobody's hands any more: it is over, or waits to be repeated."""
        if state.deadline_ns or state.heartbeat_due_ns or state.due_ns or state.sticky_due_ns:
            self.forget_limits(state)
        self._settled.append((step_id, state.attempt))

    def forget_limits(self, state: StepState) -> None:
        """Nothing limits the current attempt any more."""
        state.deadline_ns = state.heartbeat_due_ns = state.due_ns = state.sticky_due_ns = 0

    def limit_wait(self, node: Node, step_id: str, state: StepState) -> None:
        """The current attempt is in its queue from now on."""
        state.deadline_ns = 0
        if node.queue_timeout_ns:
            state.deadline_ns = self.run.clock_ns + node.queue_timeout_ns
            self.add_deadline(state.deadline_ns, step_id, state.attempt)

    def give_up(self, step_id: str, node: Node, state: StepState) -> None:
        """Nobody waits for the current attempt any more, which is queued or running: have it stopped."""
        if self._given_up is None:
            self._given_up = []
        self._given_up.append((step_id, node.task, state.attempt))
        if state.sticky:
            self.act(
                DropTask(
                    id=self.next_id(),
                    run_id=self.run.run_id,
                    step_id=step_id,
                    task=node.task,
                    attempt=state.attempt,
                    worker_id=state.sticky,
                )
            )

    # -- deadlines -----------------------------------------------------------------------------------------

    def add_deadline(self, due_ns: int, step_id: str, attempt: int) -> None:
        """Keep a deadline that the state has already."""
        deadlines = self.run.deadlines
        heappush(deadlines, (due_ns, step_id, attempt))
        # Heartbeats, results and retries leave passed-over deadlines behind, and at most three of a step stand.
        if len(deadlines) > 4 * len(self.run.steps) + _PASSED_OVER:
            self.forget_passed_over()

    def forget_passed_over(self) -> None:
        """Keep only deadlines that still match the state."""
        self.run.deadlines[:] = sorted({deadline for deadline in self.run.deadlines if self._stands(deadline)})

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
            return due_ns == (self.run.run_at_ns if attempt == RUN_BEGINS else self.run.deadline_ns)
        state = self.run.steps.get(step_id)  # items of maps go when the map is done
        if state is None:
            return False
        if attempt == ALL_TURNS:
            return due_ns == state.loop_ends_ns
        if state.attempt != attempt:
            return False
        return due_ns in (
            state.retry_at_ns,
            state.deadline_ns,
            state.heartbeat_due_ns,
            state.due_ns,
            state.sticky_due_ns,
        )

    def _wake(self) -> None:
        """Ask for a wake-up at the earliest deadline, unless one that is early enough is outstanding."""
        deadline = self.next_deadline()
        if deadline is None or (self.run.wake_ns and self.run.wake_ns <= deadline[0]):
            return
        due_ns, run = deadline[0], self.run
        self.act(SetTimer(id=self.next_id(), run_id=run.run_id, due_ns=due_ns, seq=self.seq, replaces=run.wake_seq))
        run.wake_ns, run.wake_seq = due_ns, self.seq

    def forget_wake(self) -> None:
        """Nothing has to be looked at any more."""
        run = self.run
        if run.wake_ns > run.clock_ns + _FAR_NS:
            self.act(DropTimer(id=self.next_id(), run_id=run.run_id, seq=run.wake_seq))
        run.wake_ns = run.wake_seq = 0
