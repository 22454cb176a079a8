"""The log as an engine reads it: everything, in order, from a place."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.ports import Entry, Log, LogFeed
    from tests.conformance.backend import Backend, Connected


@asynccontextmanager
async def reading(connection: Connected, after: int = 0) -> AsyncGenerator[LogFeed]:
    feed = await connection.feeds.history(after)
    try:
        yield feed
    finally:
        await feed.close()


async def append(log: Log, *numbers: int) -> None:
    """Events, one run each, their number as their bytes."""
    await asyncio.gather(*(log.append(f"r{n}", b"%d" % n, id=f"e{n}") for n in numbers))


async def read(feed: LogFeed, count: int) -> list[Entry]:
    entries: list[Entry] = []
    async with asyncio.timeout(20):
        while len(entries) < count:
            entries += await feed.batch()
    return entries


async def test_a_feed_gives_what_is_behind_its_start_in_order_and_then_what_comes(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        for n in range(1, 6):
            await append(log, n)
        async with reading(connection, 2) as feed:
            entries = await read(feed, 3)
            assert [(entry.seq, entry.run_id, entry.data) for entry in entries] == [
                (3, "r3", b"3"),
                (4, "r4", b"4"),
                (5, "r5", b"5"),
            ]
            await append(log, 6)
            (entry,) = await read(feed, 1)
            assert entry == await log.at(6)


async def test_a_batch_has_a_limit_and_nothing_is_left_out(backend: Backend) -> None:
    async with backend.connected() as connection:
        await append(connection.ports.log, *range(1_500))
        async with reading(connection) as feed:
            sizes: list[int] = []
            seqs: list[int] = []
            while len(seqs) < 1_500:
                batch = await feed.batch()
                sizes.append(len(batch))
                seqs += [entry.seq for entry in batch]
            assert max(sizes) <= 512
            assert seqs == list(range(1, 1_501))


async def test_two_feeds_read_independently(backend: Backend) -> None:
    async with backend.connected() as connection:
        await append(connection.ports.log, *range(100))
        async with reading(connection) as one, reading(connection, 50) as other:
            assert [entry.seq for entry in await read(one, 100)] == list(range(1, 101))
            assert [entry.seq for entry in await read(other, 50)] == list(range(51, 101))


async def test_only_an_event_that_came_after_the_opening_can_be_known_as_the_first(backend: Backend) -> None:
    async with backend.connected() as connection:
        log = connection.ports.log
        await log.append_after("old", b"1", id="1", last=0)
        async with reading(connection) as feed:
            await log.append_after("new", b"2", id="2", last=0)
            await log.append_after("new", b"3", id="3", last=2)
            await log.append("unchecked", b"4", id="4")
            await log.append_new("made-up", b"5", id="5", of="new", last=3)
            entries = await read(feed, 5)
            assert [(entry.data, entry.first) for entry in entries] == [
                (b"1", False),
                (b"2", True),
                (b"3", False),
                (b"4", False),
                (b"5", True),
            ]


async def test_what_was_removed_leaves_a_gap_in_the_places(backend: Backend) -> None:
    async with backend.connected() as connection:
        await append(connection.ports.log, 1)
        await append(connection.ports.log, 2)
        await append(connection.ports.log, 3)
        await backend.remove_history("r2")
        async with reading(connection) as feed:
            assert [entry.seq for entry in await read(feed, 2)] == [1, 3]


async def test_a_feed_cannot_be_opened_behind_the_end_of_the_log(backend: Backend) -> None:
    async with backend.connected() as connection:
        await append(connection.ports.log, 1)
        await append(connection.ports.log, 2)
        await (await connection.feeds.history(2)).close()
        with pytest.raises(LogCut, match="ends at event 2; it was read up to 3"):
            await connection.feeds.history(3)


async def test_a_feed_goes_on_after_a_restart_of_the_server(backend: Backend) -> None:
    async with backend.connected() as connection:
        await append(connection.ports.log, *range(10))
        async with reading(connection) as feed:
            await read(feed, 10)
            waiting = asyncio.create_task(read(feed, 1))
            await backend.restart()
            await append(connection.ports.log, 10)
            assert [entry.seq for entry in await waiting] == [11]
