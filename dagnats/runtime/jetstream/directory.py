"""The directory of workers, in bucket workers: the server forgets an entry a minute after it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.read import messages_of
from dagnats.runtime.jetstream.resources import WORKERS

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link


class JetStreamDirectory:
    """`ports.Directory`."""

    renew_s = 30.0  # an entry lives for a minute: one renewal may be lost

    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, worker_id: str, data: bytes) -> None:
        await self._link.publish(f"$KV.{WORKERS}.{worker_id}", data)

    async def remove(self, worker_id: str) -> None:
        # Purged, not marked as deleted: readers of any language then see nothing of it.
        await self._link.api(f"STREAM.PURGE.KV_{WORKERS}", {"filter": f"$KV.{WORKERS}.{worker_id}"})

    async def all(self) -> list[bytes]:
        messages = await messages_of(self._link, f"KV_{WORKERS}", f"$KV.{WORKERS}.>")
        return [message.data for message in messages if not message.header(b"KV-Operation")]
