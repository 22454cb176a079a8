"""The log as one engine reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dagnats.runtime.memory.ear import Ear
from dagnats.runtime.memory.event import happening_of
from dagnats.runtime.memory.history import entry_of
from dagnats.runtime.memory.link import Call
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message, Stream
    from dagnats.runtime.ports import Entry, Happening

_BATCH = 512


class _Feed:
    """One stream, read in order."""

    _pattern: ClassVar[str]
    _said: ClassVar[str]

    def __init__(self, server: MemoryServer, stream: Stream, link: Link, after: int) -> None:
        self._server = server
        self._stream = stream
        self._link = link
        self._seen = after
        self._seen_ns = 0  # 0: not known
        self._live_from = 0
        self._generation = -1
        self._has_all = False  # as far as we have heard since
        self._ear = Ear(link, stream)

    async def _open(self) -> None:
        await self._link.request(Call("feed.open", self._pattern, self._check))
        self._ear.open()

    async def _batch(self) -> list[Message]:
        while True:
            if self._has_all:
                await self._ear.hear()
            self._has_all = False
            messages = await persist(lambda: self._link.request(Call("feed.batch", self._pattern, self._next)))
            self._has_all = len(messages) < _BATCH
            if messages:
                self._seen, self._seen_ns = messages[-1].seq, messages[-1].time_ns
                return messages

    async def close(self) -> None:
        self._ear.close()

    def _next(self) -> list[Message]:
        self._check()
        return self._stream.behind(self._seen, _BATCH)

    def _check(self) -> None:
        """Raise LogCut when what was seen last is not in the log: only a restart can have done that."""
        if self._generation == self._server.generation:
            return
        last = self._stream.last_seq
        if last < self._seen:
            raise LogCut(f"{self._said} ends at event {last}; it was read up to {self._seen}")
        message = self._stream.at(self._seen)
        if message is not None:  # its run may have been purged
            if self._seen_ns not in (0, message.time_ns):
                raise LogCut(f"event {self._seen} of {self._said} is another one than was read")
            self._seen_ns = message.time_ns
        self._live_from, self._generation = last + 1, self._server.generation


class MemoryLogFeed(_Feed):
    """`ports.LogFeed`."""

    _pattern = "history.>"
    _said = "the history"

    @classmethod
    async def open(cls, server: MemoryServer, link: Link, after: int) -> MemoryLogFeed:
        feed = cls(server, server.history, link, after)
        await feed._open()
        return feed

    async def batch(self) -> list[Entry]:
        # The server has checked that nothing was there before, and no engine has seen it: certainly a new run.
        return [
            entry_of(message, first=message.alone and message.seq >= self._live_from) for message in await self._batch()
        ]


class MemoryEventFeed(_Feed):
    """`ports.EventFeed`."""

    _pattern = "event.>"
    _said = "the stream of events"

    @classmethod
    async def open(cls, server: MemoryServer, link: Link, after: int) -> MemoryEventFeed:
        feed = cls(server, server.events, link, after)
        await feed._open()
        return feed

    async def batch(self) -> list[Happening]:
        return [happening_of(message) for message in await self._batch()]
