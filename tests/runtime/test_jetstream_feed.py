"""The log as an engine reads it: in order, without holes, whatever becomes of consumer, connection and server."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.ports import LogCut
from tests.support.nats import port_of, prepared, restarted, through_proxy
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from dagnats.runtime.ports import Entry, Log, LogFeed


@asynccontextmanager
async def reading(jetstream: JetStream, after: int = 0) -> AsyncGenerator[LogFeed]:
    feed = await jetstream.feeds.history(after)
    try:
        yield feed
    finally:
        await feed.close()


async def append(log: Log, *numbers: int) -> None:
    """Events, one run each, their number as their bytes."""
    await asyncio.gather(*(log.append(f"r{n}", b"%d" % n, id=f"e{n}") for n in numbers))


async def read(feed: LogFeed, count: int, *, within_s: float = 20.0) -> list[Entry]:
    entries: list[Entry] = []
    async with asyncio.timeout(within_s):
        while len(entries) < count:
            entries += await feed.batch()
    return entries


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.data) for entry in entries]


async def consumers(jetstream: JetStream) -> list[str]:
    """The private consumers on the history."""
    names: list[str] = (await jetstream.link.api("CONSUMER.NAMES.WORKFLOW_HISTORY"))["consumers"] or []
    return [name for name in names if name.startswith("engine-")]


async def test_a_feed_gives_everything_that_is_there_at_once(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await append(jetstream.ports.log, *range(2_000))
        async with reading(jetstream) as feed:
            sizes: list[int] = []
            while sum(sizes) < 2_000:
                sizes.append(len(await feed.batch()))
                await asyncio.sleep(0.05)  # a slow engine: what comes meanwhile is there when it comes back
            assert max(sizes) == 512
            assert len(sizes) <= 5


async def test_a_slow_engine_does_not_get_more_than_it_can_hold(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await append(jetstream.ports.log, *range(5_000))
        async with reading(jetstream) as feed:
            await feed.batch()
            name = (await consumers(jetstream))[0]

            async def settled() -> bool:
                info = await jetstream.link.api(f"CONSUMER.INFO.WORKFLOW_HISTORY.{name}")
                return info["num_waiting"] == 0

            await until(settled)
            info = await jetstream.link.api(f"CONSUMER.INFO.WORKFLOW_HISTORY.{name}")
            assert info["delivered"]["stream_seq"] <= 512 + 1024


async def test_a_feed_of_large_events_asks_for_no_more_bytes_than_it_can_hold(nats_server: EmbeddedServer) -> None:
    large = b"x" * 2_000_000
    async with prepared(nats_server) as jetstream:
        for n in range(32):
            await jetstream.ports.log.append("r", b"%d %b" % (n, large), id=str(n))
        async with reading(jetstream) as feed:
            entries = await feed.batch()
            name = (await consumers(jetstream))[0]

            async def full() -> bool:
                info = await jetstream.link.api(f"CONSUMER.INFO.WORKFLOW_HISTORY.{name}")
                return info["num_waiting"] == 0

            await until(full)
            info = await jetstream.link.api(f"CONSUMER.INFO.WORKFLOW_HISTORY.{name}")
            assert info["delivered"]["stream_seq"] <= 16  # of 2 MB each, for one batch and what is read ahead
            # Without a pause, which would be a second each time.
            entries += await read(feed, 32 - len(entries), within_s=1.5)
            assert [int(entry.data.split()[0]) for entry in entries] == list(range(32))


async def test_a_feed_leaves_no_consumer_behind(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        async with reading(jetstream):
            assert len(await consumers(jetstream)) == 1

        async def gone() -> bool:
            return not await consumers(jetstream)

        await until(gone)


async def test_a_feed_whose_consumer_is_deleted_goes_on_without_a_hole(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await append(log, *range(10))
        async with reading(jetstream) as feed:
            await read(feed, 10)
            (name,) = await consumers(jetstream)
            waiting = asyncio.create_task(read(feed, 1, within_s=5))
            await jetstream.link.api(f"CONSUMER.DELETE.WORKFLOW_HISTORY.{name}")
            await append(log, 10)
            assert numbers(await waiting) == [10]
            await append(log, 11)
            assert numbers(await read(feed, 1)) == [11]


@pytest.mark.alone
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_feed_goes_on_within_a_second_of_the_servers_return(nats_server: EmbeddedServer, kill: bool) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await append(log, *range(700))
        async with reading(jetstream) as feed:
            before = await read(feed, 512)  # the rest is buffered, or on its way
            again = await restarted(nats_server, kill=kill)
            try:
                rest = await read(feed, 700 - len(before), within_s=2)
                await append(log, 700)
                seqs = [entry.seq for entry in [*before, *rest, *await read(feed, 1, within_s=1)]]
                assert seqs == list(range(1, 702))
            finally:
                await again.stop()


async def test_what_is_delivered_to_a_connection_that_is_lost_is_read_again(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as direct, through_proxy(nats_server) as (proxy, jetstream):
        log = direct.ports.log
        async with reading(jetstream) as feed:
            for n in range(20):
                await append(log, n)
            await read(feed, 20)
            proxy.silent = True
            for n in range(20, 40):
                await append(log, n)
            (name,) = await consumers(direct)

            async def delivered() -> bool:
                info = await direct.link.api(f"CONSUMER.INFO.WORKFLOW_HISTORY.{name}")
                return info["delivered"]["stream_seq"] == 40

            await until(delivered)
            proxy.hang_up()
            assert numbers(await read(feed, 20, within_s=5)) == list(range(20, 40))
            await append(log, 40)
            assert numbers(await read(feed, 1, within_s=5)) == [40]


async def test_a_feed_that_meets_a_gap_reads_it_again(nats_server: EmbeddedServer) -> None:
    """Deliveries are taken away on the way: nobody acknowledges them, so nobody else would bring them again."""
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        async with reading(jetstream) as feed:
            await append(log, 1)
            await read(feed, 1)
            (name,) = await consumers(jetstream)
            thief = jetstream.link.new_inbox()
            stolen = asyncio.Event()
            jetstream.link.subscribe(thief, lambda message: stolen.set())
            waiting = asyncio.create_task(read(feed, 600))
            pull = b'{"batch": 40, "expires": 5000000000}'
            for n in range(2, 602):
                jetstream.link.send(f"$JS.API.CONSUMER.MSG.NEXT.WORKFLOW_HISTORY.{name}", pull, reply=thief)
                await append(log, n)
            async with asyncio.timeout(5):
                await stolen.wait()
            assert numbers(await waiting) == list(range(2, 602))


class CutLog:
    """A log that loses its tail while the server is down, as after a power cut."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._port = port_of(server)
        (self._folder,) = server.folder.rglob("streams/WORKFLOW_HISTORY")
        self._copy: Path = server.folder / "copy"

    async def stop(self) -> None:
        await self._server.stop()

    async def start(self, *, port: int | None = None) -> None:
        self._server = EmbeddedServer(self._server.folder, port=self._port if port is None else port)
        await self._server.start()

    def remember(self) -> None:
        shutil.copytree(self._folder, self._copy)

    def cut(self) -> None:
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder)

    async def add_elsewhere(self, *numbers: int) -> None:
        """Append while nobody reads."""
        await self.start(port=0)
        async with prepared(self._server) as jetstream:
            await append(jetstream.ports.log, *numbers)
        await self.stop()


