"""What a run that was removed must not do to one that is started under its id."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats import ConflictError, handler
from dagnats.handling.context import TaskContext
from dagnats.model.event import Record, StepCompleted, StepHeartbeat
from dagnats.runtime.decider import Decider
from dagnats.runtime.memory.history import entry_of
from dagnats.runtime.retention import KEEP, Retention
from dagnats.runtime.roster import Roster
from dagnats.runtime.worker import Worker
from tests.simulation.test_cut_log import until
from tests.simulation.test_read_again import ONE, begun, kinds, say, simulated

if TYPE_CHECKING:
    from dagnats.client.client import AsyncClient
    from dagnats.runtime.roster import Seat
    from tests.simulation.world import World

PAID = {"event": "paid", "match": {"left": "x", "op": "eq", "right": "input.x"}, "lookback": "1h", "timeout": "1d"}
WAITS = {"steps": [{"id": "s", "type": "wait_for_event", "config": PAID}]}


async def remove(client: AsyncClient, run_id: str = "r") -> None:
    """Have a run gone, whose end is stored."""
    ports = client.connection.ports
    retention = Retention(ports, KEEP, check=lambda: None, now_ns=ports.clock.now_ns)
    assert await retention.remove([run_id]) == [run_id]


def test_a_run_begins_under_the_id_of_one_that_late_news_had_brought_back_to_mind() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        world.start()
        await until(world.server.tasks.subjects)
        await client.handle("r").cancel()
        await asyncio.sleep(40)
        await say(client, StepCompleted(run_id="r", step_id="s", attempt_number=1))
        await asyncio.sleep(1)
        await remove(client)
        await client.start("w", run_id="r")
        await asyncio.sleep(10)
        assert world.server.tasks.subjects() == ["task.do.r"]

    simulated(work)


@pytest.mark.parametrize("takes_s", [0, 40], ids=["its start is remembered", "its result is remembered"])
def test_a_run_is_done_under_the_id_of_one_that_was_removed_just_now(takes_s: int) -> None:
    async def work(world: World) -> None:
        lives = iter([takes_s, 0])

        async def do(_: TaskContext) -> None:
            await asyncio.sleep(next(lives))

        client = await begun(world, ONE)
        world.start()
        working = asyncio.create_task(Worker(world.client("worker"), [handler("do")(do)]).run())
        for _ in range(2):
            await client.start("w", run_id="r")
            await until(lambda: kinds(world)[-1:] == ["workflow.completed"])
            await asyncio.sleep(1)
            await remove(client)
            assert not kinds(world)
        working.cancel()

    async def in_time(world: World) -> None:
        async with asyncio.timeout(200):
            await work(world)

    simulated(in_time)


def test_a_run_hears_of_an_event_that_one_of_its_id_has_heard_of_that_was_removed_just_now() -> None:
    async def work(world: World) -> None:
        client = await begun(world, WAITS)
        world.start()
        await client.publish_event("paid", {"x": 1})
        for _ in range(2):
            await client.start("w", {"x": 1}, run_id="p")
            async with asyncio.timeout(60):
                await client.handle("p").result()
            await asyncio.sleep(1)
            await remove(client, "p")

    simulated(work)


def test_a_start_is_new_to_one_of_those_who_ask_for_it_though_a_cluster_looks_at_the_id_first() -> None:
    async def work(world: World) -> None:
        world.server.history.ids_first = True
        client = await begun(world, ONE)
        runs = await asyncio.gather(*(client.start("w", 1, run_id="q") for _ in range(3)))
        assert sorted(run.is_new for run in runs) == [False, False, True]
        with pytest.raises(ConflictError, match="started differently"):
            await client.start("w", 2, run_id="q")

    simulated(work)


def test_late_news_of_a_run_that_has_ended_brings_it_back_once() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        world.start()
        await until(world.server.tasks.subjects)
        await client.handle("r").cancel()
        await asyncio.sleep(40)
        await say(client, *(StepHeartbeat(run_id="r", step_id="s", attempt_number=at) for at in (1, 2)))
        ports, roster = client.connection.ports, Roster()
        decider = Decider(ports, roster)
        seats: list[Seat | None] = []
        for message in world.server.history.of("history.r")[-2:]:
            (record,), _ = await decider.read([entry_of(message)])
            assert isinstance(record, Record)
            decider.decide(record)
            roster.close_batch()
            roster.commit(after_s=0.0)
            seats.append(roster.seat("r"))
        assert seats[0] is not None
        assert seats[0] is seats[1]

    simulated(work)
