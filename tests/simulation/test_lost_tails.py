"""What becomes of engines, workers and runs when a server has lost the ends of other streams than the log, each found
by the simulation, made small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.runtime.lease import Leadership
from tests.simulation.test_read_again import simulated

if TYPE_CHECKING:
    from tests.simulation.world import World


def test_a_standby_waits_for_a_lease_that_was_written_just_now_at_the_place_of_one_that_is_lost() -> None:
    async def work(world: World) -> None:
        lease = world.client().connection.ports.lease
        leader, standby = (Leadership(lease, name) for name in ("leader", "standby"))
        await leader.acquire()
        waiting = asyncio.create_task(standby.acquire())
        await asyncio.sleep(4.1)
        world.server.engine.cut(0)
        await leader.acquire()
        await asyncio.sleep(4)
        assert not waiting.done()
        await asyncio.sleep(2)
        assert waiting.done()

    simulated(work)
