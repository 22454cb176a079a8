"""Telemetry: `telemetry.logs|spans|metrics.<service>.<…>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError
from dagnats.runtime.memory.link import Call
from dagnats.runtime.memory.stream import matches
from dagnats.runtime.ports import Held, Piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message

_PREFIX = "telemetry."
_MOST = 10_000  # what nobody reads must not fill the memory
_PAGE = 1_000


class MemoryTelemetry:
    """`ports.Telemetry`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.telemetry
        self._link = link

    def put(self, subject: str, data: bytes) -> bool:
        # Not on the link's way: a simulation that interferes there must not go otherwise because somebody logs.
        if not (self._link.closed or self._link.dead):
            self._put(subject, data)
        return not self._link.closed

    def _put(self, subject: str, data: bytes) -> None:
        try:
            receipt = self._stream.put(_PREFIX + subject, data)
        except DagnatsError:
            return
        self._stream.remove(receipt.seq - _MOST)

    async def newest(self, subject: str, count: int) -> list[Piece]:
        return [_piece(message) for message in (await self._fitting(subject))[-count:]]

    async def page(self, subject: str, *, since_ns: int = 0, after: int = 0) -> list[Piece]:
        found = await self._fitting(subject)
        return [_piece(each) for each in found if each.seq > after and each.time_ns >= since_ns][:_PAGE]

    async def _fitting(self, subject: str) -> list[Message]:
        pattern = _PREFIX + subject
        return await self._link.request(Call("telemetry.read", pattern, lambda: self._stream.fitting(pattern)))

    def hear(self, subject: str, told: Callable[[Piece], None]) -> Callable[[], None]:
        pattern = _PREFIX + subject

        def heard(message: Message) -> None:
            if matches(pattern, message.subject):
                piece = _piece(message)._replace(seq=0, time_ns=0)
                self._link.deliver(message.subject, lambda: told(piece))

        return self._stream.listen(heard)

    async def held(self, *, before_ns: int = 0) -> Held:
        found = [each for each in await self._fitting(">") if not before_ns or each.time_ns < before_ns]
        return Held(len(found), sum(len(each.data) for each in found))

    async def remove(self, *, before_ns: int = 0) -> None:
        for each in await self._fitting(">"):
            if not before_ns or each.time_ns < before_ns:
                self._stream.remove(each.seq)


def _piece(message: Message) -> Piece:
    return Piece(message.seq, message.time_ns, message.subject[len(_PREFIX) :], message.data)
