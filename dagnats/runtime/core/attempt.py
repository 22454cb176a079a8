"""One attempt between its queueing and its result: begun, heard of, given back, overdue."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dagnats.model.duration import format_duration
from dagnats.model.event import Failure
from dagnats.model.instant import parse_rfc3339
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core.failure import attempt_failed

if TYPE_CHECKING:
    from dagnats.model.event import StepEvent, StepHeartbeat, StepReleased, StepStarted
    from dagnats.model.run import StepState
    from dagnats.runtime.core.graph import Node
    from dagnats.runtime.core.turn import Turn


def is_current(state: StepState, event: StepEvent) -> bool:
    """The fence: answers to an older attempt, or to one that waits to be repeated, are too late."""
    if state.status not in IN_FLIGHT or state.retry_at_ns:
        return False
    return event.attempt_number in (0, state.attempt)


def started(turn: Turn, node: Node, state: StepState, event: StepStarted | StepHeartbeat) -> None:
    """A worker runs the attempt. A second start is a redelivery: the first worker is gone, all time counts anew."""
    state.status = "running"
    state.worker_id = event.worker_id
    state.started_ns = turn.run.clock_ns
    state.deadline_ns = 0
    if node.timeout_ns:
        state.deadline_ns = turn.run.clock_ns + node.timeout_ns
        turn.add_deadline(state.deadline_ns, event.step_id, state.attempt)
    _listen(turn, node, event.step_id, state)


def heard(turn: Turn, node: Node, state: StepState, event: StepHeartbeat) -> None:
    """The attempt is alive. If it was believed to wait in its queue, it does not: somebody runs it."""
    if state.status == "queued":
        started(turn, node, state, event)
    else:
        _listen(turn, node, event.step_id, state)


def _listen(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    if node.heartbeat_timeout_ns:
        state.heartbeat_due_ns = turn.run.clock_ns + node.heartbeat_timeout_ns
        turn.add_deadline(state.heartbeat_due_ns, step_id, state.attempt)


def released(turn: Turn, node: Node, state: StepState, event: StepReleased) -> None:
    """The attempt is in its queue again; its time counts anew when somebody begins it."""
    if state.worker_id and event.worker_id and state.worker_id != event.worker_id:
        return  # another worker has the attempt by now
    state.status = "queued"
    state.started_ns = state.heartbeat_due_ns = 0
    state.worker_id = ""
    turn.limit_wait(node, event.step_id, state)


def note_start(turn: Turn, state: StepState, started_at: str) -> None:
    """Take a fast attempt's start from its result; kept between its queueing and now, whatever clock wrote it."""
    if state.started_ns:
        return
    try:
        instant = parse_rfc3339(started_at)
    except ValueError:
        instant = turn.run.clock_ns
    state.started_ns = min(max(instant, state.queued_ns), turn.run.clock_ns)


def overdue(turn: Turn, step_id: str, state: StepState, due_ns: int) -> None:
    """A limit of the attempt is reached: it fails, and whoever has it need not go on."""
    node = turn.node_of(step_id)
    if due_ns != state.deadline_ns:
        failure = _over("no heartbeat within the step's heartbeat timeout", node.heartbeat_timeout_ns)
        detail = "heartbeat_timeout"
    elif state.status == "queued":
        failure = _over("no worker began it within the step's queue timeout", node.queue_timeout_ns)
        detail = "queue_timeout"
    else:
        failure = _over("no result within the step's timeout", node.timeout_ns)
        detail = "timeout"
    turn.give_up(step_id, state)
    attempt_failed(turn, node, step_id, state, Failure(error=failure, detail=detail))


def _over(what: str, limit_ns: int) -> str:
    return f"{what} of {format_duration(timedelta(microseconds=limit_ns // 1_000))}"
