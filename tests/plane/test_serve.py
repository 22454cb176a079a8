"""The control plane of a real server, over NATS, as `serve` puts it together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats import TaskContext, Workflow, connect, handler
from dagnats.config.policy import ControlPlane
from dagnats.errors import ControlPlaneError
from dagnats.runtime.serve import Serving, serve
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

MADE = Workflow("made")


@MADE.step
async def add(number: int) -> int:
    return number + 1


AGENT = Workflow("agent")


@handler("plane.plan")
async def plan(ctx: TaskContext) -> list[str]:
    plane = ctx.control_plane
    assert plane is not None
    name = await plane.register(MADE)
    with pytest.raises(ControlPlaneError, match="another tree") as no:
        await plane.start("agent.x.made")
    run_id = await plane.start(name, 41)
    assert (await plane.budget()).registered_defs == 1
    return [name, run_id, no.value.kind]


AGENT.task("plan", plan).with_capabilities("control-plane")


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncGenerator[Serving]:
    """A server that grants it to `agent`."""
    up: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def ready(serving: Serving) -> None:
        up.set_result(serving)

    policy = ControlPlane(grant=("agent",))
    serving = asyncio.create_task(serve(folder=tmp_path, port=0, control_plane=policy, ready=ready, stop=stop))
    await asyncio.wait([up, serving], return_when=asyncio.FIRST_COMPLETED)
    yield up.result()
    stop.set()
    await serving


async def test_a_worker_registers_and_starts_by_asking_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, connect(server.url, token=server.token) as client:
        await client.register(AGENT)
        worker = Worker(client, [AGENT, MADE])
        working = asyncio.create_task(worker.run())
        run = await client.start("agent")
        name, run_id, kind = await run.result(timeout="20s")
        assert (name, kind) == (f"agent.{run.run_id}.made", "namespace")
        assert await client.handle(run_id).result(timeout="20s") == 42
        assert [(each.action, each.granted) for each in await client.audit()] == [
            ("register", True),
            ("start", False),
            ("start", True),
            ("budget", True),
        ]
        assert (await client.workflow(name)).name == name
        worker.stop()
        await working
