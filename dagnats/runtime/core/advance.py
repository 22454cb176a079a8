"""The decision function: one event folded into one run, and what is to be done about it.

    advance(graph, run, record) -> Decision(run, actions)

Rules that hold for every event:
* It depends on its arguments alone: no clock, no randomness, no I/O. Any engine decides the same.
* `run` is moved, not copied: the caller gives it away and keeps the one in the decision.
* An event at or before `run.seq` was folded already and changes nothing.
* Time is the run's clock. Deadlines that are not later than it are applied, in due order, before the event that
  finds them passed, so the outcome does not depend on whether an engine was up at the time.
* A result counts when its attempt is the current one and the step is in flight; otherwise it changes nothing.
* A run whose end is decided absorbs everything but its terminal event; an ended run absorbs everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dagnats.model.event import (
    CompensateCompleted,
    CompensateFailed,
    CompensateStarted,
    CompensateStepCompleted,
    Record,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepReleased,
    StepStarted,
    TimerFired,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPoisoned,
    WorkflowStarted,
    failure_of,
)
from dagnats.model.run import Run, StepState
from dagnats.runtime.core import attempt, ending, failure, saga
from dagnats.runtime.core.action import Decision
from dagnats.runtime.core.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.event import AnyEvent
    from dagnats.runtime.core.graph import Graph, Node


def advance(graph: Graph, run: Run | None, record: Record) -> Decision:
    """Fold one event into its run and decide what follows.

    Args:
        graph: The definition the run is pinned to.
        run: The run after all earlier events; None when there are none. Given away: use the decision's.
        record: The event, with its sequence and time in the log.
    """
    event = record.event
    if run is None:
        if not isinstance(event, WorkflowStarted):
            return Decision(None, ())  # late news of a run whose history is gone
        run = _new_run(event, record)
        turn = Turn(graph, run, record.seq)
        _start(turn)
    else:
        if record.seq <= run.seq or run.ended:
            return Decision(run, ())
        run.seq, run.time_ns = record.seq, record.time_ns
        turn = Turn(graph, run, record.seq)
        _move_clock(turn, record)
        _apply(turn, event)
    return Decision(run, turn.close())


def fold(graph: Graph, records: Iterable[Record], run: Run | None = None) -> Run | None:
    """The run after `records`, with nothing acted on: what a reader of the log sees."""
    for record in records:
        run = advance(graph, run, record).run
    return run


def _new_run(event: WorkflowStarted, record: Record) -> Run:
    return Run(
        run_id=event.run_id,
        workflow_id=event.payload.workflow,
        def_hash=event.payload.def_hash,
        status="running",
        seq=record.seq,
        time_ns=record.time_ns,
        clock_ns=record.time_ns,
        created_ns=record.time_ns,
        input=event.payload.input,
        trace_parent=event.trace_parent,
        core_version=event.payload.core_version,
    )


def _start(turn: Turn) -> None:
    run, graph = turn.run, turn.graph
    if graph.unusable:
        ending.fail(turn, "", graph.unusable)
        return
    run.remaining = graph.size
    if graph.timeout_ns:
        run.deadline_ns = run.clock_ns + graph.timeout_ns
        turn.add_deadline(run.deadline_ns, "", 0)
    for step_id in graph.roots:
        turn.dispatch(step_id)


# -- time --------------------------------------------------------------------------------------------------


def _move_clock(turn: Turn, record: Record) -> None:
    run = turn.run
    run.clock_ns, now = max(run.clock_ns, record.time_ns), run.clock_ns
    if isinstance(record.event, TimerFired):
        run.clock_ns = max(run.clock_ns, record.event.due_ns)
        if record.event.due_ns >= run.wake_ns:  # this one, or a later one that it replaced
            run.wake_ns = run.wake_seq = 0
    target = run.clock_ns
    while not run.ending and (deadline := turn.next_deadline()) and deadline[0] <= target:
        # What a deadline decides carries the deadline's own time, so that what follows is due just as it
        # would have been with an engine watching.
        run.clock_ns = max(now, deadline[0])
        _apply_deadline(turn, *deadline[:2])
    run.clock_ns = target


def _apply_deadline(turn: Turn, due_ns: int, step_id: str) -> None:
    run = turn.run
    if not step_id:
        run.deadline_ns = 0
        failure.run_failed(turn, "", "the run's timeout is over")
        return
    state = run.steps[step_id]
    if state.retry_at_ns == due_ns:
        turn.dispatch(step_id)
    else:
        attempt.overdue(turn, step_id, state, due_ns)


# -- events ------------------------------------------------------------------------------------------------


def _apply(turn: Turn, event: AnyEvent) -> None:
    match event:
        case StepCompleted() | StepStarted() | StepFailed() | StepReleased() | StepHeartbeat():
            _step_event(turn, event)
        case WorkflowCompleted() | WorkflowFailed() | CompensateCompleted() | CompensateFailed():
            ending.ended(turn, event)
        case WorkflowCancelled():
            # An end that is decided, and an undoing that has begun, are not cut off half-way.
            if not turn.run.ending and turn.run.saga is None:
                ending.ended(turn, event)
        case WorkflowPoisoned():
            if not turn.run.ending and turn.run.saga is None:
                failure.run_failed(turn, "", event.payload.error)
        case WorkflowStarted() | TimerFired() | CompensateStarted() | CompensateStepCompleted():
            pass  # a second start, a tick whose deadlines are applied, our own reports
        case _:
            assert_never(event)


def _step_event(turn: Turn, event: StepStarted | StepCompleted | StepFailed | StepReleased | StepHeartbeat) -> None:
    state = turn.run.steps.get(event.step_id)
    if state is None or turn.run.ending or not attempt.is_current(state, event):
        return
    node = turn.node_of(event.step_id)
    match event:
        case StepCompleted():
            state.worker_id = event.worker_id
            attempt.note_start(turn, state, event.started_at)
            _completed(turn, node, state, event)
        case StepStarted():
            attempt.started(turn, node, state, event)
        case StepHeartbeat():
            attempt.heard(turn, node, state, event)
        case StepReleased():
            attempt.released(turn, node, state, event)
        case StepFailed():
            state.worker_id = event.worker_id
            attempt.note_start(turn, state, event.started_at)
            failure.attempt_failed(turn, node, event.step_id, state, failure_of(event.payload))
        case _:
            assert_never(event)


def _completed(turn: Turn, node: Node, state: StepState, event: StepCompleted) -> None:
    run = turn.run
    state.status = "completed"
    state.output = event.payload
    state.ended_ns = run.clock_ns
    state.deadline_ns = state.heartbeat_due_ns = 0
    state.error = state.failure_type = ""
    if run.saga is not None:
        if state.serves:
            saga.undone(turn, run.saga, event.step_id)
        else:
            saga.settled(turn, run.saga, event.step_id)
    elif state.serves:
        _recovered(turn, state.serves)
    else:
        run.remaining -= 1
        _release(turn, node)
        _complete_if_done(turn)


def _release(turn: Turn, node: Node) -> None:
    """Count a done step off its dependents; hand out those that wait for nothing more."""
    run, nodes = turn.run, turn.graph.nodes
    for dependent in node.dependents:
        state = run.steps.get(dependent)
        if state is None:
            needs = len(nodes[dependent].needs)
            if needs == 1:
                turn.dispatch(dependent)
                continue
            state = run.steps[dependent] = StepState(waits_for=needs)
        state.waits_for -= 1
        if state.status == "pending" and not state.waits_for:
            turn.dispatch(dependent)


def _recovered(turn: Turn, step_id: str) -> None:
    """A failure step completed: the failed step counts as done, and what depends on it is skipped."""
    run = turn.run
    run.steps[step_id].status = "recovered"
    run.remaining -= 1
    pending = list(turn.graph.nodes[step_id].dependents)
    for dependent in pending:  # grows while it is read
        state = run.steps.setdefault(dependent, StepState())
        if state.status == "pending":
            state.status = "skipped"
            state.ended_ns = run.clock_ns
            run.remaining -= 1
            pending += turn.graph.nodes[dependent].dependents
    _complete_if_done(turn)


def _complete_if_done(turn: Turn) -> None:
    if not turn.run.remaining:
        ending.complete(turn)
