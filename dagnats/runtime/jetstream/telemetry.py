"""Telemetry on TELEMETRY: `telemetry.logs|spans|metrics.<service>.<…>`. Published as plain NATS messages: subscribers
hear them as they come, and nobody waits until they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.model.instant import rfc3339
from dagnats.runtime.jetstream.read import PAGE, messages_of, page_of, seq_of, state_of, subject_of, time_ns_of
from dagnats.runtime.jetstream.resources import TELEMETRY
from dagnats.runtime.ports import Held, Piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

_PREFIX = "telemetry."
_WIDER = 8


class JetStreamTelemetry:
    """`ports.Telemetry`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put(self, subject: str, data: bytes) -> bool:
        # What the server would never take is gone at once: it must not come between the rest and the server.
        if self._link.closed or self._link.refusal(_PREFIX + subject, data, b"") is not None:
            return not self._link.closed
        return self._link.send(_PREFIX + subject, data)

    async def newest(self, subject: str, count: int) -> list[Piece]:
        # The server finds what comes behind a place, not before it: look at ever more of the end.
        state = await state_of(self._link, TELEMETRY)
        first, last, wide = state["first_seq"], state["last_seq"], count
        while True:
            start = max(last - wide + 1, first, 1)
            found = await messages_of(self._link, TELEMETRY, _PREFIX + subject, start=start)
            if len(found) >= count or start <= max(first, 1):
                return [_piece(message) for message in found[-count:]]
            wide *= _WIDER

    async def page(self, subject: str, *, since_ns: int = 0, after: int = 0) -> list[Piece]:
        begin: dict[str, Any] = {"seq": after + 1} if after or not since_ns else {"start_time": rfc3339(since_ns)}
        request = {**begin, "next_by_subj": _PREFIX + subject, "batch": PAGE}
        messages, _ = await page_of(self._link, TELEMETRY, request)
        return [_piece(message) for message in messages]

    def hear(self, subject: str, told: Callable[[Piece], None]) -> Callable[[], None]:
        def heard(message: Message) -> None:
            told(Piece(0, 0, message.subject[len(_PREFIX) :], message.data))

        sid = self._link.subscribe(_PREFIX + subject, heard)
        return lambda: self._link.unsubscribe(sid)

    async def held(self, *, before_ns: int = 0) -> Held:
        state = await state_of(self._link, TELEMETRY)
        messages, size = int(state["messages"]), int(state["bytes"])
        if not before_ns or not messages:
            return Held(messages, size)
        kept = await self._first(before_ns)
        older = min(kept - int(state["first_seq"]), messages) if kept else messages
        return Held(older, size * older // messages)

    async def remove(self, *, before_ns: int = 0) -> None:
        kept = await self._first(before_ns) if before_ns else 0
        await self._link.api(f"STREAM.PURGE.{TELEMETRY}", {"seq": kept} if kept else {})

    async def _first(self, since_ns: int) -> int:
        """The first one that came at an instant or later; 0 when there is none."""
        request = {"start_time": rfc3339(since_ns), "next_by_subj": f"{_PREFIX}>", "batch": 1}
        messages, _ = await page_of(self._link, TELEMETRY, request)
        return seq_of(messages[0]) if messages else 0


def _piece(message: Message) -> Piece:
    return Piece(seq_of(message), time_ns_of(message), subject_of(message)[len(_PREFIX) :], message.data)
