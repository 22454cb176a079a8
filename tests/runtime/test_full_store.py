"""A store that is nearly full: the oldest ended runs leave before their time, and no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.model.removal import RETENTION, decode_removal
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.adapter import MemoryServerPort
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import Holding
from dagnats.runtime.ports.server import Cap
from dagnats.runtime.retention import Keep, Retention

FOR_EVER = Keep(age=None, runs=None)


class Store(MemoryServerPort):
    """As full as the test says."""

    share = 0.5
    cap: Cap = "server"

    async def holding(self) -> Holding:
        return Holding(int(1_000 * self.share), 1_000, self.cap)


def test_ended_runs_leave_oldest_first_while_there_is_no_room_and_no_longer() -> None:
    async def body() -> None:
        server = MemoryServer()
        connection = server.connect()
        client = AsyncClient(connection)
        process = Process(virtual_loop(), "engine")
        memory = process.run(server.connect)
        process.spawn(Engine(memory.ports, memory.feeds, keep=None).run())
        for name, length in (("nap", "1s"), ("night", "8h")):
            workflow = Workflow(name)
            workflow.sleep("rest", length)
            await client.register(workflow)
        await client.start("night", run_id="live")
        for n in range(12):
            await client.start("nap", run_id=f"r{n}")
        await asyncio.sleep(10)
        store = Store(server, connection.link)
        ports = replace(connection.ports, server=store)
        retention = Retention(ports, FOR_EVER, check=lambda: None, now_ns=server.clock.now_ns)
        assert await retention.sweep() == 0
        store.share = 0.95
        assert await retention.sweep() == 2
        assert sorted(await ports.log.run_ids("r"), key=lambda each: int(each[1:])) == [f"r{n}" for n in range(2, 12)]
        store.share = 0.5
        assert await retention.sweep() == 0
        store.share = 0.9
        for left in (8, 7, 6, 5, 4, 3, 2, 1, 0):
            await retention.sweep()
            assert len(await ports.log.run_ids("r")) == left
        assert await retention.sweep() == 0
        assert await ports.log.run_ids("live") == ["live"]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(body())


def test_where_not_even_a_removal_can_be_announced_room_is_made_first() -> None:
    async def body() -> None:
        server = MemoryServer()
        connection = server.connect()
        client = AsyncClient(connection)
        process = Process(virtual_loop(), "engine")
        memory = process.run(server.connect)
        process.spawn(Engine(memory.ports, memory.feeds, keep=None).run())
        workflow = Workflow("nap")
        workflow.sleep("rest", "1s")
        await client.register(workflow)
        for n in range(3):
            await client.start("nap", run_id=f"r{n}")
        await asyncio.sleep(10)
        server.history.max_bytes = server.history.bytes
        assert (await client.clean(["runs"])).runs == 3
        assert await connection.ports.log.run_ids("r") == []
        said = await connection.ports.log.newest(RETENTION)
        assert said is not None
        assert [run_id for run_id, _ in decode_removal(said.data).runs] == ["r2", "r1", "r0"]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(body())


@pytest.mark.parametrize(
    ("share", "cap", "left"), [(0.98, "server", 0), (0.98, "account", 0), (0.98, "log", 3), (0.9, "server", 3)]
)
def test_telemetry_leaves_with_what_is_cleaned_only_where_nothing_else_would_make_room(
    share: float, cap: Cap, left: int
) -> None:
    async def body() -> None:
        server = MemoryServer()
        connection = server.connect()
        store = Store(server, connection.link)
        store.share, store.cap = share, cap
        connection.ports = replace(connection.ports, server=store)
        for n in range(3):
            connection.ports.telemetry.put("logs.test.INFO", b"%d" % n)
        await asyncio.sleep(1)
        cleaned = await AsyncClient(connection).clean(["runs"])
        assert (cleaned.telemetry, (await connection.ports.telemetry.held()).messages) == (3 - left, left)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(body())
