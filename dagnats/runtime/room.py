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
_OVERHEAD = 1_024
_GROWTH = 8  # so much more than it brings comes of a run: snapshots, tasks, outputs, what others start meanwhile

_LIMITS: dict[Cap, str] = {
    "log": "`max_bytes` of the stream WORKFLOW_HISTORY",
    "account": "`max_file` of the NATS account",
    "server": "`max_store_bytes`",
}


class MeasuredRoom:
    """`ports.Room`, as of about a second ago: whoever comes later than that measures anew, for all others.

    Sooner where what was let in meanwhile may have taken the rest: a small store fills within a second.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = Holding(0, 0)
        self._seen_s = -math.inf
        self._let_in = 0
        self._looking = asyncio.Lock()

    async def expect(self, what: str, size: int = 0) -> None:
        """Where nobody can say how full the store is, there is room: whoever writes then is told."""
        await self._look()
        if self._seen.share >= FULL:
            raise full(self._seen, what)
        self._let_in += size + _OVERHEAD

    async def _look(self) -> None:
        if self._is_fresh:
            return
        is_tight = self._seen.share >= FULL or self._is_outgrown  # old news is no reason then, for either answer
        if self._looking.locked() and self._age_s < _TRUSTED_S and not is_tight:
            return
        async with self._looking:
            if self._is_fresh:  # somebody has looked while we waited for our turn
                return
            let_in = self._let_in
            try:
                self._seen = await self._server.holding()
            except DagnatsError as error:
                log.debug("how full the store is cannot be seen: %s", error)
            self._seen_s = asyncio.get_running_loop().time()
            self._let_in -= let_in

    @property
    def _is_fresh(self) -> bool:
        return self._age_s < _EVERY_S and not self._is_outgrown

    @property
    def _age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._seen_s

    @property
    def _is_outgrown(self) -> bool:
        """Whether what was let in since may have taken what there was room for."""
        rest = FULL * self._seen.limit - self._seen.used
        return self._seen.limit > 0 and 0 < rest < _GROWTH * self._let_in


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
