"""What waits for events: `<run>.<step>.<attempt>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryWaiters:
    """`ports.Waiters`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.waiters
        self._link = link

    def put(self, run_id: str, step_id: str, attempt: int, data: bytes) -> Awaitable[object]:
        key = f"{run_id}.{step_id}.{attempt}"
        return self._link.surely(Call("waiters.put", key, lambda: self._stream.put(key, data)))

    async def drop(self, run_id: str, step_id: str, attempt: int) -> None:
        key = f"{run_id}.{step_id}.{attempt}"
        await self._link.request(Call("waiters.drop", key, lambda: self._stream.purge(key)))

    async def remove(self, run_id: str) -> None:
        pattern = f"{run_id}.>"
        await self._link.request(Call("waiters.remove", pattern, lambda: self._stream.purge(pattern)))

    async def all(self) -> list[bytes]:
        found = await self._link.request(Call("waiters.all", ">", lambda: self._stream.fitting(">")))
        return [message.data for message in found]
