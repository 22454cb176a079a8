"""Records under keys, requests, and who provides a trigger type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.runtime.memory.cell import MemoryCell
from dagnats.runtime.memory.link import Call
from dagnats.runtime.memory.snapshot import stored_of
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message, Stream


class MemoryRecords:
    """`ports.Records`."""

    def __init__(self, stream: Stream, link: Link) -> None:
        self._stream = stream
        self._link = link

    async def get(self, key: str) -> Stored | None:
        return stored_of(await self._link.request(Call("records.get", key, lambda: self._stream.last(key))))

    async def put(self, key: str, data: bytes, *, revision: int) -> int:
        call = Call("records.put", key, lambda: self._stream.put(key, data, last=revision).seq)
        return await self._link.request(call)

    async def remove(self, key: str, *, revision: int) -> None:
        def remove() -> None:
            if self._stream.last(key) is None:
                raise ConflictError("wrong last sequence: 0")
            self._stream.put(key, b"", last=revision)  # for those who listen
            self._stream.purge(key)

        await self._link.request(Call("records.remove", key, remove))

    async def all(self) -> dict[str, Stored]:
        found = await self._link.request(Call("records.all", ">", lambda: self._stream.fitting(">")))
        return {message.subject: Stored(message.seq, message.data, message.time_ns) for message in found}

    def listen(self, told: Callable[[str], None]) -> Callable[[], None]:
        def heard(message: Message) -> None:
            self._link.deliver(message.subject, lambda: told(message.subject))

        deaf, forget = self._stream.listen(heard), self._link.on_lost(lambda: told(""))

        def end() -> None:
            deaf()
            forget()

        return end


class MemoryRequests:
    """`ports.Requests`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    def answer(self, subject: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        answerer = (reply, self._link)
        answerers = self._server.answerers.setdefault(subject, [])
        answerers.append(answerer)
        return lambda: answerers.remove(answerer)

    async def ask(self, subject: str, data: bytes) -> bytes | None:
        def look() -> Callable[[bytes], Awaitable[bytes]] | None:
            there = self._server.answerers.get(subject, [])
            return next((reply for reply, link in there if not (link.dead or link.closed)), None)

        found = await self._link.request(Call("requests.ask", subject, look))
        return await found(data) if found is not None else None


class MemoryTenures:
    """`ports.Tenures`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    def of(self, trigger_type: str) -> MemoryCell:
        return MemoryCell(self._server, self._link, f"engine.trigger_type.{trigger_type}")
