"""What people and programs did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer

_SUBJECT = "audit.request"


class MemoryAudit:
    """`ports.Audit`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.audit
        self._link = link

    def append(self, data: bytes, *, id: str) -> Awaitable[object]:
        return self._link.surely(Call("audit.append", _SUBJECT, lambda: self._stream.put(_SUBJECT, data, id=id)))

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Stored]:
        def tail() -> list[Stored]:
            found = [each for each in self._stream.of(_SUBJECT) if not before or each.seq < before]
            return [Stored(each.seq, each.data, each.time_ns) for each in found[-count:]]

        return await self._link.request(Call("audit.tail", _SUBJECT, tail))
