"""One timer for many things that come due: setting and cancelling one for each would cost more than most of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = float("inf")

_PAUSE_S = 0.01  # between two looks: what comes due in between is this late


class Sweep:
    """Looks after everything when the first of it is due.

    Args:
        look: Does what is due at the loop time it is given, and says when the next thing will be.
    """

    def __init__(self, look: Callable[[float], float]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._next = NEVER
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, due: float) -> None:
        """Something comes due at loop time `due`. What is not due after all is found out then."""
        if due < self._next:
            if self._timer is not None:
                self._timer.cancel()
            self._next = due
            self._timer = self._loop.call_at(due, self._sweep)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        self._next, self._timer = NEVER, None
        now = self._loop.time()
        self.expect(max(self._look(now), now + _PAUSE_S))
