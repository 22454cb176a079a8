"""Workers that die again and again over one task. In memory, where a process can be killed at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from dagnats import Fixed, TaskContext, Worker, Workflow
from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.workbench import MOST_DELIVERIES


async def _story() -> None:
    loop, server = virtual_loop(), MemoryServer()
    begun: asyncio.Queue[str] = asyncio.Queue()
    wf = Workflow("deadly")

    @wf.step(timeout="1h", retry=Fixed(max_attempts=1, initial_delay="1s"))
    async def work(ctx: TaskContext) -> str:
        begun.put_nowait(ctx.worker_id)
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return f"attempt {ctx.attempt}"

    def started(name: str) -> Process:
        process = Process(loop, name)
        client = AsyncClient(process.run(server.connect))
        process.spawn(Worker(client, [wf], worker_id=name, ack_wait=timedelta(seconds=2)).run())
        return process

    client = AsyncClient(server.connect())
    await client.register(wf)
    engine = Process(loop, "engine")
    memory = engine.run(server.connect)
    engine.spawn(Engine(memory.ports, memory.feeds).run())
    run = await client.start(wf)
    for at in range(MOST_DELIVERIES - 1):
        worker = started(f"w{at}")
        assert await begun.get() == f"w{at}"
        await asyncio.sleep(1)  # long enough to have said that it began
        worker.kill()
    started("last")
    view = await run.wait()
    assert (view.status, view.output, view.steps[0].attempts) == ("completed", "attempt 2", 2)
    (failed,) = [event for event in await run.history() if event.type == "step.failed"]
    assert "given up: 3 workers were lost while they ran this attempt" in str(failed.payload)
    assert begun.qsize() == 1, "the last one did not run the first attempt again"


def test_an_attempt_that_loses_worker_after_worker_is_given_up() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_story())
