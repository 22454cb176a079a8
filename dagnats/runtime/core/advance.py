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
    ApprovalGranted,
    ApprovalRejected,
    ChildCompleted,
    ChildFailed,
    Record,
    Report,
    Result,
    Sign,
    SignalReceived,
    StepCompleted,
    StepContinued,
    StepEvent,
    StepFailed,
    StepHeartbeat,
    StepQueued,
    StepReleased,
    StepSkipped,
    StepStarted,
    TerminalEvent,
    TimerFired,
    WaitMatched,
    WorkflowAdmitted,
    WorkflowCancelled,
    WorkflowPaused,
    WorkflowPoisoned,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
    failure_of,
)
from dagnats.model.run import IN_FLIGHT, Run, Signal
from dagnats.runtime.core import (
    approval,
    attempt,
    child,
    completion,
    dispatch,
    ending,
    failure,
    loop,
    pause,
    planner,
    reopen,
    saga,
    sleep,
    start,
    wait,
)
from dagnats.runtime.core.action import Decision, KeepSignal
from dagnats.runtime.core.release import release
from dagnats.runtime.core.turn import ALL_TURNS, RUN_BEGINS, Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.event import AnyEvent
    from dagnats.model.run import StepState
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.core.node import Node


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
        run = start.new_run(graph, event, record)
        turn = Turn(graph, run, record.seq)
        start.started(turn, event.payload)
    else:
        if record.seq <= run.seq:
            return Decision(run, ())
        if run.ended and not isinstance(event, WorkflowReopened):
            return Decision(run, ())
        run.seq, run.time_ns = record.seq, record.time_ns
        run.events += 1
        turn = Turn(graph, run, record.seq)
        _move_clock(turn, record)
        _apply(turn, event)
        _limit_history(turn)
    dispatch.settle(turn)
    return Decision(run, *turn.close())


def fold(graph: Graph, records: Iterable[Record], run: Run | None = None) -> Run | None:
    """The run after `records`, with nothing acted on: what a reader of the log sees."""
    for record in records:
        run = advance(graph, run, record).run
    return run


def _limit_history(turn: Turn) -> None:
    """A history that becomes too long ends its run once; undoing it may take it further."""
    run = turn.run
    if run.events == run.max_events and not run.ending and not run.ended and run.saga is None:
        why = f"the run's history has reached its limit of {run.max_events} events"
        failure.run_failed(turn, "", why)


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
        _apply_deadline(turn, *deadline)
        dispatch.settle(turn)
    run.clock_ns = target


def _apply_deadline(turn: Turn, due_ns: int, step_id: str, which: int) -> None:
    run = turn.run
    if not step_id and which == RUN_BEGINS:
        start.begin(turn)
    elif not step_id:
        run.deadline_ns = 0
        failure.run_failed(turn, "", "the run's timeout is over", cause="timeout")
    elif which == ALL_TURNS:
        loop.overdue(turn, step_id, run.steps[step_id])
    else:
        _apply_step_deadline(turn, due_ns, step_id, run.steps[step_id])


def _apply_step_deadline(turn: Turn, due_ns: int, step_id: str, state: StepState) -> None:
    if state.retry_at_ns == due_ns:
        state.retry_at_ns = 0
        turn.ready.append(step_id)
    elif state.due_ns == due_ns:
        _over(turn, step_id, state)
    else:
        attempt.overdue(turn, step_id, state, due_ns)


def _over(turn: Turn, step_id: str, state: StepState) -> None:
    """What the engine itself waited for has come to its time."""
    state.due_ns = 0
    match turn.node_of(step_id).type:
        case "sleep":
            sleep.over(turn, step_id, state)
        case "wait_for_event":
            wait.over(turn, step_id, state)
        case "approval":
            approval.over(turn, step_id, state)
        case other:
            raise AssertionError(f"a {other} step waits for no time")


# -- events ------------------------------------------------------------------------------------------------


def _apply(turn: Turn, event: AnyEvent) -> None:
    run = turn.run
    match event:
        case StepCompleted() | StepFailed() | StepContinued() | StepStarted() | StepHeartbeat() | StepReleased():
            _worker_said(turn, event)
        case WaitMatched() | ApprovalGranted() | ApprovalRejected() | ChildCompleted() | ChildFailed():
            _answered(turn, event)
        case SignalReceived():
            _signalled(turn, event)
        case StepQueued() | StepSkipped():
            _ordered(turn, event)
        case WorkflowAdmitted():
            if run.status == "pending":
                start.admitted(turn)
        case WorkflowPaused():
            pause.paused(turn)
        case WorkflowResumed():
            pause.resumed(turn)
        case WorkflowReopened():
            reopen.reopened(turn)
        case WorkflowCancelled():
            _cancelled(turn, event)
        case WorkflowPoisoned():
            if not run.ending and run.saga is None:
                failure.run_failed(turn, "", event.payload.error)
        case TimerFired() | WorkflowStarted():
            pass  # a tick whose deadlines are applied, a second start
        case _:
            _own(turn, event)


