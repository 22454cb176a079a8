"""Dead letters, on `dead.>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.publish import MSG_ID
from dagnats.runtime.jetstream.read import delete, message_at, messages_of, seq_of, state_of, subject_of, time_ns_of
from dagnats.runtime.jetstream.resources import DEAD_LETTERS
from dagnats.runtime.ports import Letter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

_PREFIX = "dead."


class JetStreamDeadLetters:
    """`ports.DeadLetters`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put(self, subject: str, data: bytes, *, headers: Mapping[str, str], id: str) -> Awaitable[object]:
        safe = {key: _one_line(value) for key, value in headers.items()}
        return self._link.publish_surely(_PREFIX + subject, data, {**safe, MSG_ID: id})

    async def find(self, subject: str) -> list[Letter]:
        return [_letter(message) for message in await messages_of(self._link, DEAD_LETTERS, _PREFIX + subject)]

    async def at(self, seq: int) -> Letter | None:
        message = await message_at(self._link, DEAD_LETTERS, seq)
        return _letter(message) if message is not None else None

    async def remove(self, seq: int) -> None:
        await delete(self._link, DEAD_LETTERS, seq)

    async def count(self) -> int:
        count: int = (await state_of(self._link, DEAD_LETTERS))["messages"]
        return count


def _letter(message: Message) -> Letter:
    headers = {key: value for key, value in message.headers.items() if not key.startswith("Nats-")}
    return Letter(seq_of(message), subject_of(message)[len(_PREFIX) :], headers, message.data, time_ns_of(message))


def _one_line(text: str, most: int = 1_000) -> str:
    """Header values are one line of UTF-8; errors may be anything."""
    return " ".join(text.split())[:most].encode(errors="replace").decode()
