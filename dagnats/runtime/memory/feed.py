"""The log as one engine reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.ear import Ear
from dagnats.runtime.memory.history import entry_of
from dagnats.runtime.memory.link import Call
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.ports import Entry

_BATCH = 512


class MemoryLogFeed:
    """`ports.LogFeed`."""

    def __init__(self, server: MemoryServer, link: Link, after: int) -> None:
        self._server = server
        self._stream = server.history
        self._link = link
        self._seen = after
        self._seen_ns = 0  # 0: not known
        self._live_from = 0
        self._generation = -1
        self._ear = Ear(link, server.history)

    @classmethod
    async def open(cls, server: MemoryServer, link: Link, after: int) -> MemoryLogFeed:
        feed = cls(server, link, after)
        await link.request(Call("feed.open", "history.>", feed._check))
        feed._ear.open()
        return feed

    async def batch(self) -> list[Entry]:
        while True:
            entries = await persist(lambda: self._link.request(Call("feed.batch", "history.>", self._next)))
            if entries:
                self._seen, self._seen_ns = entries[-1].seq, entries[-1].time_ns
                return entries
            await self._ear.hear()

    async def close(self) -> None:
        self._ear.close()

    def _next(self) -> list[Entry]:
        self._check()
        found = self._stream.behind(self._seen, _BATCH)
        # The server has checked that nothing was there before, and no engine has seen it: certainly a new run.
        return [entry_of(message, first=message.alone and message.seq >= self._live_from) for message in found]

    def _check(self) -> None:
        """Raise LogCut when what was seen last is not in the log: only a restart can have done that."""
        if self._generation == self._server.generation:
            return
        last = self._stream.last_seq
        if last < self._seen:
            raise LogCut(f"the history ends at event {last}; it was read up to {self._seen}")
        message = self._stream.at(self._seen)
        if message is not None:  # its run may have been purged
            if self._seen_ns not in (0, message.time_ns):
                raise LogCut(f"event {self._seen} of the history is another one than was read")
            self._seen_ns = message.time_ns
        self._live_from, self._generation = last + 1, self._server.generation
