"""What lies outside the histories, compared with them, and put right: in memory, where anything can be broken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.model.task import Task, encode_task
from dagnats.model.waiter import Waiter, encode_waiter
from dagnats.runtime.core.gate.book import TaskTicket
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.position import decode_position, encode_position

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.client import Difference
    from dagnats.runtime.core.gate.book import Page

_DAY_NS = 86_400 * 1_000_000_000


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def wide() -> Workflow[Any, Any]:
    """Something of everything that lies outside a history, for as long as nobody works, and no event comes."""
    workflow = Workflow("wide")
    workflow.with_concurrency(max_runs=2)
    workflow.task("work", "verify.work").with_task_concurrency(1)
    workflow.wait_for_event("paid", "order.paid", match=workflow.event["id"] == workflow.input["id"], timeout="30d")
    return workflow


class Plant:
    """Three runs, each held up by something, and an engine that can be stopped while the server is tampered with."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.connection = self.server.connect()
        self.client = AsyncClient(self.connection)
        self.ports = self.connection.ports

    def engine(self) -> Process:
        process = Process(virtual_loop(), "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run())
        return process

    async def begin(self) -> Process:
        await self.client.register(wide())
        engine = self.engine()
        for run_id in ("out", "waits", "pends"):
            await self.client.start("wide", {"id": run_id}, run_id=run_id)
            await asyncio.sleep(1)
        return engine

    async def differences(self) -> tuple[Difference, ...]:
        return (await self.client.verify()).differences

    async def tamper(self, change: Callable[[Page], object]) -> None:
        """Change what the gates remember, as a mistake of an engine would have."""
        stored = await self.ports.position.read()
        assert stored is not None, "an engine was here"
        position = decode_position(stored.data)
        assert position is not None, "it is one"
        change(position.gates.page)
        await self.ports.position.write(encode_position(position), revision=stored.revision)


async def lose_task(plant: Plant) -> None:
    plant.server.tasks.purge("task.>")


async def lose_wakeup(plant: Plant) -> None:
    plant.server.timers.purge("sleep.out.*")


async def lose_waiter(plant: Plant) -> None:
    plant.server.waiters.purge("waits.>")


async def lose_slot(plant: Plant) -> None:
    await plant.tamper(lambda page: page.tasks.pop("out/work/1"))


async def lose_place(plant: Plant) -> None:
    await plant.tamper(lambda page: page.runs.pop("pends"))


async def forget_limit(plant: Plant) -> None:
    await plant.client.limit_queue("verify.work", concurrency=1, by="ada")
    await asyncio.sleep(1)
    await plant.tamper(lambda page: page.task_limits.clear())


async def leave_task(plant: Plant) -> None:
    task = encode_task(Task(run_id="out", step_id="work", attempt=7))
    await plant.ports.tasks.put("verify.work", "out", task, id="left")


async def leave_task_of_nobody(plant: Plant) -> None:
    await plant.ports.tasks.put("x", "gone", encode_task(Task(run_id="gone", step_id="s", attempt=1)), id="left")


async def leave_wakeup(plant: Plant) -> None:
    due_ns = plant.server.clock.now_ns() + _DAY_NS
    await plant.ports.timers.set("out", due_ns=due_ns, seq=99, replaces=0, id="left")


async def leave_waiter(plant: Plant) -> None:
    waiter = Waiter(id="gone.3.1", run_id="gone", step_id="s", attempt=2, event="order.paid")
    await plant.ports.waiters.put("gone", "s", 2, encode_waiter(waiter))


async def leave_slot(plant: Plant) -> None:
    ticket = TaskTicket("gone", "s", 1, "verify.work", 3, 0, 0, "out", slot=True)
    await plant.tamper(lambda page: page.tasks.update({"gone/s/1": ticket}))


async def change_waiter(plant: Plant) -> None:
    message = plant.server.waiters.of("out.paid.1")[0]
    waiter = msgspec.json.decode(message.data, type=Waiter)
    changed = msgspec.structs.replace(waiter, event="order.sent")
    await plant.ports.waiters.put("out", "paid", 1, encode_waiter(changed))


BROKEN: dict[Callable[[Plant], Coroutine[Any, Any, None]], tuple[str, str, str]] = {
    lose_task: ("out", "task", "step 'work' is queued, and attempt 1 is in no queue"),
    lose_wakeup: ("out", "wake-up", "there is no wake-up for what event"),
    lose_waiter: ("waits", "waiter", "nothing is stored of what 'paid', attempt 1 waits for: an event 'order.paid'"),
    lose_slot: ("out", "gate", "attempt 1 of step 'work' has no place at the gate of 'verify.work'"),
    lose_place: ("pends", "gate", "it has no place at the gate of workflow 'wide'"),
    forget_limit: ("task.verify.work", "limit", "the gates go by no limit"),
    leave_task: ("out", "task", "attempt 7 of step 'work' is in its queue or with a worker"),
    leave_task_of_nobody: ("gone", "task", "attempt 1 of step 's' is in its queue or with a worker"),
    leave_wakeup: ("out", "wake-up", "there is a wake-up that event 99 asked for"),
    leave_waiter: ("gone", "waiter", "a waiter of 's', attempt 2, for an event 'order.paid' is stored"),
    leave_slot: ("gone", "gate", "it has a place at a gate"),
    change_waiter: ("out", "waiter", "what is stored of what 'paid', attempt 1 waits for differs in event"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.__name__)
def test_what_differs_from_the_log_is_found_and_put_right(
    broken: Callable[[Plant], Coroutine[Any, Any, None]],
) -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        assert await plant.differences() == ()
        if broken is forget_limit:
            await broken(plant)
            engine.kill()
        else:
            engine.kill()
            await broken(plant)
        found = await plant.differences()
        assert [(each.run_id, each.kind) for each in found] == [BROKEN[broken][:2]]
        assert BROKEN[broken][2] in found[0].detail
        assert found[0].mendable
        plant.engine()
        assert await plant.client.repair(found) == []
        await asyncio.sleep(5)
        assert await plant.differences() == ()

    run(story())


def test_a_line_that_was_put_right_still_lets_one_after_the_other_go() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.begin()
        plant.server.waiters.purge("waits.>")
        assert await plant.client.repair(await plant.differences()) == []
        gate = (await plant.client.queue("verify.work")).gate
        assert [place.run_id for place in gate.out] == ["out"]
        assert [place.run_id for place in gate.waiting] == ["waits"]

    run(story())


def test_what_an_engine_has_to_make_is_left_when_none_runs() -> None:
    async def story() -> None:
        plant = Plant()
        (await plant.begin()).kill()
        await lose_task(plant)
        found = await plant.differences()
        assert await plant.client.repair(found) == list(found)

    run(story())


def test_runs_that_the_engine_has_more_to_do_for_are_not_called_different() -> None:
    async def story() -> None:
        plant = Plant()
        (await plant.begin()).kill()
        await plant.client.start("wide", {"id": "new"}, run_id="new")
        found = await plant.client.verify()
        assert (found.runs, found.moving, found.differences) == (4, 1, ())

    run(story())


def test_a_paused_gate_is_no_difference() -> None:
    async def story() -> None:
        plant = Plant()
        await plant.begin()
        await plant.client.pause_queue("verify.work")
        await plant.client.pause_workflow("wide")
        await asyncio.sleep(1)
        assert await plant.differences() == ()

    run(story())


def test_the_task_of_an_attempt_that_was_given_up_is_no_difference_until_its_run_is_long_over() -> None:
    async def story() -> None:
        plant = Plant()
        engine = await plant.begin()
        await plant.client.handle("out").skip("work")
        await asyncio.sleep(1)
        assert await plant.differences() == ()
        engine.kill()
        await asyncio.sleep(600)
        assert await plant.differences() == ()
        engine = plant.engine()
        await asyncio.sleep(10)
        await plant.client.handle("out").cancel()
        await asyncio.sleep(1)
        engine.kill()
        assert await plant.differences() == ()
        await asyncio.sleep(60)
        assert [(each.run_id, each.kind) for each in await plant.differences()] == [("out", "task")]

    run(story())
