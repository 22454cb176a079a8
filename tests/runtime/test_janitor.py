"""Tasks that nobody waits for leave their queues, whoever was to drop them; all others stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Fixed, Workflow
from dagnats.client import AsyncClient
from dagnats.model.event import TimerFired, encode_event
from dagnats.model.task import Task, decode_task, encode_task
from dagnats.runtime.engine import Engine
from dagnats.runtime.janitor import EVERY_S, Janitor
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import OwnTask
from dagnats.runtime.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Coroutine

SOON_S = 2 * EVERY_S + 1
DAY_NS = 24 * 3600 * 1_000_000_000


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def patient() -> Workflow[Any, Any]:
    """A step that nobody serves is given up after a while, tried once more, and given up for good; another waits."""
    workflow = Workflow("patient")
    tried = workflow.task("tried", "janitor.tried").with_queue_timeout("1m")
    tried.with_retry(Fixed(max_attempts=1, initial_delay="1m")).with_on_failure("handler")
    workflow.task("handler", "janitor.handler")
    workflow.task("waits", "janitor.waits")
    return workflow


class Plant:
    """An engine, and nobody who works."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self.ports = self.client.connection.ports

    async def begin(self) -> Process:
        await self.client.register(patient())
        return self.engine()

    def engine(self) -> Process:
        process = Process(virtual_loop(), "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run())
        return process

    async def tasks(self) -> list[tuple[str, str, int]]:
        """What lies in the queues of all: whose, of which step, which attempt."""
        tasks = [decode_task(each.data) for each in await self.ports.tasks.page(after=0, count=2_000)]
        return sorted((each.run_id, each.step_id, each.attempt) for each in tasks)

    async def own_tasks(self) -> list[int]:
        """The attempts in the queues of single workers."""
        return [decode_task(each.data).attempt for each in await self.ports.tasks.page(after=0, count=9, own=True)]

    async def queue(self, step_id: str, attempt: int, *, run_id: str = "r") -> None:
        data = encode_task(Task(run_id=run_id, step_id=step_id, attempt=attempt))
        await self.ports.tasks.put(f"janitor.{step_id}", run_id, data, id=f"{run_id}.{step_id}.{attempt}.again")


def test_an_attempt_that_nobody_began_in_time_leaves_its_queue_while_the_run_goes_on() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.begin()
        await plant.client.start("patient", run_id="r")
        await asyncio.sleep(30)
        assert await plant.tasks() == [("r", "tried", 1), ("r", "waits", 1)]
        await asyncio.sleep(30 + SOON_S)
        assert await plant.tasks() == [("r", "tried", 2), ("r", "waits", 1)]
        await asyncio.sleep(60 + SOON_S)
        assert await plant.tasks() == [("r", "handler", 1), ("r", "waits", 1)]
        assert (await plant.client.queue("janitor.tried")).state.waiting == 0

    run(story())


def test_what_an_engine_left_in_the_queues_of_a_run_that_ended_is_taken_out_by_the_next() -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        run = await plant.client.start("patient", run_id="r")
        await run.cancel()
        await asyncio.sleep(5)
        engine.kill()
        await plant.queue("waits", 1)
        await plant.queue("item.map.3", 1)  # of a map that was done before
        plant.engine()
        await asyncio.sleep(10 + SOON_S)
        assert await plant.tasks() == []

    run(story())


def test_what_is_waited_for_stays_though_the_engine_has_the_run_no_more_in_memory() -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        await plant.client.start("patient", run_id="r")
        await asyncio.sleep(5)
        engine.kill()
        later = plant.engine()
        await asyncio.sleep(40)
        assert await plant.tasks() == [("r", "tried", 1), ("r", "waits", 1)]
        later.kill()
        plant.engine()
        await asyncio.sleep(600)
        assert await plant.tasks() == [("r", "handler", 1), ("r", "waits", 1)]

    run(story())


def test_what_nobody_can_judge_stays() -> None:
    async def story() -> None:
        plant = Plant()
        odd = encode_task(Task(run_id="*", step_id="s", attempt=7))  # the name of no run, and a subject of many
        await plant.ports.tasks.put_own(OwnTask("gone", "janitor.waits", "r", "s", 7), odd, id="old")
        plant.server.clock.jump(2 * DAY_NS)
        await plant.begin()
        await (await plant.client.start("patient", run_id="r")).skip("tried")
        await asyncio.sleep(SOON_S)
        for step_id, attempt in (("waits", 7), ("waits", 0), ("other", 1)):  # of the future, of any time, of nothing
            await plant.queue(step_id, attempt)
        await plant.queue("waits", 1, run_id="nobody")
        await plant.ports.tasks.put("janitor.waits", "r", b"no task", id="odd")
        other = encode_task(Task(run_id="r", step_id="tried", attempt=1))
        await plant.ports.tasks.put("janitor.tried", "s", other, id="misplaced")
        before = await plant.ports.tasks.page(after=0, count=99)
        assert len(before) == 7
        await asyncio.sleep(SOON_S)
        assert await plant.ports.tasks.page(after=0, count=99) == before
        assert await plant.own_tasks() == [7]

    run(story())


def test_a_task_for_one_worker_alone_that_somebody_answered_leaves_that_workers_queue() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.begin()
        await plant.client.start("patient", run_id="r")
        await asyncio.sleep(60 + SOON_S)  # its second attempt counts
        for attempt in (1, 2):
            task = OwnTask("gone", "janitor.tried", "r", "tried", attempt)
            data = encode_task(Task(run_id="r", step_id="tried", attempt=attempt))
            await plant.ports.tasks.put_own(task, data, id=f"own.{attempt}")
        assert await plant.own_tasks() == [1, 2]
        await asyncio.sleep(EVERY_S + 1)
        assert await plant.own_tasks() == [2]

    run(story())


@pytest.mark.parametrize("late_news", [False, True])
def test_tasks_of_a_run_whose_start_was_lost_leave_with_what_the_log_has_of_it(late_news: bool) -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        await plant.queue("waits", 1)
        own = OwnTask("gone", "janitor.tried", "r", "tried", 1)
        await plant.ports.tasks.put_own(own, encode_task(Task(run_id="r", step_id="tried", attempt=1)), id="own")
        if late_news:
            await plant.ports.log.append("r", encode_event(TimerFired(run_id="r", due_ns=1)), id="late")
        await asyncio.sleep(SOON_S)
        assert (await plant.tasks(), await plant.own_tasks()) == ([("r", "waits", 1)], [1])  # it may begin again
        engine.kill()
        plant.server.clock.jump(DAY_NS)
        plant.engine()
        await asyncio.sleep(SOON_S)
        assert bool(await plant.tasks()) is bool(await plant.own_tasks()) is late_news
        await plant.ports.log.remove("r", upto=plant.server.history.last_seq)
        await asyncio.sleep(SOON_S)
        assert (await plant.tasks(), await plant.own_tasks()) == ([], [])

    run(story())


def test_a_long_queue_is_walked_a_stretch_at_a_time() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.begin()
        await plant.client.start("patient", run_id="r")
        await asyncio.sleep(1)
        for n in range(1_200):
            await plant.queue("waits", 2 + n)
        await plant.client.start("patient", run_id="s")
        await asyncio.sleep(1)
        await plant.client.handle("s").skip("tried")
        await asyncio.sleep(EVERY_S)
        assert ("s", "tried", 1) in await plant.tasks()
        await asyncio.sleep(EVERY_S)
        assert ("s", "tried", 1) not in await plant.tasks()

    run(story())


def test_who_leads_no_more_takes_nothing_out() -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        await (await plant.client.start("patient", run_id="r")).cancel()
        await asyncio.sleep(5)
        engine.kill()
        await plant.queue("waits", 1)

        def check() -> None:
            raise LeaseLost("another engine leads")

        with pytest.raises(LeaseLost):
            async with asyncio.timeout(SOON_S):
                await Janitor(plant.ports, Roster(), check=check, now_ns=lambda: 0).keep()
        assert await plant.tasks() == [("r", "waits", 1)]

    run(story())