@pytest.mark.parametrize(("more", "says"), [(0, "ends at event 3"), (5, "event 5 of the history is another one")])
async def test_a_log_that_lost_its_tail_is_noticed_by_who_has_read_it(
    nats_server: EmbeddedServer, more: int, says: str
) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await append(log, 1, 2, 3)
        feed = await jetstream.feeds.history(0)
        await read(feed, 3)
        cut = CutLog(nats_server)
        await cut.stop()
        cut.remember()
        await cut.start()
        await append(log, 4, 5)
        await read(feed, 2)
        await cut.stop()
        cut.cut()
        if more:  # others are stored where the lost ones were
            await cut.add_elsewhere(*range(10, 10 + more))
        await cut.start()
        try:
            with pytest.raises(LogCut, match=says):
                await read(feed, 1)
        finally:
            await feed.close()
            await cut.stop()


async def test_a_log_that_lost_only_what_nobody_has_read_goes_on(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await append(log, 1, 2, 3)
        feed = await jetstream.feeds.history(0)
        await read(feed, 3)
        cut = CutLog(nats_server)
        await cut.stop()
        cut.remember()
        await cut.add_elsewhere(4, 5)
        cut.cut()
        await cut.add_elsewhere(10)
        await cut.start()
        try:
            assert numbers(await read(feed, 1)) == [10]
        finally:
            await feed.close()
            await cut.stop()


async def test_the_dial_shows_how_far_the_engine_is(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await append(jetstream.ports.log, 1, 2, 3)
        dial = jetstream.ports.dial

        async def shown() -> tuple[int, int]:
            info = await jetstream.link.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
            return info["ack_floor"]["stream_seq"], info["num_pending"]

        await dial.show(0)
        assert await shown() == (0, 3)
        await dial.show(2)
        assert await shown() == (2, 1)
        await dial.show(3)
        assert await shown() == (3, 0)
        await dial.show(1)  # an engine that had to begin anew
        assert await shown() == (1, 2)


async def test_the_dial_of_an_earlier_version_is_taken_over(nats_server: EmbeddedServer) -> None:
    config = {
        "name": "orchestrator",
        "durable_name": "orchestrator",
        "description": "The engine's position in the history.",
        "deliver_policy": "all",
        "filter_subject": "history.>",
        "ack_policy": "all",
        "ack_wait": 24 * 3600 * 1_000_000_000,
        "max_ack_pending": -1,
    }
    async with prepared(nats_server) as jetstream:
        await append(jetstream.ports.log, 1, 2)
        await jetstream.link.api(
            "CONSUMER.CREATE.WORKFLOW_HISTORY.orchestrator", {"stream_name": "WORKFLOW_HISTORY", "config": config}
        )
        await jetstream.ports.dial.show(2)
        info = await jetstream.link.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
        assert info["ack_floor"]["stream_seq"] == 2
