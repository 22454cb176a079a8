"""What a step in flight has outside the run, in the way of its type: taken back when nobody waits for it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.config import WaitForEventConfig
from dagnats.model.event import Outcome, WorkflowCancelled
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core.action import DropWaiter
from dagnats.runtime.core.turn import rests

if TYPE_CHECKING:
    from collections.abc import Collection

    from dagnats.model.run import StepState
    from dagnats.runtime.core.turn import Turn


def release(turn: Turn, step_id: str, state: StepState) -> None:
    """The step's current attempt, queued or running, is given up, and with it its parts."""
    _take_back(turn, step_id, state)
    if state.left:
        cancel_in_flight(turn, of=step_id)


def _take_back(turn: Turn, step_id: str, state: StepState) -> None:
    if rests(state):
        return
    if state.child_run_id:
        cancel_child(turn, state, f"step {step_id!r} of the parent {turn.run.run_id} was given up")
        return
    node = turn.graph.node(step_id, turn.run)
    if node is None:  # the definition is gone: the run can still be ended
        return
    if isinstance(node.config, WaitForEventConfig):
        drop_waiter(turn, step_id, state, node.config.event)
    elif node.worker_run and not state.left and (state.part_of or node.type != "map"):
        turn.give_up(step_id, node, state)


def cancel_step(turn: Turn, step_id: str, state: StepState) -> None:
    """Give up a step in flight: its results no longer count. Its parts, if it has any, are another matter."""
    _take_back(turn, step_id, state)
    turn.move(step_id, state, "cancelled")


def cancel_in_flight(turn: Turn, *, of: str = "", but: Collection[str] = ()) -> None:
    """Give up every step that was handed out, or waits for a retry.

    Args:
        of: Only the parts of this map or planner.
        but: Not these, nor their parts.
    """
    for step_id, state in turn.run.steps.items():
        if state.status not in IN_FLIGHT or (of and state.part_of != of):
            continue
        if (state.part_of or step_id) not in but:
            cancel_step(turn, step_id, state)


def drop_waiter(turn: Turn, step_id: str, state: StepState, event: str) -> None:
    """Watch for the step's event no longer."""
    run_id = turn.run.run_id
    turn.act(DropWaiter(id=turn.next_id(), run_id=run_id, step_id=step_id, attempt=state.attempt, event=event))


def cancel_child(turn: Turn, state: StepState, why: str) -> None:
    """Cancel the run that runs for a step."""
    turn.append(WorkflowCancelled(run_id=state.child_run_id, timestamp=turn.now, payload=Outcome(error=why)))
