"""The log, on one stream: `history.<run>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.ear import Ear
from dagnats.runtime.memory.link import Call
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Entry, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message

PREFIX = "history."
_PREFIX_LENGTH = len(PREFIX)


def entry_of(message: Message, *, first: bool = False) -> Entry:
    """A stored message as an entry of the log."""
    return Entry(message.seq, message.time_ns, message.subject[_PREFIX_LENGTH:], message.data, first)


class MemoryLog:
    """`ports.Log`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.history
        self._server = server
        self._link = link

    def append(self, run_id: str, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        subject = PREFIX + run_id
        call = Call("log.append", subject, lambda: self._stream.put(subject, data, id=id))
        return self._link.surely(call, within_s=within_s)

    async def append_after(self, run_id: str, data: bytes, *, id: str, last: int) -> Receipt:
        subject = PREFIX + run_id
        call = Call("log.append_after", subject, lambda: self._stream.put(subject, data, id=id, last=last))
        return await self._link.request(call)

    async def append_new(self, run_id: str, data: bytes, *, id: str, of: str, last: int) -> Receipt:
        subject, other = PREFIX + run_id, PREFIX + of
        call = Call(
            "log.append_new", subject, lambda: self._stream.put(subject, data, id=id, last=last, of=other, alone=True)
        )
        return await self._link.request(call)

    async def first(self, run_id: str) -> int:
        entries = await self.read(run_id)
        return entries[0].seq if entries else 0

    async def read(self, run_id: str, *, after: int = 0) -> list[Entry]:
        subject = PREFIX + run_id
        call = Call("log.read", subject, lambda: [entry_of(found) for found in self._stream.of(subject, after=after)])
        return await self._link.request(call)

    async def watch(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Entry]:
        with Ear(self._link, self._stream, PREFIX + run_id) as ear:
            while True:
                for entry in await self._look(run_id, after):
                    yield entry
                    after = entry.seq
                await ear.hear()

    async def wait_for(self, run_id: str, kinds: tuple[bytes, ...], *, after: int = 0) -> Entry:
        with Ear(self._link, self._stream, PREFIX + run_id) as ear:
            while True:
                for entry in await self._look(run_id, after):
                    if entry.data.startswith(kinds):
                        return entry
                    after = entry.seq
                await ear.hear()

    async def _look(self, run_id: str, after: int) -> list[Entry]:
        return await persist(lambda: self.read(run_id, after=after))

    async def run_ids(self, prefix: str = "") -> list[str]:
        found = await self._link.request(Call("log.run_ids", f"{PREFIX}*", lambda: self._stream.subjects(f"{PREFIX}*")))
        return [subject[len(PREFIX) :] for subject in found if subject.startswith(PREFIX + prefix)]

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Entry]:
        def tail() -> list[Entry]:
            last = min(self._stream.last_seq, before - 1) if before else self._stream.last_seq
            found = self._stream.behind(max(last - count, 0), count)
            return [entry_of(message) for message in found if message.seq <= last]

        return await self._link.request(Call("log.tail", f"{PREFIX}>", tail))

    async def page(self, *, after: int, count: int) -> list[Entry]:
        def page() -> list[Entry]:
            return [entry_of(message) for message in self._stream.behind(after, count)]

        return await self._link.request(Call("log.page", f"{PREFIX}>", page))

    async def newest(self, run_id: str) -> Entry | None:
        subject = PREFIX + run_id
        message = await self._link.request(Call("log.newest", subject, lambda: self._stream.last(subject)))
        return entry_of(message) if message is not None else None

    async def remove(self, run_id: str, *, upto: int) -> None:
        subject = PREFIX + run_id
        await self._link.request(Call("log.remove", subject, lambda: self._stream.purge(subject, upto=upto)))

    async def last(self) -> int:
        return await self._link.request(Call("log.last", f"{PREFIX}>", lambda: self._stream.last_seq))

    async def at(self, seq: int) -> Entry | None:
        message = await self._link.request(Call("log.at", f"{PREFIX}>", lambda: self._stream.at(seq)))
        return entry_of(message) if message is not None else None

    async def id_window_s(self) -> float:
        def window() -> float:
            return min(self._server.history.window_s, self._server.tasks.window_s)

        return await self._link.request(Call("log.id_window_s", f"{PREFIX}>", window))
