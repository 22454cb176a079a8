"""The machine's clock, behind `ports.Clock`. Durations are measured by the event loop's `time()`, never by this."""

from __future__ import annotations

import time
from time import monotonic as monotonic


class SystemClock:
    """`ports.Clock`: this machine's."""

    def now_ns(self) -> int:
        return time.time_ns()
