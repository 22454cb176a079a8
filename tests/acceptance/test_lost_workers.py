"""Workers that die again and again over one task. In memory, where a process can be killed at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from dagnats import Fixed, TaskContext, Worker, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.report import MOST_DELIVERIES


class Plant:
    """A server with an engine, and workers that can be killed."""

    def __init__(self, wf: Workflow[Any, Any]) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self._wf = wf

    async def open(self) -> None:
        await self.client.register(self._wf)
        engine = Process(virtual_loop(), "engine")
        memory = engine.run(self.server.connect)
        engine.spawn(Engine(memory.ports, memory.feeds).run())

    def worker(self, name: str) -> Process:
        process = Process(virtual_loop(), name)
        client = AsyncClient(process.run(self.server.connect))
        process.spawn(Worker(client, [self._wf], worker_id=name, ack_wait=timedelta(seconds=2)).run())
        return process


async def _deadly() -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    wf = Workflow("deadly")

    @wf.step(timeout="1h", retry=Fixed(max_attempts=1, initial_delay="1s"))
    async def work(ctx: TaskContext) -> str:
        begun.put_nowait(ctx.worker_id)
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return f"attempt {ctx.attempt}"

    plant = Plant(wf)
    await plant.open()
    run = await plant.client.start(wf)
    for at in range(MOST_DELIVERIES - 1):
        worker = plant.worker(f"w{at}")
        assert await begun.get() == f"w{at}"
        await asyncio.sleep(1)  # long enough to have said that it began
        worker.kill()
    plant.worker("last")
    view = await run.wait()
    assert (view.status, view.output, view.steps[0].attempts) == ("completed", "attempt 2", 2)
    (failed,) = [event for event in await run.history() if event.type == "step.failed"]
    assert "given up: 3 workers were lost while they ran this attempt" in str(failed.payload)
    assert begun.qsize() == 1, "the last one did not run the first attempt again"


def test_an_attempt_that_loses_worker_after_worker_is_given_up() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_deadly())


async def _sticky() -> None:
    wf = Workflow("sticky").with_sticky("soft")
    seen: list[tuple[str, str]] = []

    async def work(ctx: TaskContext) -> None:
        seen.append((ctx.step_id, ctx.worker_id))
        await asyncio.sleep(30)  # longer than anybody waits for a worker that is preferred

    first, second = (wf.task(name, handler(f"sticky.{name}")(work)) for name in ("first", "second"))
    second.after(wf.sleep("nap", "1m").after(first))
    plant = Plant(wf)
    await plant.open()
    worker = plant.worker("one")
    run = await plant.client.start(wf)
    await asyncio.sleep(60)
    worker.kill()
    plant.worker("two")
    assert (await run.wait()).status == "completed"
    assert seen == [("first", "one"), ("second", "two")]


def test_a_run_that_prefers_a_worker_outlives_it_and_runs_no_step_twice() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_sticky())
