"""A server that was started anew may have lost what it had taken: what is answered is not sent again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dagnats import Workflow, handler
from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.retention import Keep
from dagnats.runtime.worker import Worker
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.client import RunHandle

LONGER_THAN_IDS_ARE_KNOWN_S = 60.0

_calls: list[str] = []


@handler("doubt.plan")
async def plan() -> Any:
    _calls.append("plan")
    return {"steps": [{"id": "slow", "task": "doubt.slow"}]}


@handler("doubt.slow")
async def slow(value: Any) -> str:
    await asyncio.sleep(LONGER_THAN_IDS_ARE_KNOWN_S * 2)
    return "done"


@handler("doubt.flaky")
async def flaky() -> str:
    _calls.append("flaky")
    if len(_calls) == 1:
        raise ConnectionError("busy")
    return "done"


def planned() -> Workflow[Any, Any]:
    workflow = Workflow("planned")
    workflow.planner("plan", plan).with_max_steps(1).with_task_concurrency(1)
    return workflow


@handler("doubt.pay")
async def pay() -> str:
    _calls.append("pay")
    return "paid"


def below() -> Workflow[Any, Any]:
    workflow = Workflow("below")
    workflow.task("pay", pay)
    return workflow


def above() -> Workflow[Any, Any]:
    workflow = Workflow("above")
    child = workflow.sub_workflow("child", "below").with_detach()
    workflow.sleep("rest", "30d").after(child)
    return workflow


def retried() -> Workflow[Any, Any]:
    workflow = Workflow("retried")
    workflow.task("flaky", flaky).with_retry(max_attempts=1, initial_delay="100ms")
    return workflow


class Plant:
    """A server, an engine and a worker."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())

    async def begin(self) -> None:
        await self.client.register_all([each.build() for each in (planned(), retried(), below(), above())])
        worker, engine = Process(virtual_loop(), "worker"), Process(virtual_loop(), "engine")
        worker.spawn(Worker(AsyncClient(worker.run(self.server.connect)), [plan, slow, flaky, pay]).run())
        memory = engine.run(self.server.connect)
        engine.spawn(Engine(memory.ports, memory.feeds, keep=Keep(age=timedelta(seconds=10))).run())

    async def outlive(self) -> None:
        """Start the server anew: the engine asks what of all that it has sent is still there."""
        self.server.restart()
        await asyncio.sleep(LONGER_THAN_IDS_ARE_KNOWN_S)


def _in_memory(work: Coroutine[Any, Any, None]) -> None:
    _calls.clear()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


async def _has(run: RunHandle, step_id: str, status: str) -> None:
    async def reached() -> bool:
        steps = {step.id: step for step in (await run.view()).steps}
        return step_id in steps and steps[step_id].status == status

    await until(reached)


def test_a_planner_that_has_planned_does_not_plan_again() -> None:
    async def live() -> None:
        plant = Plant()
        await plant.begin()
        run = await plant.client.start("planned")
        await _has(run, "plan.slow", "running")
        await plant.outlive()
        assert await run.result(timeout=timedelta(hours=1)) == {"slow": "done"}
        assert _calls == ["plan"]

    _in_memory(live())


def test_nothing_is_missed_of_a_planner_that_has_planned() -> None:
    async def live() -> None:
        plant = Plant()
        await plant.begin()
        run = await plant.client.start("planned")
        await _has(run, "plan.slow", "running")
        assert (await plant.client.verify()).differences == ()

    _in_memory(live())


def test_an_attempt_that_failed_is_not_made_again_while_its_run_is_paused() -> None:
    async def live() -> None:
        plant = Plant()
        await plant.begin()
        run = await plant.client.start("retried")
        await run.pause()

        async def held() -> bool:
            return any(step.held for step in (await run.view()).steps)

        await until(held)
        await plant.outlive()
        assert _calls == ["flaky"]
        await run.resume()
        assert await run.result(timeout=timedelta(hours=1)) == "done"
        assert _calls == ["flaky", "flaky"]

    _in_memory(live())


def test_a_child_that_has_ended_and_is_not_kept_any_more_is_not_started_again() -> None:
    async def live() -> None:
        plant = Plant()
        await plant.begin()
        await plant.client.start("above")

        async def removed() -> bool:
            await asyncio.sleep(10)
            return _calls == ["pay"] and not await plant.client.runs(workflow="below")

        await until(removed, within_s=600)
        await plant.outlive()
        assert _calls == ["pay"]

    _in_memory(live())
