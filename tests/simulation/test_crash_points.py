"""A process dies at each boundary of each workflow in turn; the end is the same as without."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from dagnats.errors import ResultTimeout
from dagnats.model.check import load_definition
from dagnats.runtime.memory.loop import VirtualLoop
from tests.simulation.hand import Hand
from tests.simulation.mutation import MUTATIONS
from tests.simulation.network import Boundary, Network, Point, name_of
from tests.simulation.tracing import Trace
from tests.simulation.workshop import Temper, Workshop
from tests.simulation.world import OneOfEach, World

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef

RETRY = {"max_attempts": 1, "initial_delay": "100ms"}


def _step(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    task = {} if settings.get("type") in ENGINES_OWN else {"task": "do"}
    return {"id": step_id, "depends_on": list(needs), **task, **settings}


ENGINES_OWN = {"sleep", "wait_for_event", "approval", "respond", "sub_workflow"}
WAIT = {"event": "it.came", "match": {"left": "n", "op": "ge", "right": {"value": 0}}, "timeout": "60s"}
KEYED = {"key": "n", "limit": 1, "period": "1s"}
UNDO = {"id": "x", "task": "undo"}
LESSER = {"name": "lesser", "steps": [{"id": "a", "task": "do"}]}
LOST = {"timeout": "300ms", "task": "hang"}

EVERY = os.environ.get("CRASH_POINTS") == "all"
"""Whether a boundary is tried at its first passage and at its last: `make crash`. Otherwise the two take turns."""

ALWAYS = ("engine.lease", "engine.correlated")
"""What engines write whatever there is to do: one workflow is enough for it."""

WORKFLOWS: dict[str, dict[str, Any]] = {
    "fan": {"steps": [_step("a"), _step("b"), _step("c", "a", "b")], "concurrency": {"max_steps": 1}},
    "map": {"steps": [_step("l", task="list"), _step("m", "l", task="item", type="map", config={"max_parallel": 2})]},
    "planner": {"steps": [_step("p", task="plan", type="planner", config={"max_steps": 6}), _step("z", "p")]},
    "sleep": {"steps": [_step("s", type="sleep", config={"duration": "1s"}), _step("z", "s")]},
    "wait": {"steps": [_step("w", type="wait_for_event", config=WAIT), _step("z", "w")]},
    "approval": {"steps": [_step("q", type="approval", config={"timeout": "2s", "subject": "asked"})]},
    "respond": {"steps": [_step("a"), _step("r", "a", type="respond", config={})], "timeout": "10m"},
    "child": {"steps": [_step("c", type="sub_workflow", config={"workflow": "lesser"}), _step("z", "c")]},
    "detached": {"steps": [_step("c", type="sub_workflow", config={"workflow": "lesser", "detach": True})]},
    "loop": {"steps": [_step("a", task="loop", type="agent_loop", config={"max_iterations": 9, "loop_delay": "50ms"})]},
    "signal": {"steps": [_step("s", type="sleep", config={"duration": "1s"})]},
    "cancelled by an event": {
        "steps": [_step("a", compensate="x"), _step("s", "a", type="sleep", config={"duration": "20s"}), UNDO],
        "cancel_on": [{"event": "it.came"}],
        "compensate_on": ["cancel"],
    },
    "one at a time": {"steps": [_step("a"), _step("b")], "concurrency": {"max_runs": 1}, "singleton": {"mode": "skip"}},
    "few at a time": {"steps": [_step(name, max_task_concurrency=1) for name in "ab"]},
    "paced": {"steps": [_step(name, rate_limit={"limit": 1, "period": "1s"}) for name in "ab"]},
    "paced by key": {"steps": [_step(name, keyed_rate_limit=KEYED) for name in "ab"]},
    "retry": {"steps": [_step("a", **LOST, retry=RETRY)]},
    "recovered": {"steps": [_step("a", **LOST, on_failure="x"), _step("b", "a"), _step("x", task="undo")]},
    "keeps to a worker": {"steps": [_step("a"), _step("b", "a")], "sticky": "soft"},
    "needs a worker": {"steps": [_step("a"), _step("b", "a")], "sticky": "hard", "timeout": "10m"},
    "undone": {
        "steps": [_step("a", compensate="x"), _step("b", "a", **LOST), _step("x", task="undo")],
        "compensate_on": ["failure"],
    },
}


class _Ended:
    """How a run came out, and what was passed on the way."""

    def __init__(self, passed: Counter[tuple[str, Boundary]], died: bool, shape: dict[str, Any]) -> None:
        self.passed = passed
        self.died = died
        self.shape = shape


def run(definition: WorkflowDef, doom: tuple[str, Boundary, int] | None = None) -> _Ended:
    """Run a workflow to its end, with a process that dies at one boundary on the way."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_run(loop, definition, doom))
    finally:
        loop.close()


