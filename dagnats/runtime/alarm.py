"""Wake-ups kept in memory as well: durable ones come up to a quarter of a second late, and by the server's clock.

Every one here counts down by the monotonic clock from the moment its run's clock was read: a server's clock that is
set back freezes nothing, and none is early.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NEAR_S = 60.0


class Alarm:
    """The near wake-ups of all runs, one timer for all of them.

    Args:
        ring: Called with run id, the event that asked, and the due time in ns, when a wake-up is due.
    """

    def __init__(self, ring: Callable[[str, int, int], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, str, int, int]] = []
        self._current: dict[str, int] = {}  # the one that counts, of each run
        self._handle: asyncio.TimerHandle | None = None

    def set(self, run_id: str, seq: int, due_ns: int, at: float) -> None:
        """Ring at `at`, by the loop's clock, and no longer for an earlier setting of this run."""
        self._current[run_id] = seq
        heapq.heappush(self._heap, (at, run_id, seq, due_ns))
        if self._heap[0][2] == seq and self._heap[0][1] == run_id:
            self._arm()

    def drop(self, run_id: str) -> None:
        """The run is over, or waits for nothing."""
        self._current.pop(run_id, None)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._heap.clear()
        self._current.clear()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(self._heap[0][0], self._due) if self._heap else None

    def _due(self) -> None:
        # call_at may be early by the clock's resolution: rather a turn later than a moment early.
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            _, run_id, seq, due_ns = heapq.heappop(self._heap)
            if self._current.get(run_id) == seq:
                del self._current[run_id]
                self._ring(run_id, seq, due_ns)
        self._arm()
