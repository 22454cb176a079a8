"""What a failed attempt leads to, in this order: retry, failure step, compensation, the run fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import Failure
from dagnats.runtime.core import ending, saga
from dagnats.runtime.core.retry import retry_delay

if TYPE_CHECKING:
    from dagnats.model.run import StepState
    from dagnats.runtime.core.graph import Node
    from dagnats.runtime.core.turn import Turn


def attempt_failed(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> None:
    """The current attempt of `step_id` failed."""
    run = turn.run
    state.error = failure.error
    state.failure_type = failure.failure_type
    state.deadline_ns = state.heartbeat_due_ns = 0
    undoing = run.saga is not None
    if undoing and not state.serves:  # its effect is settled now; nothing is dispatched any more
        _close(turn, state)
        assert run.saga is not None
        saga.settled(turn, run.saga, step_id)
        return
    if _retry(turn, node, step_id, state, failure):
        return
    _close(turn, state)
    _failed_for_good(turn, node, step_id, state, failure)


def _retry(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> bool:
    policy = node.retry
    if policy is None or failure.failure_type == "non_retriable" or state.retries >= policy.max_attempts:
        return False
    state.retries += 1
    delay = retry_delay(policy, failure, run_id=turn.run.run_id, step_id=step_id, retry=state.retries)
    state.status = "queued"
    state.retry_at_ns = turn.run.clock_ns + delay
    turn.add_deadline(state.retry_at_ns, step_id, state.attempt)
    return True


def _close(turn: Turn, state: StepState) -> None:
    state.status = "failed"
    state.ended_ns = turn.run.clock_ns


def _failed_for_good(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> None:
    if state.serves and turn.run.saga is not None:
        turn.dead_letter(step_id, failure)
        saga.stuck(turn, step_id, failure.error)
        return
    if node.on_failure and not node.auxiliary:
        turn.dispatch(turn.graph.instance(node.on_failure, step_id), serves=step_id)
        return
    turn.dead_letter(step_id, failure)
    if state.serves:  # a failure step that failed: the step it ran for is what ends the run
        original = turn.run.steps[state.serves]
        turn.dead_letter(state.serves, Failure(error=original.error, failure_type="non_retriable"))
        run_failed(turn, state.serves, original.error)
    else:
        run_failed(turn, step_id, failure.error)


def run_failed(turn: Turn, step_id: str, error: str) -> None:
    """The run cannot complete any more: undo what can be undone, else fail."""
    if saga.has_work(turn.graph, turn.run):
        saga.begin(turn, step_id, error)
    else:
        ending.fail(turn, step_id, error)
