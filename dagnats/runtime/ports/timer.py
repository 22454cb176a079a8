"""Time: a clock, and wake-ups that outlive whoever asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence


class Clock(Protocol):
    """The wall clock of the machine. It may be wrong, and be set; durations are measured by the event loop's time."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        ...


class Wakeup(Protocol):
    """A durable timer that came due."""

    @property
    def run_id(self) -> str: ...

    @property
    def seq(self) -> int:
        """The event that asked for it."""
        ...

    @property
    def due_ns(self) -> int: ...

    def acknowledge(self) -> None: ...


class Timers(Protocol):
    """Durable wake-ups."""

    def set(self, run_id: str, *, due_ns: int, seq: int, replaces: int, id: str) -> Awaitable[object]:
        """Wake the run at `due_ns` (never early), and no longer by the wake-up that event `replaces` asked for (0:
        there is none). Both in one step: no moment without a wake-up."""
        ...

    async def drop(self, run_id: str, seq: int) -> None:
        """Forget the wake-up that event `seq` asked for, if it has not come yet."""
        ...

    async def all(self) -> list[Outstanding]:
        """All of them, in no order, those included that came due and that no engine has acknowledged."""
        ...


class Outstanding(NamedTuple):
    """A wake-up that is stored, due or not.

    Attributes:
        run_id: Whom it wakes.
        seq: The event that asked for it.
        due_ns: When.
    """

    run_id: str
    seq: int
    due_ns: int


class WakeupFeed(Protocol):
    """Wake-ups that came due."""

    async def batch(self) -> Sequence[Wakeup]:
        """The next ones, at least one; waits for them."""
        ...

    async def close(self) -> None: ...
