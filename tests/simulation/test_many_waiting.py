"""What engines must not end by when much waits at the gates: no position has room for all of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.model.event import StepCompleted
from dagnats.model.json import encode
from dagnats.runtime.core.gate.book import Page, TaskTicket
from dagnats.runtime.ledger import Ledger
from dagnats.runtime.position import GateMark, Position, PositionKeeper, encode_position
from tests.simulation.network import Weather
from tests.simulation.test_cut_log import until
from tests.simulation.test_read_again import begun, say, simulated

if TYPE_CHECKING:
    from dagnats.client.client import AsyncClient
    from tests.simulation.world import World

MANY = 600
ITEMS = {"steps": [{"id": "a", "task": "do"}, {"id": "m", "type": "map", "task": "item", "depends_on": ["a"]}]}


async def waiting(world: World) -> AsyncClient:
    """A client; all items of a run wait, because their queue is paused."""
    world.server.engine.max_payload_bytes = 40_000
    client = await begun(world, ITEMS)
    world.start()
    await client.pause_queue("item")
    await say(client, StepCompleted(run_id="r", step_id="a", attempt_number=1, payload=encode([0] * MANY)))
    await asyncio.sleep(10)
    assert not world.server.tasks.fitting("task.item.>")
    return client


def test_a_log_is_folded_again_though_more_waits_at_the_gates_than_a_position_has_room_for() -> None:
    async def work(world: World) -> None:
        client = await waiting(world)
        world.machines["engine0"].kill()
        world.server.restart(lost_events=1)
        world.start()
        await asyncio.sleep(10)
        await client.resume_queue("item")
        await until(lambda: world.broken or len(world.server.tasks.fitting("task.item.>")) == MANY)
        assert not world.broken

    simulated(work)


def test_more_is_let_go_at_once_than_a_position_has_room_for() -> None:
    async def work(world: World) -> None:
        client = await waiting(world)
        world.network.weather = Weather(late=1.0, longest_s=0.4)
        await client.resume_queue("item")
        await until(lambda: world.broken or len(world.server.tasks.fitting("task.item.>")) == MANY)
        assert not world.broken

    simulated(work)


def test_changes_with_long_names_are_written_beside_the_position_before_they_are_too_many_for_it() -> None:
    async def work(world: World) -> None:
        ports = world.client().connection.ports
        keeper = PositionKeeper(ports.position, ports.dial, holder="us")
        await keeper.begin(Position())
        ledger = Ledger(ports, keeper)
        await ledger.open(GateMark(page=Page(buckets={str(at): at for at in range(20_000)})))
        await ledger.keep()
        await keeper.begin(Position(gates=ledger.mark()))
        long = "n" * 128
        ticket = TaskTicket(long, long, 1, long, 1, 0, 0, key=long, queue=f"{long}.{long}")
        for at in range(0, 2_000, 100):
            ledger.commit(Page(tasks={f"{long}/{long}/{at + n}": ticket for n in range(100)}))
            await ledger.keep()
            position = Position(gates=ledger.mark())
            assert len(encode_position(position)) < 1024 * 1024, "NATS takes no more, unless it is told to"
            if position.gates.part != keeper.now.gates.part:
                await keeper.begin(position)

    simulated(work)
