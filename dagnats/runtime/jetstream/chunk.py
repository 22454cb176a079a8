"""What steps stream while they run, on STEP_STREAMS: `stream.<run>.<step>`. Core NATS subscribers hear it live.

A chunk has its offset, and how many bytes were streamed with it, in headers. Go workers publish without any: their
chunks are counted by whoever reads them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import ConflictError, RefusedError, UnavailableError
from dagnats.runtime.jetstream.publish import EXPECTED_LAST, MSG_ID
from dagnats.runtime.jetstream.read import (
    first_of,
    forget,
    last_of,
    message_at,
    messages_of,
    page_of,
    seq_of,
    time_ns_of,
)
from dagnats.runtime.jetstream.resources import CHUNKS, STORED
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import MOST_CHUNK_BYTES, MOST_CHUNKS_BYTES, Chunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

_PREFIX = "stream."
_OFFSET = "Dagnats-Offset"
_ATTEMPT = "Dagnats-Attempt"
_TOTAL = "Dagnats-Total"  # bytes that were streamed, this chunk included
_KEPT = MOST_CHUNKS_BYTES * 3 // 4  # what is left when there was too much: room for a while
_PAGE = 100
_POLL_S = 2.0  # how long a watcher trusts that it would have been told
_PAUSE_S = 0.1
_MOST_KNOWN = 1_000


class _End(NamedTuple):
    """How far a step has come: its last chunk, and how many bytes of all that were streamed are gone."""

    seq: int = 0
    offset: int = -1
    total: int = 0
    gone: int = 0


class JetStreamChunks:
    """`ports.Chunks`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ends: OrderedDict[str, _End] = OrderedDict()  # by subject; whoever else writes is met as a conflict

    async def append(self, run_id: str, step_id: str, data: bytes, *, attempt: int) -> int:
        if len(data) > MOST_CHUNK_BYTES:
            raise RefusedError(f"the chunk has {len(data)} bytes; at most {MOST_CHUNK_BYTES} are taken")
        subject, id = f"{_PREFIX}{run_id}.{step_id}", secrets.token_hex(12)
        while True:
            try:
                end = self._ends.get(subject) or await self._end(subject)
                offset = await self._put(subject, data, end, id=id, attempt=attempt)
            except ConflictError:
                offset = await self._own(subject, id)
            except UnavailableError:
                self._ends.pop(subject, None)
                await asyncio.sleep(_PAUSE_S)
                continue
            if offset is not None:
                return offset

    async def _put(self, subject: str, data: bytes, end: _End, *, id: str, attempt: int) -> int:
        offset, total = end.offset + 1, end.total + len(data)
        headers = {
            EXPECTED_LAST: str(end.seq),
            MSG_ID: id,
            _OFFSET: str(offset),
            _ATTEMPT: str(attempt),
            _TOTAL: str(total),
        }
        receipt = await self._link.publish(subject, data, headers)
        if receipt.duplicate:  # a try whose answer was lost has stored it, and somebody else has gone on since
            self._ends.pop(subject, None)
            stored = await message_at(self._link, CHUNKS, receipt.seq)
            return int(stored.header(_OFFSET.encode())) if stored is not None else offset
        await self._know(subject, _End(receipt.seq, offset, total, end.gone))
        return offset

    async def _own(self, subject: str, id: str) -> int | None:
        """The offset of the last chunk, if it is the one with this id; None when somebody else was first."""
        self._ends.pop(subject, None)
        last = await persist(lambda: last_of(self._link, CHUNKS, subject))
        if last is None or last.header(MSG_ID.encode()).decode() != id:
            return None
        return int(last.header(_OFFSET.encode()))

    async def _know(self, subject: str, end: _End) -> None:
        if end.total - end.gone > MOST_CHUNKS_BYTES:
            end = end._replace(gone=await self._trim(subject, end))
        self._ends[subject] = end
        self._ends.move_to_end(subject)
        while len(self._ends) > _MOST_KNOWN:
            self._ends.popitem(last=False)

    async def _end(self, subject: str) -> _End:
        last = await last_of(self._link, CHUNKS, subject)
        if last is None:
            return _End()
        if last.header(_OFFSET.encode()):
            first = await first_of(self._link, CHUNKS, subject)
            gone = int(first.header(_TOTAL.encode()) or 0) - len(first.data) if first is not None else 0
            total = int(last.header(_TOTAL.encode()) or 0)
            return _End(seq_of(last), int(last.header(_OFFSET.encode())), total, max(gone, 0))
        chunks = await self._read(subject)
        return _End(seq_of(last), chunks[-1].offset if chunks else -1)

    async def _trim(self, subject: str, end: _End) -> int:
        """Forget the oldest chunks. Gives how many bytes are gone."""
        oldest, _ = await page_of(self._link, CHUNKS, {"seq": 1, "next_by_subj": subject, "batch": _PAGE})
        gone, upto = end.gone, 0
        for message in oldest:
            if end.total - gone <= _KEPT:
                break
            gone, upto = gone + len(message.data), seq_of(message)
        if upto:
            await self._link.api(f"STREAM.PURGE.{CHUNKS}", {"filter": subject, "seq": upto + 1})
        return gone

    async def read(self, run_id: str, step_id: str, *, start: int = 0) -> list[Chunk]:
        return [chunk for chunk in await self._read(f"{_PREFIX}{run_id}.{step_id}") if chunk.offset >= start]

    async def _read(self, subject: str) -> list[Chunk]:
        return [chunk for _, chunk in _numbered(await messages_of(self._link, CHUNKS, subject), -1)]

    async def watch(self, run_id: str, step_id: str, *, start: int = 0) -> AsyncGenerator[Chunk]:
        subject = f"{_PREFIX}{run_id}.{step_id}"
        seen, last, news = 0, -1, asyncio.Event()
        subscription = self._link.subscribe(f"{STORED}{subject}", lambda _: news.set())
        forget_up = self._link.on_up(news.set)
        try:
            while True:
                news.clear()
                found = await persist(lambda: messages_of(self._link, CHUNKS, subject, start=seen + 1))  # noqa: B023
                for seq, chunk in _numbered(found, last):
                    seen, last = seq, chunk.offset
                    if chunk.offset >= start:
                        yield chunk
                await _heard(news)
        finally:
            self._link.unsubscribe(subscription)
            forget_up()

    async def remove(self, run_id: str) -> None:
        await forget(self._link, CHUNKS, f"{_PREFIX}{run_id}.>")


async def _heard(news: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_POLL_S):
            await news.wait()


def _numbered(messages: list[Message], last: int) -> list[tuple[int, Chunk]]:
    """The chunks in some messages, by sequence; `last` is the offset of the one before them."""
    chunks: list[tuple[int, Chunk]] = []
    for message in messages:
        offset = message.header(_OFFSET.encode())
        last = int(offset) if offset else last + 1
        attempt = int(message.header(_ATTEMPT.encode()) or 0)
        chunks.append((seq_of(message), Chunk(last, message.data, attempt, time_ns_of(message))))
    return chunks
