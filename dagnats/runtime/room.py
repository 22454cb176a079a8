"""Room for something new: none where the store is nearly full. What is left is for the runs under way.

A run that has begun writes until it ends, and only a run that has ended can be removed: were the store filled to the
brim, nothing could end, and nothing could be removed. So what would begin is refused in time, before it is stored.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
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

BRIMFUL = 0.97
"""From this share on, whoever removes something cannot count on being able to write first."""

_EVERY_S = 1.0
_TRUSTED_S = 10.0  # what was seen before, by those who come while somebody looks
_SOONEST_S = 0.05
_OVERHEAD = 1_024
_AT_ONCE = 2  # times what it brings comes of a run within the second: its first event, and its first snapshot
_LATER = 8  # times that: tasks, outputs, and what others let in

_LIMITS: dict[Cap, str] = {
    "log": "`max_bytes` of the stream WORKFLOW_HISTORY",
    "account": "`max_file` of the NATS account",
    "server": "`max_store_bytes`",
}


class MeasuredRoom:
    """`ports.Room`, as of about a second ago: whoever comes later than that measures anew, for all others.

    Sooner where what was let in lately may have taken the rest: a small store fills within a second. And since it takes
    that second until everything that comes of it is stored, it counts as if it were, until then.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = Holding(0, 0)
        self._seen_s = -math.inf
        self._looking = asyncio.Lock()
        self._let_in: deque[tuple[float, int]] = deque()
        self._lately = 0  # the bytes of all these

    async def expect(self, what: str, size: int = 0) -> None:
        """Where nobody can say how full the store is, there is room: whoever writes then is told."""
        now_s = asyncio.get_running_loop().time()
        self._forget(now_s)
        if not self._is_fresh(now_s):
            await self._look(now_s)
            now_s = asyncio.get_running_loop().time()
        if not self._seen.limit:
            return
        rest = self._rest
        if rest <= 0 or rest < _AT_ONCE * self._lately + size:
            raise full(self._seen, what)
        self._let_in.append((now_s, size + _OVERHEAD))
        self._lately += size + _OVERHEAD

    async def _look(self, now_s: float) -> None:
        is_tight = self._rest <= 0 or self._may_be_gone  # old news is no reason then, for either answer
        if self._looking.locked() and now_s - self._seen_s < _TRUSTED_S and not is_tight:
            return
        async with self._looking:
            if self._is_fresh(asyncio.get_running_loop().time()):  # somebody has looked while we waited for our turn
                return
            try:
                self._seen = await self._server.holding()
            except DagnatsError as error:
                log.debug("how full the store is cannot be seen: %s", error)
            self._seen_s = asyncio.get_running_loop().time()

    def _forget(self, now_s: float) -> None:
        """What was let in a second ago is stored, with all that comes of it."""
        while self._let_in and self._let_in[0][0] <= now_s - _EVERY_S:
            self._lately -= self._let_in.popleft()[1]

    def _is_fresh(self, now_s: float) -> bool:
        return now_s - self._seen_s < (_SOONEST_S if self._may_be_gone else _EVERY_S)

    @property
    def _rest(self) -> float:
        """How many bytes there are for what begins."""
        return FULL * self._seen.limit - self._seen.used if self._seen.limit else math.inf

    @property
    def _may_be_gone(self) -> bool:
        return 0 < self._rest < _LATER * self._lately


def full(holding: Holding, what: str) -> FullError:
    """Why `what` is refused, and what makes room."""
    return FullError(
        f"there is no room for {what}: {used(holding)}{'' if holding.share >= FULL else ' or about to be'}, and from "
        f"{FULL:.0%} on the rest is for runs under way",
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
