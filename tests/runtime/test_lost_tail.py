"""A power cut takes the end of the log, and nobody had read it: the position is intact, and something is missing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Workflow, handler
from dagnats.client import AsyncClient
from dagnats.model.event import StepCompleted, decode_event, encode_event, event_type
from dagnats.runtime.core.child import child_id
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.position import decode_position
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.client import RunHandle
    from dagnats.runtime.memory.stream import Message
    from dagnats.runtime.ports import Log


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@handler("tail.slow")
async def slow(value: Any) -> Any:
    await asyncio.sleep(3)
    return value


def inner() -> Workflow[Any, Any]:
    workflow = Workflow("inner")
    workflow.task("only", slow)
    return workflow


def outer() -> Workflow[Any, Any]:
    """Something of everything that another part of the system answers."""
    workflow = Workflow("outer", timeout="2d")
    workflow.with_concurrency(max_runs=1)
    first = workflow.task("first", slow).with_task_concurrency(1)
    rest = workflow.sleep("rest", "5s").after(first)
    same = workflow.event["id"] == 1
    paid = workflow.wait_for_event("paid", "paid", match=same, timeout="1d", lookback="1h").after(rest)
    child = workflow.sub_workflow("child", "inner").after(paid)
    workflow.task("last", slow).after(child)
    return workflow


class Plant:
    """An engine and a worker on a server whose positions are noted as they are written."""

    def __init__(self) -> None:
        self.loop = virtual_loop()
        self.server = MemoryServer()
        self.connection = self.server.connect()
        self.client = AsyncClient(self.connection)
        self.positions: list[bytes] = []
        self.server.engine.listen(self._note)

    def _note(self, message: Message) -> None:
        if message.subject == "engine.position":
            self.positions.append(message.data)

    def engine(self) -> Process:
        process = Process(self.loop, "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run())
        return process

    def worker(self) -> Process:
        process = Process(self.loop, "worker")
        process.spawn(Worker(AsyncClient(process.run(self.server.connect)), [slow]).run())
        return process

    async def begin(self) -> Process:
        await self.client.register_all([inner().build(), outer().build()])
        self.worker()
        return self.engine()

    def cut_behind(self, position: bytes) -> list[str]:
        """Lose what came after a position, and have that as the newest one; gives what kinds of events are gone."""
        known = decode_position(position)
        assert known is not None, "an engine wrote it"
        last = self.server.history.last_seq
        gone = [event_type(decode_event(each.data)) for each in self.server.history.behind(known.seq, last)]
        self.server.engine.put("engine.position", position)
        self.server.restart(lost_events=last - known.seq)
        return gone


async def is_done(started: RunHandle) -> None:
    view = await started.wait(timeout="1h")
    assert (view.status, view.output) == ("completed", {"id": 1}), view


def test_a_result_that_was_lost_and_whose_task_is_acknowledged_is_made_again() -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        started = await plant.client.start("inner", {"id": 1})
        await asyncio.sleep(1)
        engine.kill()
        await asyncio.sleep(4)
        assert plant.cut_behind(plant.positions[-1]) == ["step.completed"]
        plant.engine()
        await is_done(started)

    run(story())


def test_an_engine_that_lives_through_it_looks_for_what_is_gone() -> None:
    async def story() -> None:
        plant = Plant()
        plant.engine()
        await plant.client.register(inner())
        started = await plant.client.start("inner", {"id": 1})
        await asyncio.sleep(1)
        plant.server.tasks.purge("task.>")
        plant.server.restart()
        plant.worker()
        await is_done(started)

    run(story())


class Far:
    """A log whose answers take a second, and say what was there a second ago."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.asked = asyncio.Event()

    def __getattr__(self, call: str) -> Any:
        return getattr(self._log, call)

    async def read(self, *args: Any, **settings: Any) -> Any:
        self.asked.set()
        found = await self._log.read(*args, **settings)
        await asyncio.sleep(1)
        return found


@pytest.mark.parametrize("after_s", [0.5, 1.5, 2.5, 3.5])
def test_a_run_that_has_its_event_while_it_is_looked_at_leaves_no_waiter(after_s: float) -> None:
    async def story() -> None:
        plant = Plant()
        process = Process(plant.loop, "engine")
        memory = process.run(plant.server.connect)
        far = Far(memory.ports.log)
        log: Any = far
        process.spawn(Engine(replace(memory.ports, log=log), memory.feeds).run())
        waiting = Workflow("waiting")
        waiting.wait_for_event("paid", "paid", match=waiting.event["id"] == 1, timeout="1d")
        await plant.client.register(waiting)
        started = await plant.client.start("waiting")
        await asyncio.sleep(10)
        waiters = plant.connection.ports.waiters
        assert len(await waiters.all()) == 1
        plant.server.restart()
        far.asked.clear()
        await far.asked.wait()
        await asyncio.sleep(after_s)
        await plant.client.publish_event("paid", {"id": 1})
        await is_done(started)
        await asyncio.sleep(10)
        assert await waiters.all() == []

    run(story())


@pytest.mark.parametrize("back", range(1, 8))
def test_wherever_the_log_ends_after_a_power_cut_the_run_does(back: int) -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        started = await plant.client.start("outer", {"id": 1}, run_id="cut")
        await plant.client.publish_event("paid", {"id": 1})
        await is_done(started)
        await asyncio.sleep(1)
        engine.kill()
        ends = sorted({position.seq: data for data in plant.positions if (position := decode_position(data))}.items())
        assert plant.cut_behind(ends[-1 - back][1])
        plant.engine()
        await is_done(started)

    run(story())


def test_a_child_whose_start_was_lost_is_started_though_its_worker_has_answered() -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        started = await plant.client.start("outer", {"id": 1}, run_id="cut")
        await plant.client.publish_event("paid", {"id": 1})
        await is_done(started)
        engine.kill()
        child = child_id("cut", "child", 1)
        (begins, *_) = await plant.connection.ports.log.read(child)
        before = [data for data in plant.positions if (known := decode_position(data)) and known.seq < begins.seq]
        assert "workflow.started" in plant.cut_behind(before[-1])
        late = StepCompleted(run_id=child, step_id="only", attempt_number=1, payload=msgspec.Raw(b'{"id":1}'))
        await plant.connection.ports.log.append(child, encode_event(late), id="late")
        plant.engine()
        await is_done(started)

    run(story())
