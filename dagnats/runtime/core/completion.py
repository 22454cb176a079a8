"""A step is done: what waited for it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import StepSkipped
from dagnats.model.run import StepState
from dagnats.runtime.core import mapping, planner, saga

if TYPE_CHECKING:
    import msgspec

    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn


def completed(turn: Turn, node: Node, step_id: str, state: StepState, output: msgspec.Raw) -> None:
    """The current attempt of a step gave its output: whatever the step's type, it is done."""
    run = turn.run
    turn.move(step_id, state, "completed")
    state.output = output
    if state.error:
        state.error = state.failure_type = ""
    if state.consumed:
        state.consumed = {}
    if state.dead:
        turn.drop_dead_letters(step_id, state)
    if node.on_failure and not state.part_of:
        _forget_handling(turn, turn.graph.instance(node.on_failure, step_id))
    if state.part_of:
        _part_done(turn, state.part_of, step_id, state)
    elif run.saga is not None:
        if state.serves:
            saga.undone(turn, run.saga, step_id)
        else:
            saga.settled(turn, run.saga, step_id)
    elif state.serves:
        _recovered(turn, state.serves)
    else:
        done(turn, node)


def _forget_handling(turn: Turn, handler: str) -> None:
    """What had failed has succeeded after all: what its failure step left behind, or that one's parts, is of no use."""
    handling = turn.run.steps.get(handler)
    if handling is None:
        return
    if handling.dead:  # it is not when the engine itself ran it
        turn.drop_dead_letters(handler, handling)
    if handling.left:
        for part, state in turn.run.steps.items():
            if state.part_of == handler and state.dead:
                turn.drop_dead_letters(part, state)


def _part_done(turn: Turn, whole: str, step_id: str, state: StepState) -> None:
    """A part of a map or a planner is done; the last one completes the whole."""
    node = turn.node_of(whole)
    if node.type == "map":
        mapping.item_done(turn, whole, state)
    else:
        planner.part_done(turn, whole, step_id)


def done(turn: Turn, node: Node) -> None:
    """Count a done step off its dependents; those that wait for nothing more are ready."""
    run, nodes = turn.run, turn.graph.nodes
    run.remaining -= 1
    for dependent in node.dependents:
        state = run.steps.get(dependent)
        if state is None:
            state = run.steps[dependent] = StepState(waits_for=len(nodes[dependent].needs))
        state.waits_for -= 1
        if state.status == "pending" and not state.waits_for:
            turn.ready.append(dependent)


def skipped(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """The step is left out. It counts as done, and what depends on it goes on without its output."""
    turn.move(step_id, state, "skipped")
    if state.part_of:
        _part_done(turn, state.part_of, step_id, state)
    else:
        done(turn, node)


def tell_skipped(turn: Turn, step_id: str) -> None:
    """Say that the engine has left a step out."""
    turn.append(StepSkipped(run_id=turn.run.run_id, step_id=step_id, timestamp=turn.now))


def _recovered(turn: Turn, step_id: str) -> None:
    """A failure step completed: the failed step counts as done, and all that depends on it is skipped."""
    run, nodes = turn.run, turn.graph.nodes
    state = run.steps[step_id]
    turn.move(step_id, state, "recovered")
    if state.items:
        mapping.forget(turn, step_id, state)
    run.remaining -= 1
    pending = [*nodes[step_id].dependents]
    for dependent in pending:  # grows while it is read
        state = turn.state_of(dependent)
        if state.status == "pending":
            turn.move(dependent, state, "skipped")
            tell_skipped(turn, dependent)
            run.remaining -= 1
            pending += nodes[dependent].dependents
