"""What a planner returned, read and made into nodes: `{"steps": [...]}`, in the shape of a definition's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.json import TooDeep, compact, shallow
from dagnats.runtime.core.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.config import PlannerConfig
    from dagnats.model.policy import RetryPolicy
    from dagnats.model.step import StepDef

MOST_GENERATED = 500
"""How many steps planners may add to one run."""

_REFUSED = ("on_failure", "compensate")


class UnusablePlan(Exception):
    """A plan that cannot be carried out; the text says all that is wrong with it."""


def read_plan(payload: msgspec.Raw, config: PlannerConfig, *, room: int) -> msgspec.Raw:
    """The plan's steps as a JSON array, checked; empty when there is nothing to do. Raises UnusablePlan.

    Args:
        room: How many steps the run can still take.
    """
    steps = _steps_of(payload)
    if not steps:
        return msgspec.Raw(b"")
    for step in steps:
        if isinstance(step, dict):
            cast("dict[str, Any]", step)["type"] = "normal"
    try:
        definition = load_definition(compact({"name": "plan", "steps": steps}))
    except DefinitionError as error:
        raise UnusablePlan("; ".join(str(problem) for problem in error.problems)) from None
    problems = list(_beyond(definition.steps, config, room))
    if problems:
        raise UnusablePlan("; ".join(problems))
    return msgspec.Raw(compact(definition.content()["steps"]))


def _steps_of(payload: msgspec.Raw) -> list[Any]:
    try:
        plan = msgspec.json.decode(shallow(bytes(payload)) or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep) as error:
        raise UnusablePlan(f"parse planner output: {error}") from None
    if plan is None:
        return []
    steps = cast("dict[str, Any]", plan).get("steps") if isinstance(plan, dict) else plan
    if steps is None:
        return []
    if not isinstance(plan, dict) or not isinstance(steps, list):
        raise UnusablePlan('parse planner output: a planner returns {"steps": [...]}')
    return cast("list[Any]", steps)


def _beyond(steps: tuple[StepDef, ...], config: PlannerConfig, room: int) -> Iterator[str]:
    """What the planner's configuration, or the engine, does not allow."""
    if len(steps) > config.max_steps:
        yield f"it has {len(steps)} steps, and max_steps is {config.max_steps}"
    if len(steps) > room:
        yield f"it has {len(steps)} steps, and the run has room for {room} more (of {MOST_GENERATED})"
    for step in steps:
        if config.allowed_tasks and step.task not in config.allowed_tasks:
            yield f'step "{step.id}": task {step.task!r} is not one of allowed_tasks'
        for key in _REFUSED:
            if getattr(step, key) is not None:
                yield f'step "{step.id}": a generated step cannot have `{key}`'
    depth = _depth(steps)
    if config.max_depth and depth > config.max_depth:
        yield f"its longest chain has {depth} steps, and max_depth is {config.max_depth}"


def _depth(steps: tuple[StepDef, ...]) -> int:
    """The length of the longest chain."""
    needs = {step.id: step.depends_on for step in steps}
    depth: dict[str, int] = {}
    todo = list(needs)
    while todo:
        step_id = todo[-1]
        missing = [needed for needed in needs[step_id] if needed not in depth]
        if missing:
            todo += missing
            continue
        todo.pop()
        depth[step_id] = 1 + max((depth[needed] for needed in needs[step_id]), default=0)
    return max(depth.values(), default=0)


def generated(planner: str, data: bytes, default_retry: RetryPolicy | None) -> dict[str, Node]:
    """A checked plan's steps by the ids under which they run: `{planner}.{id}`.

    Steps that wait for nothing depend on the planner: its plan is what they receive.
    """
    definition = load_definition(b'{"name":"plan","steps":' + data + b"}")
    nodes: dict[str, Node] = {}
    for step in definition.steps:
        node = Node(step, default_retry, place=len(nodes))
        node.id = f"{planner}.{step.id}"
        nodes[node.id] = node
        node.needs = tuple(f"{planner}.{needed}" for needed in step.depends_on) or (planner,)
    for node in nodes.values():
        for needed in node.needs:
            if needed in nodes:
                nodes[needed].dependents.append(node.id)
    return nodes
