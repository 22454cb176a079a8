"""What is stored of the access tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryTokens:
    """`ports.Tokens`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.tokens
        self._link = link

    async def get(self, id: str) -> bytes | None:
        message = await self._link.request(Call("tokens.get", id, lambda: self._stream.last(id)))
        return message.data if message is not None else None

    async def add(self, id: str, data: bytes) -> None:
        await self._link.request(Call("tokens.add", id, lambda: self._stream.put(id, data, last=0)))

    async def remove(self, id: str) -> None:
        await self._link.request(Call("tokens.remove", id, lambda: self._stream.purge(id)))

    async def all(self) -> list[bytes]:
        found = await self._link.request(Call("tokens.all", ">", lambda: self._stream.fitting(">")))
        return [message.data for message in found]