def _own(turn: Turn, event: TerminalEvent | Report) -> None:
    """What the engine said itself: its terminal events take effect now, its reports have."""
    if isinstance(event, TerminalEvent):
        ending.ended(turn, event)


def _cancelled(turn: Turn, event: WorkflowCancelled) -> None:
    """An end that is decided, and an undoing that has begun, are not cut off half-way."""
    run = turn.run
    if run.ending or run.saga is not None:
        return
    if "cancel" in turn.graph.compensate_on and saga.has_work(turn.graph, run):
        saga.begin(turn, "", event.payload.error or "the run was cancelled")
    else:
        ending.ended(turn, event)


def _current(turn: Turn, event: StepEvent) -> StepState | None:
    """The state of the step an event is about, if what it says still counts."""
    state = turn.run.steps.get(event.step_id)
    if state is None or turn.run.ending or not attempt.is_current(state, event):
        return None
    return state


def _worker_said(turn: Turn, event: Result | Sign) -> None:
    state = _current(turn, event)
    if state is None:
        return
    node = turn.node_of(event.step_id)
    if state.left:  # a planner that has planned, or a map: their parts answer for them
        return
    match event:
        case StepStarted():
            attempt.started(turn, node, state, event)
        case StepHeartbeat():
            attempt.heard(turn, node, state, event)
        case StepReleased():
            attempt.released(turn, node, state, event)
        case StepCompleted() | StepFailed() | StepContinued():
            _result(turn, node, state, event)
        case _:
            assert_never(event)


def _result(turn: Turn, node: Node, state: StepState, event: Result) -> None:
    state.worker_id = event.worker_id
    attempt.note_start(turn, state, event.started_at)
    match event:
        case StepCompleted() if node.type == "planner":
            planner.planned(turn, node, event.step_id, state, event.payload)
        case StepCompleted():
            completion.completed(turn, node, event.step_id, state, event.payload)
        case StepContinued():
            loop.continued(turn, node, state, event)
        case StepFailed():
            failure.attempt_failed(turn, node, event.step_id, state, failure_of(event.payload))
        case _:
            assert_never(event)


def _answered(
    turn: Turn, event: WaitMatched | ApprovalGranted | ApprovalRejected | ChildCompleted | ChildFailed
) -> None:
    """What one of the engine's own steps waits for has come."""
    state = _current(turn, event)
    if state is None:
        return
    node = turn.node_of(event.step_id)
    match event:
        case WaitMatched() if node.type == "wait_for_event":
            wait.matched(turn, node, state, event)
        case ApprovalGranted() if node.type == "approval":
            approval.granted(turn, event)
        case ApprovalRejected() if node.type == "approval":
            approval.rejected(turn, event)
        case ChildCompleted() if node.type == "sub_workflow":
            child.completed(turn, event)
        case ChildFailed() if node.type == "sub_workflow":
            child.failed(turn, event)
        case _:
            pass  # an answer to a question that this step did not ask


def _signalled(turn: Turn, event: SignalReceived) -> None:
    run = turn.run
    run.signals.append(Signal(name=event.name, seq=turn.seq, data=event.payload))
    turn.act(KeepSignal(id=turn.next_id(), run_id=run.run_id, name=event.name, seq=turn.seq, data=event.payload))


def _ordered(turn: Turn, event: StepQueued | StepSkipped) -> None:
    state = turn.run.steps.get(event.step_id)
    if turn.run.ending or (turn.run.saga is not None and not (state and state.serves)):
        return
    if isinstance(event, StepQueued):
        if state is not None and state.status == "queued" and attempt.is_current(state, event):
            attempt.enqueue(turn, turn.node_of(event.step_id), event.step_id, state, admitted=True)
    else:
        _skip(turn, event)


def _skip(turn: Turn, event: StepSkipped) -> None:
    """Somebody skips a step by hand; the engine's own report finds it skipped already."""
    step_id = event.step_id
    node = turn.graph.node(step_id, turn.run)
    if node is None or node.auxiliary:
        return
    state = turn.state_of(step_id)
    if state.status in IN_FLIGHT:
        release(turn, step_id, state)
        state.retry_at_ns = 0
    if state.status in ("pending", *IN_FLIGHT):
        state.held = False
        completion.skipped(turn, node, step_id, state)
