"""What running steps say of themselves, under `<run>.<step>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryPulses:
    """`ports.Pulses`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.pulses
        self._link = link

    async def put(self, run_id: str, step_id: str, data: bytes) -> None:
        key = f"{run_id}.{step_id}"
        await self._link.request(Call("pulses.put", key, lambda: self._stream.put(key, data)))

    async def newest(self, run_id: str, step_id: str) -> bytes | None:
        key = f"{run_id}.{step_id}"
        found = await self._link.request(Call("pulses.newest", key, lambda: self._stream.last(key)))
        return found.data if found is not None else None

    async def of(self, run_id: str) -> dict[str, bytes]:
        pattern = f"{run_id}.>"
        found = await self._link.request(Call("pulses.of", pattern, lambda: self._stream.fitting(pattern)))
        return {message.subject[len(run_id) + 1 :]: message.data for message in found}

    async def remove(self, run_id: str) -> None:
        pattern = f"{run_id}.>"
        await self._link.request(Call("pulses.remove", pattern, lambda: self._stream.purge(pattern)))
