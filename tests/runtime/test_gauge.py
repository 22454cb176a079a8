"""Queues that nobody empties fast enough: measured, and held, in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats import Workflow, handler
from dagnats.client import AsyncClient
from dagnats.model.ops import FactRecord, decode_fact
from dagnats.runtime.core.gate.fold import Gates
from dagnats.runtime.engine import Engine
from dagnats.runtime.gauge import FULL, Gauge
from dagnats.runtime.memory.link import Link
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.queue import MemoryTaskQueue
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from dagnats.runtime.memory.link import Call
    from dagnats.runtime.ports import Fill

MOST = 10


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def work() -> Workflow[Any, Any]:
    workflow = Workflow("long")
    workflow.task("work", "gauge.work")
    return workflow


@handler("gauge.work")
async def double(value: int) -> int:
    return 2 * value


class Plant:
    """An engine that lets a queue have ten tasks; a worker when one is asked for."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self.ports = self.client.connection.ports

    async def begin(self) -> Process:
        await self.client.register(work())
        return self.engine()

    def engine(self) -> Process:
        process = Process(virtual_loop(), "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds, most_queued=MOST).run())
        return process

    async def start(self, first: int, count: int) -> None:
        """Some runs in a second: the next ones come when they are measured."""
        for at in range(first, first + count):
            await self.client.start("long", at, run_id=f"r{at}")
        await asyncio.sleep(1.5)

    async def lengths(self) -> tuple[int, int]:
        """How many tasks lie in the queue, and how many wait in line."""
        view = await self.client.queue("gauge.work")
        return view.state.waiting, len(view.gate.waiting)

    async def facts(self) -> list[bytes]:
        return [entry.data for entry in await self.ports.log.read("_gates.queue.gauge.work")]


def test_a_queue_gets_no_longer_than_it_may_and_all_of_the_line_is_worked_on_later() -> None:
    async def body() -> None:
        plant = Plant()
        await plant.begin()
        for first in range(0, 30, 5):
            await plant.start(first, 5)
        assert await plant.lengths() == (MOST, 20)
        assert (await plant.client.queue("gauge.work")).gate.full == {"gauge.work"}
        process = Process(virtual_loop(), "worker")
        process.spawn(Worker(AsyncClient(process.run(plant.server.connect)), [double]).run())
        assert [await plant.client.handle(f"r{at}").result() for at in range(30)] == [2 * at for at in range(30)]
        await asyncio.sleep(5)
        assert await plant.lengths() == (0, 0)
        assert len(facts := await plant.facts()) == 1, "what was measured before is not kept"
        assert b'"room":-1' in facts[0]
        assert (await plant.client.verify()).differences == ()

    run(body())


def test_the_next_engine_holds_the_line_where_it_was() -> None:
    async def body() -> None:
        plant = Plant()
        engine = await plant.begin()
        for first in range(0, 20, 5):
            await plant.start(first, 5)
        engine.kill()
        plant.engine()
        await asyncio.sleep(20)
        await plant.start(20, 5)
        assert await plant.lengths() == (MOST, 15)
        for at in range(MOST):
            await plant.client.handle(f"r{at}").cancel()
        await asyncio.sleep(3)
        assert await plant.lengths() == (MOST, 5), "an empty queue takes no more of the line than it may have"
        assert (await plant.client.verify()).differences == ()

    run(body())


class Counting(Link):
    """Counts what is asked, and answers nothing while it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.is_mute = False

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        self.asked[call.kind] += 1
        if not self.is_mute:
            arrive()


class Crowded(MemoryTaskQueue):
    """Queues that the server lets take little more."""

    share = FULL

    async def fill(self) -> Fill:
        return (await super().fill())._replace(share=self.share)


class Tasks:
    """Queues without an engine: what the gauge says is folded here."""

    def __init__(self, queue: type[MemoryTaskQueue] = MemoryTaskQueue) -> None:
        self.server = MemoryServer()
        self.link = Counting()
        self.queue = queue(self.server, self.link)
        self.ports = replace(self.server.connect(self.link).ports, tasks=self.queue)
        self.gates = Gates()
        self.newest = self._seen = 0
        self._keeping = asyncio.create_task(
            Gauge(
                self.ports,
                self.gates,
                check=lambda: None,
                newest=lambda: self.newest,
                decided=lambda: self._seen,
                most=MOST,
            ).keep()
        )

    async def put(self, task: str, count: int) -> None:
        for at in range(count):
            receipt = await self.queue.put(task, f"{task}{self.newest}{at}", b"{}", id="")
            self.newest = receipt.seq
        await self.measured()

    async def measured(self) -> None:
        """A second later, with all that was said by then decided."""
        await asyncio.sleep(1.5)
        for entry in await self.ports.log.page(after=self._seen, count=99):
            self.gates.tell(FactRecord(entry.seq, entry.time_ns, decode_fact(entry.data)))
            self._seen = entry.seq

    async def close(self) -> None:
        self._keeping.cancel()
        await asyncio.wait([self._keeping])


@asynccontextmanager
async def tasks(queue: type[MemoryTaskQueue] = MemoryTaskQueue) -> AsyncGenerator[Tasks]:
    made = Tasks(queue)
    try:
        yield made
    finally:
        await made.close()


def test_short_queues_are_not_looked_at_and_nothing_is_asked_when_nothing_was_queued() -> None:
    async def body() -> None:
        async with tasks() as t:
            await asyncio.sleep(10)
            assert not t.link.asked
            await t.put("a", MOST // 2 - 1)
            await asyncio.sleep(10)
            assert t.link.asked["tasks.read"] == 1
            assert t.link.asked["tasks.overview"] == 0

    run(body())


def test_only_a_long_queue_is_held_and_it_is_opened_when_it_is_short_again() -> None:
    async def body() -> None:
        async with tasks() as t:
            await t.put("short", 2)
            await t.put("long", MOST - 3)
            assert t.gates.rooms == {"long": 3}
            await t.put("long", 4)
            assert t.gates.rooms == {"long": 0}
            t.server.tasks.purge("task.long.>")
            await t.measured()
            assert t.gates.rooms == {}

    run(body())


def test_every_queue_that_has_tasks_is_held_when_the_server_has_little_room_left() -> None:
    async def body() -> None:
        async with tasks(Crowded) as t:
            await t.put("a", 1)
            await t.put("b", 1)
            assert t.gates.rooms == {"a": 0, "b": 0}
            assert isinstance(t.queue, Crowded)
            t.queue.share = FULL / 2
            await t.measured()
            assert t.gates.rooms == {}

    run(body())


def test_a_queue_that_could_not_be_measured_is_measured_when_the_server_answers() -> None:
    async def body() -> None:
        async with tasks() as t:
            t.link.is_mute = True
            t.newest = 1
            await asyncio.sleep(30)
            t.link.is_mute = False
            await asyncio.sleep(120)
            await t.put("long", MOST)
            assert t.gates.rooms == {"long": 0}

    run(body())
