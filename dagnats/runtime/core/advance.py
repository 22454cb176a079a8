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
    ChildSpawned,
    Record,
    Report,
    Result,
    Sign,
    SignalReceived,
    SleepStarted,
    StepCompleted,
    StepContinued,
    StepEvent,
    StepFailed,
    StepHeartbeat,
    StepPaused,
    StepQueued,
    StepReleased,
    StepSkipped,
    StepStarted,
    TerminalEvent,
    TimerFired,
    WaitMatched,
    WorkflowAdmitted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowPaused,
    WorkflowPoisoned,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
    failure_of,
)
from dagnats.model.pointer import lightened
from dagnats.model.run import ENDED, IN_FLIGHT, Run, Signal
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
    sticky,
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


_UNCOUNTED = (StepHeartbeat, TimerFired)
"""Of these, a handler that works for days makes more than a history may have."""


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
        if run.status in ENDED and not isinstance(event, WorkflowReopened):
            return Decision(run, ())
        run.seq, run.time_ns = record.seq, record.time_ns
        if not isinstance(event, _UNCOUNTED):
            run.events += 1
        turn = Turn(graph, run, record.seq)
        if graph.unusable:
            _break_off(turn, record)
        else:
            _fold_in(turn, record)
    dispatch.settle(turn)
    return turn.close()


def fold(graph: Graph, records: Iterable[Record], run: Run | None = None) -> Run | None:
    """The run after `records`, with nothing acted on: what a reader of the log sees."""
    for record in records:
        run = advance(graph, run, record).run
    return run


def _fold_in(turn: Turn, record: Record) -> None:
    run = turn.run
    _move_clock(turn, record)
    if not run.ending or type(record.event) in ending.STATUS:
        _apply(turn, record.event)
    if run.events >= run.max_events:
        _limit_history(turn)


def _break_off(turn: Turn, record: Record) -> None:
    """The definition is gone. The run fails, and can be opened again when the definition is back."""
    run = turn.run
    run.clock_ns = max(run.clock_ns, record.time_ns)
    if isinstance(record.event, TerminalEvent):
        ending.ended(turn, record.event)
    elif not run.ending and not run.ended:
        ending.fail(turn, "", turn.graph.unusable)


def _limit_history(turn: Turn) -> None:
    """A history that becomes too long ends its run, unless all is done; undoing it may take it further."""
    run = turn.run
    dispatch.take_answers(turn)  # what this event has brought is not brought again when the run is opened again
    if not run.ending and not run.ended and run.saga is None and run.remaining:
        why = f"the run's history has reached its limit of {run.max_events} events"
        failure.run_failed(turn, "", why)


# -- time --------------------------------------------------------------------------------------------------


def _move_clock(turn: Turn, record: Record) -> None:
    run = turn.run
    now = run.clock_ns
    if record.time_ns > now:
        run.clock_ns = record.time_ns
    if isinstance(record.event, TimerFired):
        run.clock_ns = max(run.clock_ns, record.event.due_ns)
        if record.event.due_ns >= run.wake_ns:  # this one, or a later one that it replaced
            run.wake_ns = run.wake_seq = 0
    if run.deadlines and run.deadlines[0][0] <= run.clock_ns:
        _apply_passed(turn, now)


def _apply_passed(turn: Turn, now: int) -> None:
    """What a deadline decides carries the deadline's own time: what follows is due as if an engine had watched."""
    run = turn.run
    target = run.clock_ns
    while not run.ending and (deadline := turn.next_deadline()) and deadline[0] <= target:
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
    elif state.sticky_due_ns == due_ns:
        sticky.overdue(turn, step_id, state)
    else:
        attempt.overdue(turn, step_id, state, due_ns)


_OVER = {"sleep": sleep.over, "wait_for_event": wait.over, "approval": approval.over}


def _over(turn: Turn, step_id: str, state: StepState) -> None:
    """What the engine itself waited for has come to its time."""
    state.due_ns = 0
    _OVER[turn.node_of(step_id).type](turn, step_id, state)


# -- events ------------------------------------------------------------------------------------------------


def _apply(turn: Turn, event: AnyEvent) -> None:
    run = turn.run
    match event:  # what every run has comes first: each class that is asked for before it costs time
        case StepCompleted() | StepStarted() | StepFailed() | StepContinued() | StepHeartbeat():
            _worker_said(turn, event)
        case WorkflowCompleted():
            ending.ended(turn, event)
        case StepPaused() | StepReleased():
            _worker_said(turn, event)
        case WaitMatched() | ApprovalGranted() | ApprovalRejected() | ChildCompleted() | ChildFailed():
            _answered(turn, event)
        case SignalReceived():
            _signalled(turn, event)
        case StepQueued():
            if (state := _current(turn, event)) is not None:
                attempt.let_through(turn, event.step_id, state)
        case StepSkipped():
            _skip(turn, event)
        case WorkflowAdmitted():
            if run.status == "pending" and event.asked in (0, run.asked):
                start.admitted(turn)
        case WorkflowPaused():
            pause.paused(turn)
        case WorkflowResumed():
            pause.resumed(turn)
        case WorkflowReopened():
            reopen.reopened(turn, held=event.held)
        case WorkflowCancelled():
            _cancelled(turn, event)
        case WorkflowPoisoned():
            if run.saga is None:
                failure.run_failed(turn, "", event.payload.error)
        case SleepStarted():
            if (state := _current(turn, event)) is not None:
                sleep.recorded(turn, state, event)
        case ChildSpawned():
            child.asked_for(turn, event)
        case TimerFired() | WorkflowStarted():
            pass  # a tick whose deadlines are applied, a second start
        case _:
            _own(turn, event)


