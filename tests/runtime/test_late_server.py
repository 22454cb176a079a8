"""A server whose clock was set back is late with its wake-ups: runs that no engine has in memory do not wait for it."""

from __future__ import annotations

import asyncio

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer

MINUTE_NS = 60 * 1_000_000_000


def engine_of(server: MemoryServer) -> Process:
    process = Process(virtual_loop(), "engine")
    memory = process.run(server.connect)
    process.spawn(Engine(memory.ports, memory.feeds).run())
    return process


def test_a_clock_that_is_set_back_by_an_hour_holds_nobody_up_for_more_than_minutes_and_wakes_nobody_early() -> None:
    async def body() -> None:
        server = MemoryServer()
        client = AsyncClient(server.connect())
        engine = engine_of(server)
        for name, length in (("short", "20m"), ("long", "40m")):
            workflow = Workflow(name)
            workflow.sleep("rest", length)
            await client.register(workflow)
            await client.start(name, run_id=name)
        await asyncio.sleep(60)
        engine.kill()
        engine = engine_of(server)  # it finds them in snapshots, and has none of them in memory
        await asyncio.sleep(4 * 60)
        server.clock.jump(-60 * MINUTE_NS)
        await client.start("short", run_id="new")

        async def over() -> set[str]:
            views = {run_id: await client.handle(run_id).view() for run_id in ("short", "long", "new")}
            return {run_id for run_id, view in views.items() if view.status == "completed"}

        await asyncio.sleep(14 * 60)
        assert await over() == set()
        await asyncio.sleep(5 * 60)  # the 24th minute
        assert await over() == {"short"}
        await asyncio.sleep(3 * 60)
        assert await over() == {"short", "new"}
        await asyncio.sleep(12 * 60)
        assert await over() == {"short", "new"}
        await asyncio.sleep(8 * 60)
        assert await over() == {"short", "new", "long"}
        engine.kill()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(body())
