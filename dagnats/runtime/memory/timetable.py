"""The server's own timers: they belong to no process, and outlive all of them."""

from __future__ import annotations

import asyncio
import heapq
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.memory.clock import MemoryClock


class Timetable:
    """What the server does later: after a duration, or at an instant of its clock, which may be set.

    Attributes:
        late_ns: How long after their instant things are done: a server has other things to do.
    """

    def __init__(self, clock: MemoryClock) -> None:
        self.late_ns = 0
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._context = Context()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        clock.on_set(self._arm)

    def after(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Do this after a duration."""
        return self._loop.call_later(seconds, call, context=self._context)

    def at(self, due_ns: int, call: Callable[[], None]) -> None:
        """Do this when the clock shows an instant, never before."""
        self._count += 1
        heapq.heappush(self._due, (due_ns + self.late_ns, self._count, call))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._due:
            left_s = max(self._due[0][0] - self._clock.now_ns(), 0) / 1e9
            self._timer = self._loop.call_later(left_s, self._do, context=self._context)

    def _do(self) -> None:
        now_ns = self._clock.now_ns()
        while self._due and self._due[0][0] <= now_ns:
            heapq.heappop(self._due)[2]()
        self._arm()
