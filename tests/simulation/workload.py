"""Random workflows, and handlers that do random things: both from the seed alone, whatever else happens."""

from __future__ import annotations

import asyncio
import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.errors import Abort, Retry
from dagnats.handling.context import TaskContext
from dagnats.handling.handler import Handler
from dagnats.model.check import load_definition

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from dagnats.model.definition import WorkflowDef

CARRIED = frozenset({"normal", "agent", "map", "planner", "sleep", "wait_for_event", "approval", "respond"})
"""The types of steps that the shell runs so far, or that an operator can answer for."""

TASKS = ("do", "list", "plan", "item", "undo")
_QUICK = ("do", "do", "do", "agent", "sleep", "wait_for_event", "approval", "map", "planner", "respond")


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


def temper(random: Random) -> Temper:
    """Mostly good-natured, at times not."""
    if random.random() < 0.3:
        return Temper(0, 0, 0, 0, 10)
    return Temper(random.choice([2, 8, 20]), random.choice([0, 2, 5]), random.choice([0, 4]), 6, 30)


# -- definitions ---------------------------------------------------------------------------------------------


def workflow(random: Random, name: str, types: frozenset[str] = CARRIED) -> WorkflowDef:
    """A workflow of up to a dozen steps, in which every part of a definition may occur."""
    steps: list[dict[str, Any]] = []
    outputs: dict[str, str] = {}  # by step: the kind of value it gives
    used: set[str] = set()
    for at in range(random.randint(3, 7)):
        kind = random.choice(_QUICK)
        kind = kind if kind in ("do", *types) else "do"
        needs = random.sample(sorted(outputs), k=min(len(outputs), random.choice([0, 1, 1, 1, 2])))
        if kind == "map":
            steps.append({"id": f"l{at}", "task": "list", "depends_on": needs, **_limits(random)})
            outputs[f"l{at}"] = "list"
            needs = [f"l{at}"]
        made = {"id": f"s{at}", "depends_on": needs, **_typed(random, kind)}
        if "task" in made:
            made |= _limits(random)
            _serve(random, made, used)
        plain = [need for need in needs if outputs[need] == "plain"]
        if plain and random.random() < 0.15:
            made["skip_if"] = {"step_id": plain[0], "field": "n", "op": "<", "value": 40}
        steps.append(made)
        outputs[made["id"]] = "plain" if kind in ("do", "agent") else "other"
    steps += [{"id": one, "task": "undo", **_limits(random)} for one in sorted(used)]
    random.shuffle(steps)
    return load_definition({"name": name, "steps": steps, **_whole(random)})


def _typed(random: Random, kind: str) -> dict[str, Any]:
    """What a step of a type must have."""
    match kind:
        case "map":
            config = {"max_parallel": random.choice([0, 1, 2]), "on_item_failure": random.choice(["fail", "collect"])}
            return {"type": "map", "task": "item", "config": config}
        case "planner":
            return {"type": "planner", "task": "plan", "config": {"max_steps": 6}}
        case "sleep":
            return {"type": "sleep", "config": {"duration": random.choice(["50ms", "1s", "4s"])}}
        case "wait_for_event":
            match = {"left": "n", "op": "ge", "right": {"value": 0}}
            return {
                "type": kind,
                "config": {"event": "it.came", "match": match, "timeout": random.choice(["2s", "9s"])},
            }
        case "approval":
            return {"type": kind, "config": {"timeout": random.choice(["3s", "12s"]), "subject": "asked"}}
        case "respond":
            return {"type": kind, "config": {}}
        case "agent":
            return {"type": "agent", "task": "do"}
        case _:
            return {"task": "do"}


def _limits(random: Random) -> dict[str, Any]:
    """Timeouts and retries of a step that workers run."""
    made: dict[str, Any] = {}
    for key, choices in (
        ("timeout", ["", "400ms", "2s", "3s"]),
        ("queue_timeout", ["", "", "", "4s"]),
        ("heartbeat_timeout", ["", "", "", "900ms"]),
    ):
        value = random.choice(choices)
        if value:
            made[key] = value
    if random.random() < 0.8:
        made["retry"] = {
            "max_attempts": random.randint(0, 3),
            "strategy": random.choice(["fixed", "linear", "exponential"]),
            "initial_delay": random.choice(["20ms", "200ms", "1s"]),
            "max_delay": "2s",
            "jitter": random.choice([0, 0.5]),
        }
    return made


def _serve(random: Random, step: dict[str, Any], used: set[str]) -> None:
    """Steps that run for this one when it, or the run, fails."""
    for key, likely in (("on_failure", 0.15), ("compensate", 0.3)):
        if random.random() < likely:
            step[key] = random.choice(["x0", "x1"])
            used.add(step[key])


def _whole(random: Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    timeout = random.choice(["", "", "15s", "60s", "10m", "10m"])
    if timeout:
        made["timeout"] = timeout
    if random.random() < 0.3:
        made["concurrency"] = {"max_steps": random.randint(1, 3)}
    if random.random() < 0.3:
        made["failure_mode"] = "drain"
    if random.random() < 0.5:
        made["compensate_on"] = random.choice([["failure"], ["failure", "cancel"], ["failure", "cancel", "timeout"]])
    return made


# -- handlers ------------------------------------------------------------------------------------------------


class Workshop:
    """The handlers, and what they did.

    Args:
        seed: What they do depends on it, and on run, step and attempt.
        last: Gives the log's newest event.

    Attributes:
        effects: In order.
    """

    def __init__(self, seed: int, temper: Temper, definitions: list[WorkflowDef], last: Callable[[], int]) -> None:
        self.effects: list[Effect] = []
        self._seed = seed
        self._temper = temper
        self._last = last
        self._limited = {(one.name, step.id) for one in definitions for step in one.steps if step.timeout}

    def handlers(self) -> list[Handler[..., Any]]:
        """One for each task type."""
        return [self._handler(task) for task in TASKS]

    def _handler(self, task: str) -> Handler[..., Any]:
        async def work(value: Any, context: TaskContext) -> Any:
            return await self._work(task, context)

        return Handler(task, work, {"TaskContext": TaskContext, "Any": Any})

    async def _work(self, task: str, context: TaskContext) -> Any:
        begun_after = self._last()
        where = (context.run_id, context.step_id, context.attempt, begun_after)
        self.effects.append(Effect(*where, done=False))
        number = zlib.crc32(f"{self._seed}/{context.run_id}/{context.step_id}/{context.attempt}".encode())
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
            case "hangs" if (context.workflow, _base(context.step_id)) in self._limited:
                await asyncio.sleep(3_600)
            case _:
                await asyncio.sleep((number // 100) % 30 / 100)


def _base(step_id: str) -> str:
    """The step of the definition, whose timeout this one has; "" for a planned one, which has none."""
    base, _, rest = step_id.partition(".")
    return base if not rest or rest.startswith(("map.", "for.")) else ""


def _result(task: str, number: int, context: TaskContext) -> Any:
    match task:
        case "list":
            return [{"n": at} for at in range(number % 7)]
        case "plan":
            return {"steps": _plan(number)}
        case _:
            return {"n": number % 100, "attempt": context.attempt, "step": context.step_id}


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
