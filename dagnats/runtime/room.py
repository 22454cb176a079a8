"""Room for something new: none where the store is nearly full. What is left is for the runs under way.

A run that has begun writes until it ends, and only a run that has ended can be removed: were the store filled to the
brim, nothing could end, and nothing could be removed. So what would begin is refused in time, before it is stored.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError, FullError
from dagnats.runtime.ports import Holding

if TYPE_CHECKING:
    from dagnats.runtime.ports import Server, StoreFull
    from dagnats.runtime.ports.server import Cap

log = logging.getLogger("dagnats.nats")

NEAR_FULL = 0.8
"""From this share of what the store takes, operators are told."""

FULL = 0.85
"""From this share on, nothing new begins: no run, no signal, no event."""

TIGHT = 0.9
"""From this share on, ended runs leave before their time."""

_EVERY_S = 1.0
_TRUSTED_S = 10.0  # what was seen before, by those who come while somebody looks

_LIMITS: dict[Cap, str] = {
    "log": "`max_bytes` of the stream WORKFLOW_HISTORY",
    "account": "`max_file` of the NATS account",
    "server": "`max_store_bytes`",
}


class MeasuredRoom:
    """`ports.Room`, as of about a second ago: whoever comes later than that measures anew, for all others."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = Holding(0, 0)
        self._seen_s = -math.inf
        self._looking = asyncio.Lock()

    async def expect(self, what: str) -> None:
        """Where nobody can say how full the store is, there is room: whoever writes then is told."""
        await self._look()
        if self._seen.share >= FULL:
            raise full(self._seen, what)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        age_s = loop.time() - self._seen_s
        if age_s < _EVERY_S or (age_s < _TRUSTED_S and self._looking.locked()):
            return
        async with self._looking:
            if loop.time() - self._seen_s < _EVERY_S:  # somebody has looked while we waited for our turn
                return
            try:
                self._seen = await self._server.holding()
            except DagnatsError as error:
                log.debug("how full the store is cannot be seen: %s", error)
            self._seen_s = loop.time()


def full(holding: Holding, what: str) -> FullError:
    """Why `what` is refused, and what makes room."""
    return FullError(
        f"there is no room for {what}: {used(holding)}, and from {FULL:.0%} on the rest is for runs under way",
        hint=f"`dagnats clean --older-than=7d` makes room, a shorter `retention` keeps it, and {limit_of(holding)} "
        "can be raised",
    )


def overfull(what: str, why: StoreFull) -> FullError:
    """The same where NATS itself refuses `what`."""
    return FullError(f"there is no room for {what}: {why}", hint="`dagnats clean --older-than=7d` makes room")


def used(holding: Holding) -> str:
    """How full the store is, in words."""
    return f"{holding.used:,} of {holding.limit:,} bytes are used ({holding.share:.0%})"


def limit_of(holding: Holding) -> str:
    """What sets the limit, as an operator knows it."""
    return _LIMITS.get(holding.cap, "the limit")
