"""Telemetry: found by subject and time, heard as it comes, forgotten without being missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.runtime.ports import Piece, Telemetry
    from tests.conformance.backend import Backend


async def stored(telemetry: Telemetry, count: int) -> list[Piece]:
    """All that is kept, once it is so much: nobody answers to a piece that is put."""
    async with asyncio.timeout(10):
        while len(found := await telemetry.page(">")) < count:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
    return found


async def test_telemetry_is_found_by_subject_the_newest_first_or_from_an_instant_on(backend: Backend) -> None:
    async with backend.connected() as connection:
        telemetry = connection.ports.telemetry
        assert await telemetry.newest(">", 5) == await telemetry.page(">") == []
        for number in range(20):
            assert telemetry.put(f"logs.{'api' if number % 10 == 0 else 'worker'}.INFO", b"%d" % number)
        pieces = await stored(telemetry, 20)
        assert [piece.data for piece in pieces] == [b"%d" % number for number in range(20)]
        assert pieces[0].subject == "logs.api.INFO"
        assert [piece.data for piece in await telemetry.newest("logs.api.*", 1)] == [b"10"]
        assert [piece.data for piece in await telemetry.newest("logs.api.>", 9)] == [b"0", b"10"]
        assert [piece.data for piece in await telemetry.newest(">", 2)] == [b"18", b"19"]
        assert await telemetry.newest("spans.>", 2) == []
        assert [piece.data for piece in await telemetry.page(">", after=pieces[17].seq)] == [b"18", b"19"]
        assert await telemetry.page(">", after=pieces[-1].seq) == []
        assert len(await telemetry.page(">", since_ns=pieces[0].time_ns)) == 20
        assert await telemetry.page(">", since_ns=pieces[-1].time_ns + 60_000_000_000) == []


async def test_telemetry_is_heard_as_it_comes(backend: Backend) -> None:
    async with backend.connected() as connection, backend.connected() as other:
        heard: asyncio.Queue[Piece] = asyncio.Queue()
        stop = connection.ports.telemetry.hear("logs.*.ERROR", heard.put_nowait)
        await connection.ports.server.overview()  # the server knows of us now: it answers in order
        other.ports.telemetry.put("logs.worker.INFO", b"1")
        other.ports.telemetry.put("logs.worker.ERROR", b"2")
        async with asyncio.timeout(10):
            piece = await heard.get()
        assert (piece.subject, piece.data) == ("logs.worker.ERROR", b"2")
        stop()


async def test_telemetry_is_counted_and_removed_up_to_an_instant(backend: Backend) -> None:
    async with backend.connected() as connection:
        telemetry = connection.ports.telemetry
        telemetry.put("logs.worker.INFO", b"1")
        (early,) = await stored(telemetry, 1)
        await asyncio.sleep(0.01)
        telemetry.put("logs.worker.INFO", b"2")
        _, late = await stored(telemetry, 2)
        assert (await telemetry.held()).messages == 2
        assert (await telemetry.held()).bytes > 0
        assert (await telemetry.held(before_ns=early.time_ns)).messages == 0
        assert (await telemetry.held(before_ns=late.time_ns)).messages == 1
        assert (await telemetry.held(before_ns=late.time_ns + 10**10)).messages == 2
        await telemetry.remove(before_ns=late.time_ns)
        assert [piece.data for piece in await telemetry.page(">")] == [b"2"]
        await telemetry.remove(before_ns=late.time_ns + 10**10)
        assert await telemetry.page(">") == []


async def test_what_cannot_be_sent_is_lost_and_nothing_else(backend: Backend) -> None:
    async with backend.connected() as connection:
        telemetry = connection.ports.telemetry
        assert telemetry.put("logs.worker.INFO", b"x" * 9_000_000)
        assert telemetry.put("logs.white space.INFO", b"x")
        assert telemetry.put("logs.worker.INFO", b"2")
        assert [piece.data for piece in await stored(telemetry, 1)] == [b"2"]
    assert not telemetry.put("logs.worker.INFO", b"3")
