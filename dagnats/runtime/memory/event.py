"""Events from outside, on a stream of their own: `event.<type>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.ear import Ear
from dagnats.runtime.memory.link import Call
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Happening, LogCut, Receipt

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message

_PREFIX = "event."
_ALL = f"{_PREFIX}>"
_PAGE = 512


def _happening(message: Message) -> Happening:
    return Happening(message.seq, message.time_ns, message.subject[len(_PREFIX) :], message.data)


class MemoryEvents:
    """`ports.Events`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.events
        self._link = link

    def publish(self, type: str, data: bytes, *, id: str) -> Awaitable[Receipt]:
        subject = _PREFIX + type
        return self._link.surely(Call("events.publish", subject, lambda: self._stream.put(subject, data, id=id)))

    async def page(self, type: str, *, since_ns: int, after: int, upto: int) -> list[Happening]:
        subject = _PREFIX + type

        def page() -> list[Happening]:
            found = [_happening(message) for message in self._stream.of(subject, after=after)]
            return [event for event in found if event.time_ns >= since_ns and event.seq <= upto][:_PAGE]

        return await self._link.request(Call("events.page", subject, page))

    async def last(self) -> int:
        return await self._link.request(Call("events.last", _ALL, lambda: self._stream.last_seq))

    async def at(self, seq: int) -> Happening | None:
        message = await self._link.request(Call("events.at", _ALL, lambda: self._stream.at(seq)))
        return _happening(message) if message is not None else None


class MemoryEventFeed:
    """`ports.EventFeed`."""

    def __init__(self, server: MemoryServer, link: Link, after: int) -> None:
        self._stream = server.events
        self._link = link
        self._seen = after
        self._ear = Ear(link, server.events)

    @classmethod
    async def open(cls, server: MemoryServer, link: Link, after: int) -> MemoryEventFeed:
        feed = cls(server, link, after)
        await link.request(Call("events.open", _ALL, feed._check))
        feed._ear.open()
        return feed

    async def batch(self) -> list[Happening]:
        while True:
            events = await persist(lambda: self._link.request(Call("events.batch", _ALL, self._next)))
            if events:
                self._seen = events[-1].seq
                return events
            await self._ear.hear()

    async def close(self) -> None:
        self._ear.close()

    def _next(self) -> list[Happening]:
        self._check()
        return [_happening(message) for message in self._stream.behind(self._seen, _PAGE)]

    def _check(self) -> None:
        if self._stream.last_seq < self._seen:
            raise LogCut(f"the stream of events ends at event {self._stream.last_seq}; it was read up to {self._seen}")
