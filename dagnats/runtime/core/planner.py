"""Planner steps: a task that returns steps, which then run; the planner is done when all of them are.

What depends on the planner waits for them and gets the outputs of those that no other one needs, by their ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dagnats.model.event import Failure, Plan, PlannerMaterialized
from dagnats.model.json import NULL, join_object
from dagnats.runtime.core.attempt import number
from dagnats.runtime.core.plan import MOST_GENERATED, UnusablePlan, read_plan

if TYPE_CHECKING:
    import msgspec

    from dagnats.model.config import PlannerConfig
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

_NOTHING_PLANNED = join_object([])


def planned(turn: Turn, node: Node, step_id: str, state: StepState, payload: msgspec.Raw) -> None:
    """The planner's handler returned: its steps become part of the run."""
    run = turn.run
    room = MOST_GENERATED - sum(state.part_of in run.plans for state in run.steps.values())
    try:
        plan = read_plan(payload, cast("PlannerConfig", node.config), room=room)
    except UnusablePlan as error:
        why = f"validate fragment: {error}"
        failure = Failure(error=why, failure_type="non_retriable", detail="planner")
        turn.fail(step_id, failure)
        return
    if not plan:
        turn.finish(step_id, _NOTHING_PLANNED)
        return
    state.output = payload
    run.plans[step_id] = plan
    turn.move(step_id, state, "running")
    turn.settle(step_id, state)
    nodes = turn.graph.plan(run, step_id)
    turn.append(
        PlannerMaterialized(
            run_id=run.run_id,
            step_id=step_id,
            attempt_number=state.attempt,
            timestamp=turn.now,
            payload=Plan(steps=tuple(nodes)),
        )
    )
    for part, node in nodes.items():
        made = turn.state_of(part)
        made.part_of = step_id
        made.waits_for = sum(needed in nodes for needed in node.needs)
    _hand_out(turn, step_id, state)


def go_on(turn: Turn, step_id: str, state: StepState) -> None:
    """The run was opened again, and the planner has planned: what is not done of its steps is taken up."""
    turn.move(step_id, state, "running")
    number(turn, state)
    _hand_out(turn, step_id, state)


def _hand_out(turn: Turn, step_id: str, state: StepState) -> None:
    parts = [(part, turn.run.steps[part]) for part in turn.graph.plan(turn.run, step_id)]
    pending = [(part, made) for part, made in parts if made.status == "pending"]
    state.left = len(pending)
    turn.ready += [part for part, made in pending if not made.waits_for]
    if not pending:  # somebody has skipped the rest before the run went on
        _finish(turn, step_id)


def part_done(turn: Turn, step_id: str, part: str) -> None:
    """A generated step is done: others may go on, and the last one completes the planner."""
    run = turn.run
    nodes = turn.graph.plan(run, step_id)
    for dependent in nodes[part].dependents:
        state = run.steps[dependent]
        state.waits_for -= 1
        if not state.waits_for and state.status == "pending":
            turn.ready.append(dependent)
    planner = run.steps[step_id]
    planner.left -= 1
    if not planner.left:
        _finish(turn, step_id)


def _finish(turn: Turn, step_id: str) -> None:
    """All generated steps are done: the planner's output is what those gave that no other one needs."""
    steps = turn.run.steps
    leaves = [part for part, node in turn.graph.plan(turn.run, step_id).items() if not node.dependents]
    outputs = ((leaf.removeprefix(f"{step_id}."), steps[leaf].output or NULL) for leaf in leaves)
    turn.finish(step_id, join_object(outputs))


def part_failure(part: str, failure: Failure) -> Failure:
    """What a failed generated step makes of its planner."""
    return Failure(
        error=f"generated step {part!r} failed: {failure.error}", failure_type="non_retriable", detail="planner"
    )
