"""A standby's reading: as far as the position, whole whenever it is interrupted, anew when the log was cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats import Workflow, handler
from dagnats.runtime.decider import Decider
from dagnats.runtime.follower import Follower
from dagnats.runtime.ports import LogCut
from dagnats.runtime.position import Position, PositionKeeper
from dagnats.runtime.roster import Roster
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer


@handler("follower.echo")
async def echo(value: int) -> int:
    return value


wf = Workflow("follower")
wf.task("echo", echo)


class Slow:
    """Definitions that are read when `gate` is open."""

    def __init__(self, definitions: Any) -> None:
        self._definitions = definitions
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    async def version(self, name: str, identity: str) -> bytes | None:
        self.asked.set()
        await self.gate.wait()
        return await self._definitions.version(name, identity)


def reader(system: System, definitions: Any = None, feeds: Any = None) -> tuple[Follower, Roster, PositionKeeper]:
    ports = system.jetstream.ports
    if definitions is not None:
        ports = replace(ports, definitions=definitions)
    roster = Roster()
    keeper = PositionKeeper(ports.position, ports.dial, holder="standby")
    follower = Follower(ports, feeds or system.jetstream.feeds, keeper, roster, Decider(ports, roster))
    return follower, roster, keeper


async def test_a_standby_that_is_called_to_lead_while_it_loads_a_run_has_skipped_nothing(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(wf)
        for at in range(3):
            await system.client.start(wf, at, run_id=f"r{at}")
        slow = Slow(system.jetstream.ports.definitions)
        follower, roster, _ = reader(system, slow)
        await follower.open(0)
        folding = asyncio.create_task(follower.fold(2))
        await slow.asked.wait()
        folding.cancel()
        with suppress(asyncio.CancelledError):
            await folding
        slow.gate.set()
        await follower.fold(2)
        assert {seat.run.run_id for seat in roster} == {"r0", "r1"}
        assert [entry.run_id for entry in await follower.batch()] == ["r2"]
        await follower.close()


async def test_events_that_are_gone_hold_up_no_standby(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(wf)
        await system.client.start(wf, 0, run_id="r0")
        await system.client.start(wf, 1, run_id="gone")
        await system.jetstream.link.api("STREAM.PURGE.WORKFLOW_HISTORY", {"filter": "history.gone"})
        follower, roster, _ = reader(system)
        await follower.open(0)
        await follower.fold(2)
        assert {seat.run.run_id for seat in roster} == {"r0"}
        await follower.close()


async def test_a_standby_forgets_what_it_has_folded_beyond_a_position_that_went_back(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(wf)
        for at in range(3):
            await system.client.start(wf, at, run_id=f"r{at}")
        follower, roster, _ = reader(system)
        await follower.catch_up(Position(seq=3, low=1))
        await follower.catch_up(Position(seq=1, low=1))
        assert {seat.run.run_id for seat in roster} == {"r0"}
        assert [entry.run_id for entry in await follower.batch()] == ["r1", "r2"]
        await follower.close()


async def test_a_standby_whose_log_was_cut_begins_again_from_what_is_left(nats_server: EmbeddedServer) -> None:
    class CutOnce:
        def __init__(self, feeds: Any) -> None:
            self._feeds = feeds
            self.opened: list[int] = []

        async def history(self, after: int) -> Any:
            self.opened.append(after)
            feed = await self._feeds.history(after)
            if len(self.opened) == 1:
                feed.batch = self._cut
            return feed

        async def _cut(self) -> Any:
            raise LogCut("the history ends")

    async with running(nats_server, engine=False) as system:
        await system.client.register(wf)
        await system.client.start(wf, 0, run_id="r0")
        feeds = CutOnce(system.jetstream.feeds)
        follower, roster, keeper = reader(system, feeds=feeds)
        await keeper.begin(Position(seq=1, low=1))
        following = asyncio.create_task(follower.follow())

        async def there() -> bool:
            return len(roster) == 1

        await until(there)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        assert feeds.opened == [0, 0]
        await follower.close()


async def test_a_gap_in_the_log_wider_than_the_reach_holds_up_no_leader(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(wf)
        system.start_worker([wf])
        assert await system.client.run(wf, 1) == 1
        await system.stop_engine()
        for at in range(1_200):
            system.jetstream.ports.log.append("junk", b"junk", id=f"junk.{at}")
        await system.jetstream.ports.log.append("junk", b"junk", id="last")
        await system.jetstream.link.api("STREAM.PURGE.WORKFLOW_HISTORY", {"filter": "history.junk"})
        system.start_engine()
        assert await system.client.run(wf, 2) == 2
