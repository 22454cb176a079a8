"""Payloads that are too large for a message: `blob.<run>.<sha256>`, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.stream import Message, Stream


class MemoryBlobs:
    """`ports.Blobs`, on a stream of the server's."""

    def __init__(self, stream: Stream, link: Link) -> None:
        self._stream = stream
        self._link = link

    async def put(self, run_id: str, sha256: str, data: bytes) -> None:
        subject = f"blob.{run_id}.{sha256}"
        await self._link.surely(Call("blobs.put", subject, lambda: self._stream.put(subject, data)))

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        subject = f"blob.{run_id}.{sha256}"
        message: Message | None = await self._link.request(
            Call("blobs.get", subject, lambda: self._stream.last(subject))
        )
        return message.data if message is not None and len(message.data) == size else None

    async def remove(self, run_id: str) -> None:
        pattern = f"blob.{run_id}.>"
        await self._link.request(Call("blobs.remove", pattern, lambda: self._stream.purge(pattern)))

    async def run_ids(self) -> list[str]:
        found = await self._link.request(Call("blobs.run_ids", "blob.>", lambda: self._stream.subjects("blob.>")))
        return sorted({subject.split(".")[1] for subject in found})

    async def newest_ns(self, run_id: str) -> int:
        pattern = f"blob.{run_id}.>"
        found = await self._link.request(Call("blobs.newest_ns", pattern, lambda: self._stream.fitting(pattern)))
        return found[-1].time_ns if found else 0
