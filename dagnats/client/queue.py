"""Queues and workflows as operators hold, limit and see them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagnats.client.start import MOST_DEPTH, MOST_EVENTS
from dagnats.errors import ConflictError, DagnatsError
from dagnats.model.instant import rfc3339
from dagnats.runtime.limit import gate_view, limit_task, limit_workflow, task_limit, workflow_limit
from dagnats.runtime.ports import QueueState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.ops import TaskLimited, WorkflowLimited
    from dagnats.runtime.core.gate.view import TaskGateView
    from dagnats.runtime.ports import Ports


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue: the tasks of one type, or those of them that are for one worker group.

    Attributes:
        state: What is in it, and who takes from it.
        limits: What an operator has said of the task type.
        gate: Who has the type's slots, and who waits for one: as of the engine's stored position.
        steps: The steps that put tasks into it, as `<workflow>.<step>`.
        task: The task type. What is said of it holds for all its groups.
    """

    state: QueueState
    limits: TaskLimited
    gate: TaskGateView
    steps: tuple[str, ...]
    task: str

    @property
    def name(self) -> str:
        return self.state.name


async def queue_views(ports: Ports, definitions: Iterable[WorkflowDef]) -> list[QueueView]:
    """Every queue that has tasks, had workers, or is named by a registered workflow, by name."""
    steps: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    for definition in definitions:
        for step in definition.steps:
            if step.task:
                name = f"{step.task}.{step.worker_group}" if step.worker_group else step.task
                steps.setdefault(name, []).append(f"{definition.name}.{step.id}")
                types[name] = types[step.task] = step.task
    states = {state.name: state for state in await ports.tasks.overview()}
    names = sorted({*types, *states})
    limits = await asyncio.gather(*(task_limit(ports.log, types.get(name, name)) for name in names))
    gates = await gate_view(ports)
    empty = QueueState("", 0, 0, 0, 0.0, 0, 0)

    def view(name: str, limit: TaskLimited) -> QueueView:
        task, state = types.get(name, name), states.get(name, empty._replace(name=name))
        return QueueView(state, limit, gates.task(task), tuple(steps.get(name, ())), task)

    return [view(name, limit) for name, limit in zip(names, limits, strict=True)]


def expect_whole(view: QueueView) -> None:
    """Raise ConflictError for what is a part of a queue only: a gate asks for a task's type, not for its group."""
    if view.task != view.name:
        raise ConflictError(
            f"queue {view.name!r} is a worker group of task type {view.task!r}, and all its groups are held or limited "
            "together",
            hint=f"name {view.task}",
        )


async def pause_task(ports: Ports, task: str, *, by: str, reason: str) -> None:
    """Hand out no task of a type. Raises ConflictError when it is so already."""
    if (await task_limit(ports.log, task)).paused:
        raise ConflictError(f"queue {task!r} is paused already", hint=f"`dagnats queue resume {task}` lets it go on")
    await limit_task(ports.log, task, paused=True, by=by, reason=reason, timestamp=_now(ports))


async def resume_task(ports: Ports, task: str, *, by: str) -> None:
    """Hand out tasks of a type again. Raises ConflictError when nobody has stopped it."""
    if not (await task_limit(ports.log, task)).paused:
        raise ConflictError(f"queue {task!r} is not paused")
    await limit_task(ports.log, task, paused=False, by=by, timestamp=_now(ports))


async def change_task(ports: Ports, task: str, *, by: str, reason: str, **changes: int) -> TaskLimited:
    """Limit a task type; why it is paused, if it is, stays."""
    before = await task_limit(ports.log, task)
    by, reason = by or before.by, reason or before.reason
    return await limit_task(ports.log, task, by=by, reason=reason, timestamp=_now(ports), **changes)


async def pause_workflow(ports: Ports, workflow: str, *, by: str, reason: str) -> None:
    """Let no run of a workflow begin. Raises ConflictError when it is so already."""
    if (await workflow_limit(ports.log, workflow)).paused:
        raise ConflictError(
            f"workflow {workflow!r} is paused already", hint=f"`dagnats workflow resume {workflow}` lets it go on"
        )
    await limit_workflow(ports.log, workflow, paused=True, by=by, reason=reason, timestamp=_now(ports))


async def resume_workflow(ports: Ports, workflow: str, *, by: str) -> None:
    """Let runs of a workflow begin again. Raises ConflictError when nobody has stopped it."""
    if not (await workflow_limit(ports.log, workflow)).paused:
        raise ConflictError(f"workflow {workflow!r} is not paused")
    await limit_workflow(ports.log, workflow, paused=False, by=by, timestamp=_now(ports))


async def change_workflow(
    ports: Ports, workflow: str, limits: Mapping[str, int | None], *, by: str, reason: str
) -> WorkflowLimited:
    """Limit a workflow; why it is paused, if it is, stays. Raises DagnatsError when `limits` says nothing."""
    changes = run_limits(limits)
    before = await workflow_limit(ports.log, workflow)
    by, reason = by or before.by, reason or before.reason
    return await limit_workflow(ports.log, workflow, by=by, reason=reason, timestamp=_now(ports), **changes)


def run_limits(limits: Mapping[str, int | None]) -> dict[str, int]:
    """The limits that are given. Raises DagnatsError when none is, or one is negative or more than a run may have."""
    given = {name: positive(name, most) for name, most in limits.items() if most is not None}
    if not given:
        raise DagnatsError("no limit is given", hint=f"give one of {', '.join(limits)}; 0 takes it away")
    for name, most in (("max_events", MOST_EVENTS), ("max_depth", MOST_DEPTH)):
        if given.get(name, 0) > most:
            raise DagnatsError(f"{name} is {given[name]}", hint=f"the most is {most:,}")
    return given


def positive(what: str, count: int) -> int:
    """A limit: a positive number, or 0 to leave it to the definitions."""
    if count < 0:
        raise DagnatsError(f"{what} is {count!r}: a limit is a positive number, or 0 for what the definitions say")
    return count


def _now(ports: Ports) -> str:
    return rfc3339(ports.clock.now_ns())
