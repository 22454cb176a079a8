"""Chunks: what a step streams, for those who are there and for those who come late."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import RefusedError
from dagnats.runtime.memory.adapter import Memory
from dagnats.runtime.ports import MOST_CHUNK_BYTES, MOST_CHUNKS_BYTES
from tests.conformance.backend import InMemory, OnNats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagnats.runtime.ports import Chunk
    from tests.conformance.backend import Backend, Connected


async def taken(chunks: AsyncIterator[Chunk], count: int) -> list[tuple[int, bytes]]:
    """The next so many."""
    found: list[tuple[int, bytes]] = []
    async with asyncio.timeout(10):
        async for chunk in chunks:
            found.append((chunk.offset, chunk.data))
            if len(found) == count:
                break
    return found


async def published(connection: Connected, data: bytes) -> None:
    """Stream a chunk of run r1, step s, as a worker does that does not number them."""
    if isinstance(connection, Memory):
        connection.server.chunks.put("stream.r1.s", data)
    else:
        connection.link.send("stream.r1.s", data)
        await connection.ports.log.last()  # what was sent before is there


async def test_a_steps_chunks_have_offsets_from_zero_and_are_read_from_any(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        before_ns = backend.now_ns()
        assert [await one.ports.chunks.append("r1", "s", b"%d" % n, attempt=1) for n in range(3)] == [0, 1, 2]
        assert await one.ports.chunks.append("r1", "m.map.0", b"x", attempt=1) == 0
        assert await other.ports.chunks.append("r1", "s", b"3", attempt=2) == 3
        assert await one.ports.chunks.append("r1", "s", b"", attempt=2) == 4
        found = await other.ports.chunks.read("r1", "s", start=2)
        assert [chunk[:3] for chunk in found] == [(2, b"2", 1), (3, b"3", 2), (4, b"", 2)]
        assert all(before_ns <= chunk.time_ns <= backend.now_ns() for chunk in found)
        assert await other.ports.chunks.read("r1", "s", start=5) == []
        assert await other.ports.chunks.read("r1", "t") == []


async def test_who_comes_late_gets_what_was_streamed_and_then_what_follows(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagnats.runtime.jetstream.chunk._POLL_S", 60)  # so it is told
    async with backend.connected() as one, backend.connected() as other:
        for data in (b"0", b"1"):
            await one.ports.chunks.append("r1", "s", data, attempt=1)
        async with aclosing(other.ports.chunks.watch("r1", "s", start=1)) as late:
            assert await taken(late, 1) == [(1, b"1")]
        following = asyncio.create_task(taken(other.ports.chunks.watch("r1", "s"), 4))
        await other.ports.log.last()
        await one.ports.chunks.append("r1", "t", b"not this one", attempt=1)
        await one.ports.chunks.append("r1", "s", b"2", attempt=1)
        await one.ports.chunks.append("r1", "s", b"3", attempt=1)
        assert await following == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"3")]


async def test_who_follows_goes_on_when_the_connection_was_lost(backend: Backend) -> None:
    async with backend.connected() as connection:
        following = asyncio.create_task(taken(connection.ports.chunks.watch("r1", "s"), 2))
        await connection.ports.chunks.append("r1", "s", b"0", attempt=1)
        await backend.restart()
        await connection.ports.chunks.append("r1", "s", b"1", attempt=1)
        assert await following == [(0, b"0"), (1, b"1")]


async def test_the_oldest_chunks_go_when_there_are_too_many_bytes_and_offsets_stay(backend: Backend) -> None:
    async with backend.connected() as connection:
        chunks, most = connection.ports.chunks, MOST_CHUNKS_BYTES // MOST_CHUNK_BYTES
        for number in range(most + 20):
            assert await chunks.append("r1", "s", bytes([number]) * MOST_CHUNK_BYTES, attempt=1) == number
        kept = await chunks.read("r1", "s")
        assert sum(len(chunk.data) for chunk in kept) <= MOST_CHUNKS_BYTES
        assert len(kept) >= most // 2
        assert [chunk.offset for chunk in kept] == list(range(kept[0].offset, most + 20))
        assert all(chunk.data[:1] == bytes([chunk.offset]) for chunk in kept)
        async with aclosing(chunks.watch("r1", "s", start=3)) as late:
            assert (await taken(late, 1))[0][0] == kept[0].offset


async def test_a_chunk_that_is_too_large_is_refused(backend: Backend) -> None:
    async with backend.connected() as connection:
        with pytest.raises(RefusedError, match=f"{MOST_CHUNK_BYTES + 1} bytes; at most {MOST_CHUNK_BYTES}"):
            await connection.ports.chunks.append("r1", "s", bytes(MOST_CHUNK_BYTES + 1), attempt=1)


async def test_chunks_of_a_worker_that_does_not_number_them_are_counted(backend: Backend) -> None:
    async with backend.connected() as connection:
        chunks = connection.ports.chunks
        await published(connection, b"go 0")
        await published(connection, b"go 1")
        assert await chunks.append("r1", "s", b"2", attempt=1) == 2
        await published(connection, b"go 3")
        assert [(chunk.offset, chunk.data, chunk.attempt) for chunk in await chunks.read("r1", "s")] == [
            (0, b"go 0", 0), (1, b"go 1", 0), (2, b"2", 1), (3, b"go 3", 0),
        ]  # fmt: skip
        assert await chunks.append("r1", "s", b"4", attempt=1) == 4


async def test_the_chunks_of_a_run_are_forgotten_together(backend: Backend) -> None:
    async with backend.connected() as connection:
        chunks = connection.ports.chunks
        for run_id in ("r1", "r10"):
            await chunks.append(run_id, "s", b"x", attempt=1)
        await chunks.remove("r1")
        assert await chunks.read("r1", "s") == []
        assert len(await chunks.read("r10", "s")) == 1
        assert await chunks.append("r1", "s", b"a run of the same name", attempt=1) == 0


async def test_chunks_are_heard_on_their_subject_as_they_are_streamed(backend: Backend) -> None:
    if isinstance(backend, InMemory):
        return
    assert isinstance(backend, OnNats)
    async with backend.connected() as one, backend.connected() as other:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        other.link.subscribe("stream.r1.s", lambda message: heard.put_nowait(message.data))
        await other.ports.log.last()
        await one.ports.chunks.append("r1", "s", b"0", attempt=1)
        async with asyncio.timeout(10):
            assert await heard.get() == b"0"


async def test_a_config_keeps_so_many_chunks_of_each_step(backend: Backend) -> None:
    if isinstance(backend, OnNats):
        async with backend.connected() as connection:
            config = (await connection.link.api("STREAM.INFO.STEP_STREAMS"))["config"]
        assert (config["max_msgs_per_subject"], config["discard"]) == (10_000, "old")
