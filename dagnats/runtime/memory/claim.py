"""Claims: names that belong for a day to whoever asked first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer

_DAY_NS = 24 * 3600 * 1_000_000_000


class MemoryClaims:
    """`ports.Claims`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def claim(self, name: str, owner: str) -> str:
        def take() -> str:
            now_ns = self._server.clock.now_ns()
            held, until_ns = self._server.claims.get(name, ("", 0))
            if until_ns > now_ns:
                return held
            self._server.claims[name] = (owner, now_ns + _DAY_NS)
            return owner

        return await self._link.request(Call("claims.claim", name, take))
