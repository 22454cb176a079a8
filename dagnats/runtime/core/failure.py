"""What a failed attempt leads to, in this order: retry, failure step, compensation, the run fails.

The order is the same for every type of step. An item of a map, and a step that a planner generated, have retries of
their own; when these are used up, the map or the planner has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from dagnats.model.event import Failure
from dagnats.model.run import Wreck
from dagnats.runtime.core import ending, mapping, planner, release, saga
from dagnats.runtime.core.retry import retry_delay

if TYPE_CHECKING:
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn


def attempt_failed(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> None:
    """The current attempt of `step_id` failed."""
    run = turn.run
    state.error = failure.error
    state.failure_type = failure.failure_type
    # While the run is being undone, only what undoes it is tried again: the effect of the rest is settled now.
    if (run.saga is None or turn.undoes(state)) and _retry(turn, node, step_id, state, failure):
        return
    turn.move(step_id, state, "failed")
    _failed_for_good(turn, node, step_id, state, failure)


def imposed(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> None:
    """An attempt failed by somebody's word who does not have it in hand: whoever has it need not go on.

    What has parts fails for good, whatever is said of it: its parts were given up with it.
    """
    release.release(turn, step_id, state)
    if state.left:
        failure = replace(failure, failure_type="non_retriable")
    state.retry_at_ns = 0
    state.held = False
    attempt_failed(turn, node, step_id, state, failure)


def _retry(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> bool:
    policy = node.retry
    if policy is None or failure.failure_type == "non_retriable" or state.retries >= policy.max_attempts:
        return False
    state.retries += 1
    delay = retry_delay(policy, failure, run_id=turn.run.run_id, step_id=step_id, retry=state.retries)
    turn.move(step_id, state, "queued")
    turn.settle(step_id, state)
    turn.again_in(step_id, state, delay)
    return True


def _failed_for_good(turn: Turn, node: Node, step_id: str, state: StepState, failure: Failure) -> None:
    if state.part_of:
        _part_failed(turn, step_id, state, failure)
    elif turn.run.saga is not None:
        if not state.serves:
            saga.settled(turn, turn.run.saga, step_id)
            return
        _dead(turn, step_id, state, failure)
        saga.stuck(turn, step_id, failure.error)
    elif node.on_failure and not node.auxiliary:
        turn.serve(turn.graph.instance(node.on_failure, step_id), step_id)
    else:
        _uncaught(turn, step_id, state, failure)


def _uncaught(turn: Turn, step_id: str, state: StepState, failure: Failure) -> None:
    _dead(turn, step_id, state, failure)
    if not state.serves:
        lost(turn, step_id, failure.error)
        return
    original = turn.run.steps[state.serves]  # a failure step that failed: the step it ran for is what ends the run
    _dead(turn, state.serves, original, Failure(error=original.error, failure_type="non_retriable"))
    lost(turn, state.serves, original.error)


def _dead(turn: Turn, step_id: str, state: StepState, failure: Failure) -> None:
    """Keep what failed for good; of a map or a planner the part by which it did."""
    if not state.left:
        turn.dead_letter(step_id, failure)
    elif not mapping.collects(turn.node_of(step_id)):
        for part, found in turn.run.steps.items():
            if found.part_of == step_id and found.status == "failed":
                turn.dead_letter(part, Failure(error=found.error, failure_type="non_retriable"))


def _part_failed(turn: Turn, step_id: str, state: StepState, failure: Failure) -> None:
    """A part of a map or a planner failed for good: usually the whole has."""
    whole = state.part_of
    owner, node = turn.run.steps[whole], turn.node_of(whole)
    if mapping.collects(node):
        mapping.item_done(turn, whole, state)
        return
    if node.type == "map":
        failure = mapping.item_failure(whole, step_id, failure)
    else:
        failure = planner.part_failure(step_id, failure)
    release.cancel_in_flight(turn, of=whole)
    owner.error, owner.failure_type = failure.error, failure.failure_type
    turn.move(whole, owner, "failed")
    _failed_for_good(turn, node, whole, owner, failure)


def lost(turn: Turn, step_id: str, error: str) -> None:
    """A step failed and nothing caught it. Without `drain` the run cannot go on; with it, other branches may."""
    run = turn.run
    if not turn.graph.drains:
        run_failed(turn, step_id, error)
    elif run.wreck is None:
        run.wreck = Wreck(step_id=step_id, error=error)


def drained(turn: Turn, wreck: Wreck) -> None:
    """End a run that failed, as soon as it has let its other branches finish."""
    run = turn.run
    if run.saga is None and not run.flying and not run.line:
        run_failed(turn, wreck.step_id, wreck.error)


def run_failed(turn: Turn, step_id: str, error: str, *, cause: str = "failure") -> None:
    """The run cannot complete any more: undo what can be undone, else fail.

    Args:
        cause: `failure`, or `timeout` when it is the run's own time that is over.
    """
    if cause in turn.graph.compensate_on and saga.has_work(turn.graph, turn.run):
        saga.begin(turn, step_id, error)
    else:
        ending.fail(turn, step_id, error)