def _own(turn: Turn, event: TerminalEvent | Report) -> None:
    """What the engine said itself: its terminal events take effect now, its reports have."""
    if isinstance(event, TerminalEvent):
        ending.ended(turn, event)


def _cancelled(turn: Turn, event: WorkflowCancelled) -> None:
    """An end that is decided, and an undoing that is under way, are not cut off half-way."""
    run = turn.run
    if run.ending or (run.saga is not None and run.status != "pending"):
        return
    if run.saga is not None:  # it was opened again, and does not get to go on with its undoing
        ending.ended(turn, event)
    elif "cancel" in turn.graph.compensate_on and saga.has_work(turn.graph, run):
        saga.begin(turn, "", event.payload.error or "the run was cancelled")
    else:
        ending.ended(turn, event)


def _current(turn: Turn, event: StepEvent) -> StepState | None:
    """The state of the step an event is about, if what it says still counts."""
    state = turn.run.steps.get(event.step_id)
    if state is None or not attempt.is_current(state, event):
        return None
    return state


def _worker_said(turn: Turn, event: Result | Sign) -> None:
    if isinstance(event, StepFailed):
        _failed(turn, event)
        return
    state = turn.run.steps.get(event.step_id)
    if state is None or not attempt.is_current(state, event):
        return
    node = turn.node_of(event.step_id)
    if not node.worker_run or _answers_by_parts(node, state):
        return
    match event:
        case StepCompleted():
            _completed(turn, node, state, event)
        case StepStarted():
            attempt.started(turn, node, state, event)
        case StepHeartbeat():
            attempt.heard(turn, node, state, event)
        case StepReleased():
            attempt.released(turn, node, state, event)
        case StepContinued():
            attempt.note_result(turn, state, event)
            loop.continued(turn, node, state, event)
        case StepPaused():
            attempt.note_result(turn, state, event)
            attempt.paused(turn, state, event)
        case _:
            assert_never(event)


def _answers_by_parts(node: Node, state: StepState) -> bool:
    """A planner that has planned, and a map: no worker has them in hand."""
    return state.left > 0 or (node.type == "map" and not state.part_of)


def _completed(turn: Turn, node: Node, state: StepState, event: StepCompleted) -> None:
    attempt.note_result(turn, state, event)
    if node.type == "planner":
        planner.planned(turn, node, event.step_id, state, event.payload)
    else:
        completion.completed(turn, node, event.step_id, state, turn.kept(event.step_id, event.payload))


def _failed(turn: Turn, event: StepFailed) -> None:
    """A worker says it of what it has in hand, a person of anything in flight, the engine of what cannot be sent."""
    state = turn.run.steps.get(event.step_id)
    if state is None or state.status not in IN_FLIGHT or event.attempt_number not in (0, state.attempt):
        return
    node, why = turn.node_of(event.step_id), failure_of(event.payload)
    if why.detail == "by_hand" or not node.worker_run:
        failure.imposed(turn, node, event.step_id, state, why)
    elif attempt.is_current(state, event) and not _answers_by_parts(node, state):
        attempt.note_result(turn, state, event)
        failure.attempt_failed(turn, node, event.step_id, state, why)


def _answered(
    turn: Turn, event: WaitMatched | ApprovalGranted | ApprovalRejected | ChildCompleted | ChildFailed
) -> None:
    """What one of the engine's own steps waits for has come; or an answer to a question that the step did not ask."""
    state = _current(turn, event)
    if state is None:
        if isinstance(event, WaitMatched):
            wait.brought_early(turn, event)
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
            pass


def _signalled(turn: Turn, event: SignalReceived) -> None:
    run = turn.run
    run.signals.append(Signal(name=event.name, seq=turn.seq, data=lightened(event.payload, turn.seq)))
    turn.act(KeepSignal(id=turn.next_id(), run_id=run.run_id, name=event.name, seq=turn.seq, data=event.payload))


def _skip(turn: Turn, event: StepSkipped) -> None:
    """Somebody skips a step by hand; the engine's own report finds it skipped already."""
    step_id = event.step_id
    node = turn.graph.node(step_id, turn.run)
    if turn.run.saga is not None or node is None or node.auxiliary:
        return
    state = turn.state_of(step_id) if step_id in turn.graph.nodes else turn.run.steps.get(step_id)
    if state is None or state.status not in _SKIPPABLE or not _has_place(node, state):
        return
    if state.status in IN_FLIGHT:
        release(turn, step_id, state)
    completion.skipped(turn, node, step_id, state)


_SKIPPABLE = frozenset({"pending", *IN_FLIGHT})


def _has_place(node: Node, state: StepState) -> bool:
    """Items of a map that wait are not skipped: others would be handed out in places that are not free."""
    return state.status != "pending" or not state.part_of or node.type != "map"
