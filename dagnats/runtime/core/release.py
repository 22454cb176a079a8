"""What a step in flight has outside the run, in the way of its type: taken back when nobody waits for it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dagnats.model.event import Outcome, WorkflowCancelled
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core.action import DropWaiter

if TYPE_CHECKING:
    from dagnats.model.config import WaitForEventConfig
    from dagnats.model.run import StepState
    from dagnats.runtime.core.turn import Turn


def release(turn: Turn, step_id: str, state: StepState) -> None:
    """The step's current attempt, queued or running, is given up."""
    node = turn.graph.node(step_id, turn.run)
    if node is None:  # the definition is gone: the run can still be ended
        return
    match node.type:
        case "sub_workflow" if not _rests(state):
            cancel_child(turn, state, f"step {step_id!r} of the parent {turn.run.run_id} was given up")
        case "wait_for_event" if not _rests(state):
            drop_waiter(turn, step_id, state, cast("WaitForEventConfig", node.config).event)
        case "map" | "planner" if not state.part_of:
            cancel_parts(turn, step_id)
            if node.type == "planner" and not state.left and not _rests(state):
                turn.give_up(step_id, state)
        case _ if not _rests(state):
            turn.give_up(step_id, state)
        case _:
            pass


def _rests(state: StepState) -> bool:
    """Whether it only waits to be tried again."""
    return state.retry_at_ns > 0 or state.held


def cancel_parts(turn: Turn, whole: str) -> None:
    """Give up what is in flight of a map's items, or of a planner's steps."""
    for step_id, state in turn.run.steps.items():
        if state.part_of == whole and state.status in IN_FLIGHT:
            cancel_step(turn, step_id, state)


def cancel_step(turn: Turn, step_id: str, state: StepState) -> None:
    """Give up a step in flight: its results no longer count."""
    release(turn, step_id, state)
    turn.move(step_id, state, "cancelled")
    state.retry_at_ns = state.loop_ends_ns = 0
    state.held = False


def cancel_in_flight(turn: Turn) -> None:
    """Give up every step that was handed out, or waits for a retry."""
    for step_id, state in list(turn.run.steps.items()):
        if state.status in IN_FLIGHT:
            cancel_step(turn, step_id, state)


def drop_waiter(turn: Turn, step_id: str, state: StepState, event: str) -> None:
    """Watch for the step's event no longer."""
    run_id = turn.run.run_id
    turn.act(DropWaiter(id=turn.next_id(), run_id=run_id, step_id=step_id, attempt=state.attempt, event=event))


def cancel_child(turn: Turn, state: StepState, why: str) -> None:
    """Cancel the run that runs for a step, if it has one."""
    if state.child_run_id:
        turn.append(WorkflowCancelled(run_id=state.child_run_id, timestamp=turn.now, payload=Outcome(error=why)))
