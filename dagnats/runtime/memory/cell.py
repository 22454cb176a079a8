"""One value that engines share: the newest message of a subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.ear import Ear
from dagnats.runtime.memory.link import Call
from dagnats.runtime.memory.snapshot import stored_of

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.ports import Stored


class MemoryCell:
    """`ports.Cell`."""

    def __init__(self, server: MemoryServer, link: Link, subject: str) -> None:
        self._stream = server.engine
        self._link = link
        self._subject = subject
        self._ear: Ear | None = None

    async def read(self) -> Stored | None:
        self._listen()
        call = Call("cell.read", self._subject, lambda: self._stream.last(self._subject))
        return stored_of(await self._link.request(call))

    async def write(self, data: bytes, *, revision: int) -> int:
        call = Call("cell.write", self._subject, lambda: self._stream.put(self._subject, data, last=revision).seq)
        return await self._link.request(call)

    async def changed(self, most_s: float) -> None:
        await self._listen().hear(most_s)

    def _listen(self) -> Ear:
        """Hear of writes, from the first read on: between a read and `changed` none is missed."""
        if self._ear is None:
            self._ear = Ear(self._link, self._stream, self._subject)
            self._ear.open()
        return self._ear
