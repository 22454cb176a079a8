"""What is stored of the access tokens, in bucket access_tokens. Whoever may write there makes tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.read import messages_of
from dagnats.runtime.jetstream.resources import TOKENS
from dagnats.runtime.jetstream.store import entry_of

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link


class JetStreamTokens:
    """`ports.Tokens`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, id: str) -> bytes | None:
        message = await entry_of(self._link, TOKENS, id)
        return message.data if message is not None else None

    async def add(self, id: str, data: bytes) -> None:
        await self._link.publish(f"$KV.{TOKENS}.{id}", data, {EXPECTED_LAST: "0"})

    async def remove(self, id: str) -> None:
        # Purged, not marked as deleted: nothing is left of it.
        await self._link.api(f"STREAM.PURGE.KV_{TOKENS}", {"filter": f"$KV.{TOKENS}.{id}"})

    async def all(self) -> list[bytes]:
        messages = await messages_of(self._link, f"KV_{TOKENS}", f"$KV.{TOKENS}.>")
        return [message.data for message in messages if not message.header(b"KV-Operation")]
