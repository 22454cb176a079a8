"""Runs as they were: `run.<run>`, of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message


def stored_of(message: Message | None) -> Stored | None:
    """A stored message as a value that can be replaced."""
    return Stored(message.seq, message.data, message.time_ns) if message is not None else None


class MemorySnapshots:
    """`ports.Snapshots`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.runs
        self._link = link

    async def load(self, run_id: str) -> Stored | None:
        key = f"run.{run_id}"
        return stored_of(await self._link.request(Call("snapshots.load", key, lambda: self._stream.last(key))))

    def save(self, run_id: str, data: bytes, *, revision: int) -> Awaitable[int]:
        key = f"run.{run_id}"
        return self._link.surely(Call("snapshots.save", key, lambda: self._stream.put(key, data, last=revision).seq))

    async def remove(self, run_id: str) -> None:
        key = f"run.{run_id}"
        await self._link.request(Call("snapshots.remove", key, lambda: self._stream.purge(key)))

    async def purge(self) -> None:
        await self._link.request(Call("snapshots.purge", "run.>", lambda: self._stream.purge("run.>")))
