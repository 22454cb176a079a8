"""The newest signals of runs, under `<run>.<name>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemorySignals:
    """`ports.Signals`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.signals
        self._link = link

    def put(self, run_id: str, name: str, data: bytes) -> Awaitable[object]:
        key = f"{run_id}.{name}"
        return self._link.surely(Call("signals.put", key, lambda: self._stream.put(key, data)))

    async def newest(self, run_id: str, name: str) -> bytes | None:
        key = f"{run_id}.{name}"
        found = await self._link.request(Call("signals.newest", key, lambda: self._stream.last(key)))
        return found.data if found is not None else None

    async def remove(self, run_id: str) -> None:
        pattern = f"{run_id}.>"
        await self._link.request(Call("signals.remove", pattern, lambda: self._stream.purge(pattern)))
