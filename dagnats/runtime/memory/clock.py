"""Wall-clock time that follows the event loop's, and can be set."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN_NS = 1_767_225_600_000_000_000  # 2026-01-01, midnight UTC: no test depends on the day it runs


class MemoryClock:
    """`ports.Clock`: goes on as the loop does, from where it was set last."""

    def __init__(self, begin_ns: int = BEGIN_NS) -> None:
        self._loop = asyncio.get_running_loop()
        self._zero_ns = begin_ns - self._monotonic_ns()
        self._when_set: list[Callable[[], None]] = []

    def now_ns(self) -> int:
        return self._zero_ns + round(self._loop.time() * 1e9)  # said for every message: one call fewer

    def jump(self, by_ns: int) -> None:
        """Set it, as an operator or a time server would, forward or back."""
        self._zero_ns += by_ns
        for call in self._when_set:
            call()

    def on_set(self, call: Callable[[], None]) -> None:
        """Call this whenever it was set."""
        self._when_set.append(call)

    def _monotonic_ns(self) -> int:
        return round(self._loop.time() * 1e9)
