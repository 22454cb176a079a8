"""Hands out what is ready, in the way of each step's type, until nothing more follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dagnats.model.event import NOTHING, Failure
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core import (
    approval,
    attempt,
    child,
    completion,
    ending,
    failure,
    loop,
    mapping,
    planner,
    respond,
    sleep,
    wait,
)
from dagnats.runtime.core.condition import holds

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn


def settle(turn: Turn) -> None:
    """Come to a fixed point: everything that is ready is handed out, skipped or put in the line, or the run ends."""
    run = turn.run
    if run.status != "running":  # what is ready is found when the run begins
        turn.ready.clear()
        return
    while not run.ending:
        if turn.answers:
            _take(turn, *turn.answers.pop())
        elif turn.ready:
            _offer(turn, turn.ready.pop(0))
        elif not run.line or not _next_in_line(turn):
            if run.wreck is not None or not (run.remaining or run.saga is not None):
                _conclude(turn)
            if not turn.ready:  # the failure of a drained run may have to be undone
                return


def take_answers(turn: Turn) -> None:
    """What has come to its end has, whatever else the event leads to."""
    while turn.answers and not turn.run.ending:
        _take(turn, *turn.answers.pop())


def _take(turn: Turn, step_id: str, answer: msgspec.Raw | Failure) -> None:
    """A step's current attempt has come to its end, unless it was given up at the same event."""
    node, state = turn.node_of(step_id), turn.run.steps[step_id]
    if state.status not in IN_FLIGHT:
        return
    if isinstance(answer, Failure):
        failure.attempt_failed(turn, node, step_id, state, answer)
    else:
        completion.completed(turn, node, step_id, state, answer)


def _conclude(turn: Turn) -> None:
    """Nothing more can be handed out: the run has failed, or all its steps are done."""
    wreck = turn.run.wreck
    if wreck is not None:
        failure.drained(turn, wreck)
    else:
        ending.complete(turn)


def _offer(turn: Turn, step_id: str) -> None:
    """One step whose dependencies are done, or that is to be tried again."""
    run = turn.run
    state = turn.state_of(step_id)
    if (run.saga is not None or state.part_of) and not _is_wanted(turn, step_id, state):
        return
    node = turn.node_of(step_id)
    fresh = state.status == "pending"
    if fresh and node.skip_if is not None and holds(node.skip_if, _outputs(turn, state)):
        completion.skipped(turn, node, step_id, state)
        completion.tell_skipped(turn, step_id)
    elif run.paused or (fresh and turn.graph.max_steps and _queues_up(turn, state)):
        turn.hold(step_id, state)
    else:
        _begin(turn, node, step_id, state)


def _is_wanted(turn: Turn, step_id: str, state: StepState) -> bool:
    """Not a part of what has failed meanwhile; and of a run that is being undone only what undoes it, or is awaited."""
    run = turn.run
    whole = run.steps[state.part_of] if state.part_of else state
    if state.part_of and whole.status != "running":
        return False
    return run.saga is None or whole.serves != "" or (state.part_of or step_id) in run.saga.awaiting


def _outputs(turn: Turn, state: StepState) -> Callable[[str], msgspec.Raw]:
    """The outputs a step's condition is about; a generated step knows the others by the names its planner gave."""
    steps = turn.run.steps
    prefix = f"{state.part_of}." if state.part_of else ""

    def output(step_id: str) -> msgspec.Raw:
        found = steps.get(prefix + step_id) or steps.get(step_id)
        return found.output if found is not None else NOTHING

    return output


def _queues_up(turn: Turn, state: StepState) -> bool:
    """Whether there is no room, or others wait for it; what serves or is a part of another step needs none."""
    return not state.serves and not state.part_of and (bool(turn.run.line) or _is_full(turn))


def _is_full(turn: Turn) -> bool:
    return turn.run.flying >= turn.graph.max_steps


def _next_in_line(turn: Turn) -> bool:
    """Take the first step out of the line, if it may go. All that is in the line of a run that goes on is fresh."""
    run = turn.run
    if run.paused:
        return False
    step_id = run.line[0]
    state = run.steps[step_id]
    if state.held and _is_full(turn):
        return False
    run.line.pop(0)
    if state.held:  # not given up meanwhile
        state.held = False
        _begin(turn, turn.node_of(step_id), step_id, state)
    return True


def _begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Start an attempt of a step."""
    match node.type:
        case "normal" | "agent":
            attempt.hand_out(turn, node, step_id, state)
        case "agent_loop":
            loop.limit(turn, node, step_id, state)
            attempt.hand_out(turn, node, step_id, state)
        case "planner" if step_id in turn.run.plans:
            planner.go_on(turn, step_id, state)
        case "planner":
            attempt.hand_out(turn, node, step_id, state)
        case "map" if not state.part_of:
            mapping.begin(turn, node, step_id, state)
        case "map":
            attempt.hand_out(turn, node, step_id, state)
        case "sub_workflow":
            child.begin(turn, node, step_id, state)
        case "sleep":
            sleep.begin(turn, node, step_id, state)
        case "wait_for_event":
            wait.begin(turn, node, step_id, state)
        case "approval":
            approval.begin(turn, node, step_id, state)
        case "respond":
            respond.begin(turn, node, step_id, state)
        case _:
            assert_never(node.type)
