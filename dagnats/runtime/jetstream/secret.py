"""Keys that all parts of a server share, in bucket secrets. Whoever may read the bucket can answer approvals."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.resources import SECRETS
from dagnats.runtime.jetstream.store import entry_of

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

_BYTES = 32


class JetStreamSecrets:
    """`ports.Secrets`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def key(self, name: str) -> bytes:
        while True:
            message = await entry_of(self._link, SECRETS, name)
            if message is not None:
                return message.data
            with suppress(ConflictError):  # whoever was first has made it
                made = secrets.token_bytes(_BYTES)
                await self._link.publish(f"$KV.{SECRETS}.{name}", made, {EXPECTED_LAST: "0"})
                return made
