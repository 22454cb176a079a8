"""What people and programs did, on AUDIT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.publish import MSG_ID
from dagnats.runtime.jetstream.read import PAGE, page_of, seq_of, state_of, time_ns_of
from dagnats.runtime.jetstream.resources import AUDIT
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.jetstream.link import Link

_SUBJECT = "audit.request"


class JetStreamAudit:
    """`ports.Audit`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def append(self, data: bytes, *, id: str) -> Awaitable[object]:
        return self._link.publish_surely(_SUBJECT, data, {MSG_ID: id})

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Stored]:
        state = await state_of(self._link, AUDIT)
        last: int = min(state["last_seq"], before - 1) if before else state["last_seq"]
        start = max(state["first_seq"], last - count + 1)
        if not state["messages"] or last < start:
            return []
        request = {"seq": start, "next_by_subj": "audit.>", "batch": min(count, PAGE)}
        messages, _ = await page_of(self._link, AUDIT, request)
        found = (Stored(seq_of(each), each.data, time_ns_of(each)) for each in messages)
        return [each for each in found if each.revision <= last]
