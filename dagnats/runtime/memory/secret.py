"""Keys that all parts of a server share."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer

_BYTES = 32


class MemorySecrets:
    """`ports.Secrets`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def key(self, name: str) -> bytes:
        made = secrets.token_bytes(_BYTES)
        return await self._link.request(Call("secrets.key", name, lambda: self._server.keys.setdefault(name, made)))
