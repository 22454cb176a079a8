"""A process dies at each boundary of each workflow in turn; the end is the same as without."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from dagnats.model.check import load_definition
from dagnats.runtime.memory.loop import VirtualLoop
from tests.simulation.hand import Hand
from tests.simulation.network import Boundary, Network, name_of
from tests.simulation.tracing import Trace
from tests.simulation.workload import Temper, Workshop
from tests.simulation.world import OneOfEach, World

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef

RETRY = {"max_attempts": 1, "initial_delay": "100ms"}


def _step(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    task = {} if settings.get("type") in ENGINES_OWN else {"task": "do"}
    return {"id": step_id, "depends_on": list(needs), **task, **settings}


ENGINES_OWN = {"sleep", "wait_for_event", "approval", "respond", "sub_workflow"}
WAIT = {"event": "it.came", "match": {"left": "n", "op": "ge", "right": {"value": 0}}, "timeout": "2s"}
LOST = {"timeout": "300ms", "task": "hang"}

WORKFLOWS: dict[str, dict[str, Any]] = {
    "fan": {"steps": [_step("a"), _step("b"), _step("c", "a", "b")], "concurrency": {"max_steps": 1}},
    "map": {"steps": [_step("l", task="list"), _step("m", "l", task="item", type="map", config={"max_parallel": 2})]},
    "planner": {"steps": [_step("p", task="plan", type="planner", config={"max_steps": 6}), _step("z", "p")]},
    "sleep": {"steps": [_step("s", type="sleep", config={"duration": "1s"}), _step("z", "s")]},
    "wait": {"steps": [_step("w", type="wait_for_event", config=WAIT), _step("z", "w")]},
    "approval": {"steps": [_step("q", type="approval", config={"timeout": "2s", "subject": "asked"})]},
    "respond": {"steps": [_step("a"), _step("r", "a", type="respond", config={})], "timeout": "10m"},
    "retry": {"steps": [_step("a", **LOST, retry=RETRY)]},
    "recovered": {"steps": [_step("a", **LOST, on_failure="x"), _step("b", "a"), _step("x", task="undo")]},
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
    network = _Counting(passed)
    world = World(loop, OneOfEach(), network, network.trace)
    temper = Temper(0, 0, 0, 0, 0)
    world.handlers = Workshop(7, temper, [definition], lambda: world.server.history.last_seq).handlers()
    client = world.client()
    await client.register(definition)
    if doom is not None:
        network.dying[doom[0], doom[1]] = doom[2]
    world.start()
    handle = await client.start(definition.name, {"n": 1}, run_id="r")
    await asyncio.sleep(0.5)
    hand = Hand(client, Random(1))
    for _ in range(5):  # as soon as it is asked
        await hand.order("approve", "r")
        await asyncio.sleep(0.2)
    view = await handle.wait(timeout="120s")
    await asyncio.sleep(10.0)
    assert not world.broken
    assert not world.server.tasks.subjects()
    stored = world.server.runs.last("run.r")
    assert stored is not None
    steps = [(step.id, step.status, step.output) for step in view.steps]
    shape = {"status": view.status, "output": view.output, "error": view.error, "steps": steps}
    return _Ended(passed, bool(world.deaths), shape)


class _Counting(Network):
    """Counts by process."""

    def __init__(self, passed: Counter[tuple[str, Boundary]]) -> None:
        super().__init__(Random(1), Trace(), Counter())
        self._by_process = passed

    def cross(self, process: str, call: Any, where: str) -> None:
        kind = process.rstrip("0123456789")
        self._by_process[kind, (name_of(call), where)] += 1
        super().cross(process, call, where)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_death_at_any_boundary_leaves_the_same_end(name: str) -> None:
    definition = load_definition({"name": name, **WORKFLOWS[name]})
    wanted = run(definition)
    assert wanted.shape["status"] in ("completed", "failed", "compensated")
    deaths = 0
    for (kind, boundary), count in wanted.passed.items():
        if kind == "client" or boundary[0].endswith((".read", ".pull", ".batch", ".keep")):
            continue
        for at in range(min(count, 6)):
            ended = run(definition, (kind, boundary, at))
            deaths += ended.died
            assert ended.shape == wanted.shape, f"after a death of the {kind} at {boundary}, the {at + 1}th time"
    assert deaths > 20
