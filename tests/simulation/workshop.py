"""Handlers that do random things: what they do depends on the seed, on run, step and attempt, and on nothing else."""

from __future__ import annotations

import asyncio
import zlib
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from dagnats.errors import Abort, Retry
from dagnats.handling.context import TaskContext
from dagnats.handling.handler import Handler
from dagnats.handling.loop import Continue
from dagnats.runtime import invocation
from tests.simulation.workload import KEYS, TASKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.task import Task


_attempt: ContextVar[int] = ContextVar("attempt")
"""The number on the wire of the attempt that an asyncio task works on: a context tells the try, which is not unique.
Where nobody sets it, nothing is repeated."""


def lacks_input(handler: Handler[..., Any], task: Task) -> bool:
    """What the worker calls before a handler, in the handler's asyncio task."""
    _attempt.set(task.attempt)
    return invocation.lacks_input(handler, task)


class Effect(NamedTuple):
    """A handler's effect, outside of everything that can be lost.

    Attributes:
        run_id, step_id, attempt: Whose.
        begun_after: The newest event of the log when the handler began.
        done: Whether it came to its end, with success.
    """

    run_id: str
    step_id: str
    attempt: int
    begun_after: int
    done: bool


class Temper(NamedTuple):
    """How handlers behave, in percent; what is left succeeds at once."""

    fails: int
    aborts: int
    asks_again: int
    hangs: int
    takes: int
    pauses: int = 0


def temper(random: Random) -> Temper:
    """Mostly good-natured, at times not."""
    if random.random() < 0.3:
        return Temper(0, 0, 0, 0, 10)
    pauses = random.choice([0, 4])
    return Temper(random.choice([2, 8, 20]), random.choice([0, 2, 5]), random.choice([0, 4]), 6, 30, pauses)


class Workshop:
    """The handlers, and what they did.

    Args:
        seed: What they do depends on it, and on run, step and attempt.
        last: Gives the log's newest event.

    Attributes:
        open: The one whose handlers work now.
        effects: In order.
        on_busy: Called when a handler begins something that takes its time.
    """

    open: ClassVar[Workshop]

    def __init__(self, seed: int, temper: Temper, definitions: list[WorkflowDef], last: Callable[[], int]) -> None:
        self.effects: list[Effect] = []
        self.on_busy: Callable[[], None] = lambda: None
        self._seed = seed
        self._temper = temper
        self._last = last
        self._limited = {(one.name, step.id) for one in definitions for step in one.steps if step.timeout}
        self._wanted = {step.task for one in definitions for step in one.steps} | {"do"}  # which planners ask for

    def handlers(self) -> list[Handler[..., Any]]:
        """One for each task type that is asked for, working here from now on."""
        Workshop.open = self
        return [_handler(task) for task in TASKS if task in self._wanted]

    async def work(self, task: str, context: TaskContext) -> Any:
        if task == "hang":
            await asyncio.sleep(3_600)
        begun_after = self._last()
        attempt = _attempt.get(context.attempt + context.iteration)
        where = (context.run_id, context.step_id, attempt, begun_after)
        self.effects.append(Effect(*where, done=False))
        number = zlib.crc32(f"{self._seed}/{context.run_id}/{context.step_id}/{attempt}".encode())
        await self._behave(number, context)
        self.effects.append(Effect(*where, done=True))
        return _result(task, number // 100, context)

    async def _behave(self, number: int, context: TaskContext) -> None:
        """Succeed by returning."""
        left = number % 100
        for kind, share in zip(Temper._fields, self._temper, strict=True):
            left -= share
            if left < 0:
                await self._do(kind, number, context)
                return

    async def _do(self, kind: str, number: int, context: TaskContext) -> None:
        match kind:
            case "fails":
                raise RuntimeError("as it happens")
            case "aborts":
                raise Abort("never")
            case "asks_again":
                raise Retry("later", after=timedelta(milliseconds=number % 1_500))
            case "pauses":
                await context.pause(timedelta(milliseconds=number % 1_500 + 1))
            case "hangs" if (context.workflow, _base(context.step_id)) in self._limited:
                await asyncio.sleep(3_600)
            case _:
                self.on_busy()
                await asyncio.sleep((number // 100) % 30 / 100)


@cache
def _handler(task: str) -> Handler[..., Any]:
    """One for all executions, of which a process has one at a time: to read its types takes a millisecond."""

    async def work(value: Any, context: TaskContext) -> Any:
        return await Workshop.open.work(task, context)

    return Handler(task, work, {"TaskContext": TaskContext, "Any": Any})


def _base(step_id: str) -> str:
    """The step of the definition, whose timeout this one has; "" for a planned one, which has none."""
    base, _, rest = step_id.partition(".")
    return base if not rest or rest.startswith(("map.", "for.")) else ""


def _result(task: str, number: int, context: TaskContext) -> Any:
    match task:
        case "list":
            return [{"n": at, "k": KEYS[at % len(KEYS)]} for at in range(number % 7)]
        case "plan":
            return {"steps": _plan(number)}
        case "loop" if number % 3:
            return Continue({"n": number % 100, "k": KEYS[number % len(KEYS)]})
        case _:
            return {
                "n": number % 100,
                "k": KEYS[number % len(KEYS)],
                "attempt": _attempt.get(context.attempt + context.iteration),
                "step": context.step_id,
                "rest": "." * (number % 300),
            }


def _plan(number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"p{at}",
            "task": "do",
            "depends_on": [f"p{number % at}"] if at else [],
            "retry": {"max_attempts": 2, "initial_delay": "50ms"},
        }
        for at in range(number % 5)
    ]
