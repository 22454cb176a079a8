"""Hands out what is ready, in the way of each step's type, until nothing more follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from dagnats.model.event import NOTHING
from dagnats.runtime.core import (
    approval,
    attempt,
    child,
    completion,
    ending,
    failure,
    loop,
    mapping,
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
    while True:
        if run.ending or run.ended:
            return
        if turn.finished:
            step_id, output = turn.finished.popleft()
            completion.completed(turn, turn.node_of(step_id), step_id, run.steps[step_id], output)
        elif turn.failed:
            step_id, why = turn.failed.popleft()
            failure.attempt_failed(turn, turn.node_of(step_id), step_id, run.steps[step_id], why)
        elif turn.ready:
            _offer(turn, turn.ready.popleft())
        elif not _next_in_line(turn):
            _conclude(turn)
            if not turn.ready:
                return


def _conclude(turn: Turn) -> None:
    """Nothing more can be handed out now: end the run, or begin to undo it, if that is all that is left."""
    if turn.run.saga is None and not turn.run.remaining:
        ending.complete(turn)
    else:
        failure.drained(turn)


def _offer(turn: Turn, step_id: str) -> None:
    """One step whose dependencies are done, or that is to be tried again."""
    run = turn.run
    state = turn.state_of(step_id)
    node = turn.node_of(step_id)
    if not _is_wanted(turn, state):
        return
    fresh = state.status == "pending"
    if fresh and node.skip_if is not None and not state.serves and holds(node.skip_if, _outputs(turn, state)):
        completion.skipped(turn, node, step_id, state)
    elif run.paused or (fresh and _is_full(turn, state)):
        state.held = True
        state.retry_at_ns = 0
        run.line.insert(len(run.line) if fresh else _begun(turn), step_id)
    else:
        _begin(turn, node, step_id, state)


def _is_wanted(turn: Turn, state: StepState) -> bool:
    """While a run is being undone, nothing is handed out but what undoes it, and the rest of a step it waits for."""
    saga = turn.run.saga
    return saga is None or state.serves != "" or state.part_of in saga.awaiting or _serves(turn, state.part_of)


def _serves(turn: Turn, whole: str) -> bool:
    return whole != "" and turn.run.steps[whole].serves != ""


def _outputs(turn: Turn, state: StepState) -> Callable[[str], msgspec.Raw]:
    """The outputs a step's condition is about; a generated step knows the others by the names its planner gave."""
    steps = turn.run.steps
    prefix = f"{state.part_of}." if state.part_of else ""

    def output(step_id: str) -> msgspec.Raw:
        found = steps.get(prefix + step_id) or steps.get(step_id)
        return found.output if found is not None else NOTHING

    return output


def _is_full(turn: Turn, state: StepState) -> bool:
    limit = turn.graph.max_steps
    return bool(limit) and turn.run.flying >= limit and not state.serves and not state.part_of


def _begun(turn: Turn) -> int:
    """The place in the line behind the steps that count as in flight already.

    Those that do not would wait in front of them for the room that these take up.
    """
    run = turn.run
    if not turn.graph.max_steps:
        return len(run.line)
    for at, step_id in enumerate(run.line):
        state = run.steps.get(step_id)
        if state is not None and state.status == "pending":
            return at
    return len(run.line)


def _next_in_line(turn: Turn) -> bool:
    """Take the first step out of the line, if it may go."""
    run = turn.run
    while run.line and not run.paused:
        step_id = run.line[0]
        state = run.steps.get(step_id)
        if state is None or not state.held:  # given up meanwhile
            run.line.pop(0)
            continue
        if state.status == "pending" and _is_full(turn, state):
            return False
        run.line.pop(0)
        state.held = False
        turn.ready.append(step_id)
        return True
    return False


def _begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Start an attempt of a step."""
    match node.type:
        case "agent_loop":
            loop.limit(turn, node, step_id, state)
            attempt.hand_out(turn, node, step_id, state)
        case "normal" | "agent" | "planner":
            attempt.hand_out(turn, node, step_id, state)
        case "map":
            if state.part_of:
                attempt.hand_out(turn, node, step_id, state)
            else:
                mapping.begin(turn, node, step_id, state)
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
