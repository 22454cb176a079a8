"""Events from outside, on EVENTS: `event.<type>`, whose dots are part of the type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.instant import rfc3339
from dagnats.runtime.jetstream.publish import MSG_ID
from dagnats.runtime.jetstream.read import PAGE, message_at, page_of, seq_of, state_of, subject_of, time_ns_of
from dagnats.runtime.jetstream.resources import EVENTS
from dagnats.runtime.ports import Happening

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Receipt

_PREFIX = "event."


class JetStreamEvents:
    """`ports.Events`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def publish(self, type: str, data: bytes, *, id: str) -> Awaitable[Receipt]:
        return self._link.publish_surely(_PREFIX + type, data, {MSG_ID: id})

    async def page(self, type: str, *, since_ns: int, after: int, upto: int) -> list[Happening]:
        begin = {"seq": after + 1} if after else {"start_time": rfc3339(max(since_ns, 0))}
        messages, _ = await page_of(self._link, EVENTS, {**begin, "next_by_subj": _PREFIX + type, "batch": PAGE})
        return [event for event in map(_happening, messages) if event.seq <= upto]

    async def last(self) -> int:
        last: int = (await state_of(self._link, EVENTS))["last_seq"]
        return last

    async def at(self, seq: int) -> Happening | None:
        message = await message_at(self._link, EVENTS, seq)
        return _happening(message) if message is not None else None


def _happening(message: Message) -> Happening:
    return Happening(seq_of(message), time_ns_of(message), subject_of(message)[len(_PREFIX) :], message.data)
