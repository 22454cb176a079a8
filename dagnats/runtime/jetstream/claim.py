"""Claims, in bucket idempotency_keys: the server forgets each a day after it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.resources import CLAIMS
from dagnats.runtime.jetstream.store import entry_of

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link


class JetStreamClaims:
    """`ports.Claims`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def claim(self, name: str, owner: str) -> str:
        while True:
            try:
                await self._link.publish(f"$KV.{CLAIMS}.{name}", owner.encode(), {EXPECTED_LAST: "0"})
            except ConflictError:
                held = await entry_of(self._link, CLAIMS, name)
                if held is not None:  # else it was forgotten between the two
                    return held.data.decode(errors="replace")
            else:
                return owner
