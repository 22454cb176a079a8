"""How far the engine is, where operators look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryDial:
    """`ports.Dial`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def show(self, seq: int) -> None:
        await self._link.request(Call("dial.show", "orchestrator", lambda: self._set(seq)))

    def _set(self, seq: int) -> None:
        self._server.shown = seq
