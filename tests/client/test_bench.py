"""Measuring leaves figures, and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.client.bench import PREFIX, Load, arena, latency, measure
from dagnats.errors import DagnatsError
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.server import MemoryServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def deciding() -> AsyncGenerator[tuple[MemoryServer, AsyncClient]]:
    """A server with an engine."""
    server = MemoryServer()
    async with server.connect() as memory:
        engine = asyncio.create_task(Engine(memory.ports, memory.feeds).run(alone=True))
        yield server, AsyncClient(memory)
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)


async def left(client: AsyncClient) -> tuple[list[str], list[str], list[str]]:
    """What is there of us: workflows, runs, queues."""
    ports = client.connection.ports
    runs = [run.workflow for run in await client.runs()]
    queues = [queue.name for queue in await ports.tasks.overview()]
    return _ours(await ports.definitions.names()), _ours(runs), _ours(queues)


def _ours(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(PREFIX)]


async def test_an_installation_is_measured_and_nothing_stays_of_it() -> None:
    async with deciding() as (_, client):
        kept = Workflow("kept")
        kept.task("wait", "nobody.works")
        await client.register(kept)
        theirs = await client.start("kept")
        told: list[tuple[int, int]] = []
        async with arena(client) as definition:
            load = Load(12, in_flight=4, warm_up=2)
            found = await measure(
                client, definition, load, now=time.perf_counter, told=lambda done, of: told.append((done, of))
            )
        assert (found.alone.runs, found.loaded.runs, told[-1]) == (12, 12, (26, 26))
        assert 0 < found.loaded.p50_ms <= found.loaded.p95_ms <= found.loaded.p99_ms
        assert found.steps_per_s == found.runs_per_s * 3 > 0
        assert await left(client) == ([], [], [])
        assert [run.run_id for run in await client.runs()] == [theirs.run_id]


async def break_off(client: AsyncClient) -> None:
    async with arena(client) as definition:
        await client.start(definition.name, "x")
        raise KeyError


async def test_who_breaks_off_leaves_nothing_either() -> None:
    async with deciding() as (_, client):
        with pytest.raises(KeyError):
            await break_off(client)
        assert await left(client) == ([], [], [])


async def test_what_a_killed_one_has_left_is_removed_by_the_next_one_once_it_is_old() -> None:
    async with deciding() as (server, client):
        old = Workflow(f"{PREFIX}old")
        old.task("s0", old.name)
        await client.register(old)
        await client.start(old.name)
        async with arena(client):
            assert old.name in (await left(client))[0]
        server.clock.jump(3_700 * 1_000_000_000)
        async with arena(client):
            assert old.name not in (await left(client))[0]
        assert await left(client) == ([], [], [])


async def test_without_anybody_who_decides_there_is_nothing_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagnats.client.bench._PATIENCE", "50ms")
    monkeypatch.setattr("dagnats.client.clean._PATIENCE_S", 0.05)
    async with MemoryServer().connect() as memory:
        client = AsyncClient(memory)
        with pytest.raises(DagnatsError, match="no run has ended within 50ms"):
            async with arena(client) as definition:
                await measure(client, definition, Load(1), now=time.perf_counter, told=lambda done, of: None)


def test_figures_are_those_that_so_many_of_a_hundred_do_not_exceed() -> None:
    assert latency([each / 1_000 for each in range(100, 0, -1)]) == (100, 50.0, 95.0, 99.0)
    assert latency([0.002]) == (1, 2.0, 2.0, 2.0)
