"""Events from outside: `event.<type>`, whose dots are part of the type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call
from dagnats.runtime.ports import Happening

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message
    from dagnats.runtime.ports import Receipt

PREFIX = "event."
_PAGE = 256


def happening_of(message: Message) -> Happening:
    """A stored message as an event."""
    return Happening(message.seq, message.time_ns, message.subject[len(PREFIX) :], message.data)


class MemoryEvents:
    """`ports.Events`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.events
        self._link = link

    def publish(self, type: str, data: bytes, *, id: str) -> Awaitable[Receipt]:
        subject = PREFIX + type
        return self._link.surely(Call("events.publish", subject, lambda: self._stream.put(subject, data, id=id)))

    async def page(self, type: str, *, since_ns: int, after: int, upto: int) -> list[Happening]:
        subject = PREFIX + type

        def page() -> list[Happening]:
            found = self._stream.of(subject, after=after)
            fitting = [message for message in found if message.seq <= upto and message.time_ns >= since_ns]
            return [happening_of(message) for message in fitting[:_PAGE]]

        return await self._link.request(Call("events.page", subject, page))

    async def last(self) -> int:
        return await self._link.request(Call("events.last", f"{PREFIX}>", lambda: self._stream.last_seq))

    async def at(self, seq: int) -> Happening | None:
        message = await self._link.request(Call("events.at", f"{PREFIX}>", lambda: self._stream.at(seq)))
        return happening_of(message) if message is not None else None
