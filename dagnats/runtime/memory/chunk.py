"""What steps stream while they run: `stream.<run>.<step>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import RefusedError
from dagnats.runtime.memory.ear import Ear
from dagnats.runtime.memory.link import Call
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import MOST_CHUNK_BYTES, MOST_CHUNKS, MOST_CHUNKS_BYTES, Chunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Stream

_OFFSET = "offset"
_ATTEMPT = "attempt"


class MemoryChunks:
    """`ports.Chunks`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.chunks
        self._link = link

    async def append(self, run_id: str, step_id: str, data: bytes, *, attempt: int) -> int:
        if len(data) > MOST_CHUNK_BYTES:
            raise RefusedError(f"the chunk has {len(data)} bytes; at most {MOST_CHUNK_BYTES} are taken")
        subject = f"stream.{run_id}.{step_id}"
        put = _Put(self._stream, subject, data, attempt)
        return await self._link.surely(Call("chunks.append", subject, put))

    async def read(self, run_id: str, step_id: str, *, start: int = 0) -> list[Chunk]:
        subject = f"stream.{run_id}.{step_id}"
        call = Call("chunks.read", subject, lambda: _numbered(self._stream, subject))
        return [chunk for chunk in await self._link.request(call) if chunk.offset >= start]

    async def watch(self, run_id: str, step_id: str, *, start: int = 0) -> AsyncGenerator[Chunk]:
        with Ear(self._link, self._stream, f"stream.{run_id}.{step_id}") as ear:
            while True:
                for chunk in await persist(lambda: self.read(run_id, step_id, start=start)):  # noqa: B023
                    yield chunk
                    start = chunk.offset + 1
                await ear.hear()

    async def remove(self, run_id: str) -> None:
        pattern = f"stream.{run_id}.>"
        await self._link.request(Call("chunks.remove", pattern, lambda: self._stream.purge(pattern)))


class _Put:
    """Adds one chunk, however often it is called: repeated, it gives the same offset."""

    def __init__(self, stream: Stream, subject: str, data: bytes, attempt: int) -> None:
        self._stream = stream
        self._subject = subject
        self._data = data
        self._attempt = attempt
        self._offset = -1

    def __call__(self) -> int:
        if self._offset < 0:
            self._offset = _next(self._stream, self._subject)
            headers = {_OFFSET: str(self._offset), _ATTEMPT: str(self._attempt)}
            self._stream.put(self._subject, self._data, headers=headers)
            self._trim()
        return self._offset

    def _trim(self) -> None:
        messages = self._stream.of(self._subject)
        size = sum(len(message.data) for message in messages)
        for at, oldest in enumerate(messages):
            if len(messages) - at <= MOST_CHUNKS and size <= MOST_CHUNKS_BYTES:
                break
            size -= len(oldest.data)
            self._stream.remove(oldest.seq)


def _next(stream: Stream, subject: str) -> int:
    """The offset of a subject's next chunk."""
    last = stream.last(subject)
    if last is None:
        return 0
    return (int(last.headers[_OFFSET]) if _OFFSET in last.headers else _numbered(stream, subject)[-1].offset) + 1


def _numbered(stream: Stream, subject: str) -> list[Chunk]:
    chunks: list[Chunk] = []
    for message in stream.of(subject):
        following = chunks[-1].offset + 1 if chunks else 0
        offset = int(message.headers.get(_OFFSET, following))
        chunks.append(Chunk(offset, message.data, int(message.headers.get(_ATTEMPT, 0)), message.time_ns))
    return chunks
