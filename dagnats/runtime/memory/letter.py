"""Dead letters, on `dead.>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call
from dagnats.runtime.ports import Letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message

_PREFIX = "dead."
_LONGEST_HEADER = 1_000


class MemoryDeadLetters:
    """`ports.DeadLetters`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.letters
        self._link = link

    def put(self, subject: str, data: bytes, *, headers: Mapping[str, str], id: str) -> Awaitable[object]:
        subject = _PREFIX + subject
        safe = {key: _one_line(value) for key, value in headers.items()}
        return self._link.surely(
            Call("letters.put", subject, lambda: self._stream.put(subject, data, id=id, headers=safe))
        )

    async def find(self, subject: str) -> list[Letter]:
        pattern = _PREFIX + subject
        found = await self._link.request(Call("letters.find", pattern, lambda: self._stream.fitting(pattern)))
        return [_letter(each) for each in found]

    async def at(self, seq: int) -> Letter | None:
        found = await self._link.request(Call("letters.at", f"{_PREFIX}>", lambda: self._stream.at(seq)))
        return _letter(found) if found is not None else None

    async def remove(self, seq: int) -> None:
        await self._link.request(Call("letters.remove", f"{_PREFIX}>", lambda: self._stream.remove(seq)))

    async def count(self) -> int:
        return await self._link.request(Call("letters.count", f"{_PREFIX}>", lambda: len(self._stream)))


def _letter(message: Message) -> Letter:
    return Letter(message.seq, message.subject[len(_PREFIX) :], dict(message.headers), message.data, message.time_ns)


def _one_line(text: str) -> str:
    """As a header on NATS would have it: one line of UTF-8."""
    return " ".join(text.split())[:_LONGEST_HEADER].encode(errors="replace").decode()
