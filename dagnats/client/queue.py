"""Queues and workflows as operators hold, limit and see them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dagnats.client.stamp import stamp
from dagnats.errors import ConflictError, DagnatsError, DecodeError
from dagnats.model.ops import (
    TaskLimited,
    WorkflowLimited,
    decode_fact,
    encode_fact,
    task_history,
    workflow_history,
)
from dagnats.runtime.ports import QueueState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Ports

FactT = TypeVar("FactT", TaskLimited, WorkflowLimited)


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue: the tasks of one type.

    Attributes:
        state: What is in it, and who takes from it.
        limits: What an operator has said of it.
        steps: The steps that put tasks into it, as `<workflow>.<step>`.
    """

    state: QueueState
    limits: TaskLimited
    steps: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.state.name


async def queue_views(ports: Ports, definitions: Iterable[WorkflowDef]) -> list[QueueView]:
    """Every queue that has tasks, had workers, or is named by a registered workflow, by name."""
    steps: dict[str, list[str]] = {}
    for definition in definitions:
        for step in definition.steps:
            if step.task:
                name = f"{step.task}.{step.worker_group}" if step.worker_group else step.task
                steps.setdefault(name, []).append(f"{definition.name}.{step.id}")
    states = {state.name: state for state in await ports.tasks.overview()}
    names = sorted({*steps, *states})
    limits = await asyncio.gather(*(task_limits(ports, name) for name in names))
    empty = QueueState("", 0, 0, 0, 0.0, 0, 0)
    return [
        QueueView(states.get(name, empty._replace(name=name)), limit, tuple(steps.get(name, ())))
        for name, limit in zip(names, limits, strict=True)
    ]


async def task_limits(ports: Ports, task: str) -> TaskLimited:
    """What an operator has said of a task type."""
    return (await _newest(ports, task_history(task), TaskLimited(task=task)))[0]


async def workflow_limits(ports: Ports, workflow: str) -> WorkflowLimited:
    """What an operator has said of a workflow."""
    return (await _newest(ports, workflow_history(workflow), WorkflowLimited(workflow=workflow)))[0]


async def say_of_task(ports: Ports, task: str, change: Callable[[TaskLimited], TaskLimited]) -> TaskLimited:
    """Change what holds for a task type. Raises what `change` raises."""
    return await _say(ports, task_history(task), TaskLimited(task=task), change)


async def say_of_workflow(
    ports: Ports, workflow: str, change: Callable[[WorkflowLimited], WorkflowLimited]
) -> WorkflowLimited:
    """Change what holds for a workflow. Raises what `change` raises."""
    return await _say(ports, workflow_history(workflow), WorkflowLimited(workflow=workflow), change)


def paused(fact: FactT, name: str, *, by: str, reason: str) -> FactT:
    """`fact` with a pause."""
    if fact.paused:
        raise ConflictError(f"{name} is paused already", hint="resume it to let it go on")
    return msgspec.structs.replace(fact, paused=True, by=by, reason=reason)


def resumed(fact: FactT, name: str, *, by: str) -> FactT:
    """`fact` without its pause."""
    if not fact.paused:
        raise ConflictError(f"{name} is not paused")
    return msgspec.structs.replace(fact, paused=False, by=by, reason="")


def positive(what: str, count: int) -> int:
    """A limit: a positive number, or 0 to leave it to the definitions."""
    if count < 0:
        raise DagnatsError(f"{what} is {count!r}: a limit is a positive number, or 0 for what the definitions say")
    return count


async def _say(ports: Ports, history: str, nothing: FactT, change: Callable[[FactT], FactT]) -> FactT:
    mark = stamp(ports.clock)
    while True:
        fact, last = await _newest(ports, history, nothing)
        new = msgspec.structs.replace(change(fact), timestamp=mark["timestamp"])
        try:
            await ports.log.append_after(history, encode_fact(new), id=f"{history}.{mark['trace_parent']}", last=last)
        except ConflictError:
            if (await _newest(ports, history, nothing))[0] == new:
                return new  # ours, from a try whose answer was lost
            continue
        return new


async def _newest(ports: Ports, history: str, nothing: FactT) -> tuple[FactT, int]:
    """What was said last, and its place."""
    entries = await ports.log.read(history)
    last = entries[-1].seq if entries else 0
    for entry in reversed(entries):
        try:
            fact = decode_fact(entry.data)
        except DecodeError:
            continue
        if isinstance(fact, type(nothing)):
            return fact, last
    return nothing, last
