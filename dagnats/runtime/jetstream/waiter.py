"""What waits for events, in bucket event_waiters under `<run>.<step>.<attempt>`: none of these can hold what a key
cannot, whereas an event's type may hold nearly anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.read import messages_of
from dagnats.runtime.jetstream.resources import WAITERS

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.jetstream.link import Link


class JetStreamWaiters:
    """`ports.Waiters`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put(self, run_id: str, step_id: str, attempt: int, data: bytes) -> Awaitable[object]:
        return self._link.publish_surely(_subject(run_id, step_id, attempt), data, {})

    async def drop(self, run_id: str, step_id: str, attempt: int) -> None:
        # Purged, not marked as deleted: nothing is left of those that wait no more.
        await self._link.api(f"STREAM.PURGE.KV_{WAITERS}", {"filter": _subject(run_id, step_id, attempt)})

    async def remove(self, run_id: str) -> None:
        await self._link.api(f"STREAM.PURGE.KV_{WAITERS}", {"filter": f"$KV.{WAITERS}.{run_id}.>"})

    async def all(self) -> list[bytes]:
        messages = await messages_of(self._link, f"KV_{WAITERS}", f"$KV.{WAITERS}.>")
        return [message.data for message in messages if not message.header(b"KV-Operation")]


def _subject(run_id: str, step_id: str, attempt: int) -> str:
    return f"$KV.{WAITERS}.{run_id}.{step_id}.{attempt}"