async def _run(loop: VirtualLoop, definition: WorkflowDef, doom: tuple[str, Boundary, int] | None) -> _Ended:
    passed: Counter[tuple[str, Boundary]] = Counter()
    network = _Counting(passed) if doom is None else Network(Random(1), Trace(), Counter())
    world = World(loop, OneOfEach(), network, network.trace)
    temper = Temper(0, 0, 0, 0, 0)
    world.handlers = Workshop(7, temper, [definition], lambda: world.server.history.last_seq).handlers()
    client = world.client()
    await client.register_all([load_definition(LESSER), definition])
    if doom is not None:
        network.doom(*doom)
    world.start()
    await asyncio.sleep(1.0)  # the engine has looked by then for what a server that it does not know may have lost
    handle = await client.start(definition.name, {"n": 1}, run_id="r")
    await asyncio.sleep(0.5)
    await client.publish_event("it.came", {"n": 1}, id="e")
    hand = Hand(client, Random(1), [definition.name])
    asks = any(step.type == "approval" for step in definition.steps)
    for _ in range(5):  # as soon as it is asked
        if asks:
            await hand.order("approve", "r")
        await asyncio.sleep(0.2)
    view = await handle.wait(timeout="120s")
    await asyncio.sleep(10.0)
    assert not world.broken
    assert not world.server.tasks.subjects()
    assert not world.server.own_tasks.subjects()
    stored = world.server.runs.last("run.r")
    assert stored is not None
    # How far a run has come when it is cancelled from outside depends on how long its steps took.
    near = {"cancelled": "pending", "running": "pending"} if view.status in ("cancelled", "compensated") else {}
    steps = [(step.id, near.get(step.status, step.status), step.output) for step in view.steps]
    shape = {"status": view.status, "output": view.output, "error": view.error, "steps": steps}
    return _Ended(passed, bool(world.deaths), shape)


class _Everywhere(dict[str, dict[Point, int]]):
    """Somebody may die at every call: all are looked at."""

    def __contains__(self, _: object) -> bool:
        return True


class _Counting(Network):
    """Counts by process."""

    def __init__(self, passed: Counter[tuple[str, Boundary]]) -> None:
        super().__init__(Random(1), Trace(), Counter())
        self._by_process = passed
        self.dying = _Everywhere()

    def cross(self, process: str, call: Any, where: str) -> None:
        kind = process.rstrip("0123456789")
        self._by_process[kind, (name_of(call), where)] += 1
        super().cross(process, call, where)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_death_at_any_boundary_leaves_the_same_end(name: str) -> None:
    definition = load_definition({"name": name.replace(" ", "-"), **WORKFLOWS[name]})
    wanted = run(definition)
    assert wanted.shape["status"] in ("completed", "failed", "compensated", "cancelled")
    deaths = 0
    for turn, ((kind, boundary), count) in enumerate(wanted.passed.items(), start=len(name)):
        if kind == "client" or boundary[0].endswith((".read", ".pull", ".batch", ".keep")):
            continue
        if name != "fan" and boundary[0] in ALWAYS:
            continue
        for at in _times(count, turn):
            ended = run(definition, (kind, boundary, at))
            deaths += ended.died
            assert ended.shape == wanted.shape, f"after a death of the {kind} at {boundary}, the {at + 1}th time"
    assert deaths > 10


def _times(count: int, turn: int) -> list[int]:
    """Which passages of a boundary are tried: the first and the last, or only one of them, in turn."""
    ends = sorted({0, count - 1})
    return ends if EVERY else [ends[turn % len(ends)]]


def test_a_task_that_is_acknowledged_before_its_result_is_stored_is_found_missing() -> None:
    (mutation,) = [each for each in MUTATIONS if each.name == "ack before publish"]
    definition = load_definition({"name": "fan", **WORKFLOWS["fan"]})
    doom = ("worker", ("log.append", "unsent"), 0)
    assert run(definition, doom).shape["status"] == "completed"
    with mutation.applied(), pytest.raises(ResultTimeout):
        run(definition, doom)
