"""Logs, spans and metrics, which may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Piece(NamedTuple):
    """A piece of telemetry.

    Attributes:
        seq: Its place; 0 for one that was heard as it came.
        time_ns: The server's time for it; 0 for one that was heard.
        subject: What it is: `logs.worker.INFO`, `spans.engine.<run>`, `metrics.engine.<name>`.
        data: Its bytes.
    """

    seq: int
    time_ns: int
    subject: str
    data: bytes


class Held(NamedTuple):
    """How much is kept: messages, and bytes."""

    messages: int
    bytes: int


class Telemetry(Protocol):
    """Logs, spans and metrics. Nothing depends on them: any of it may be lost, and the oldest goes when there is much.

    In subjects that ask, `*` stands for one word and `>` for the rest.
    """

    def put(self, subject: str, data: bytes) -> bool:
        """Send a piece, once: nobody answers. False when the connection is lost just now."""
        ...

    async def newest(self, subject: str, count: int) -> list[Piece]:
        """The last `count` under a subject, oldest first."""
        ...

    async def page(self, subject: str, *, since_ns: int = 0, after: int = 0) -> list[Piece]:
        """The first under a subject that came at `since_ns` or later, and behind sequence `after`; none: no more."""
        ...

    def hear(self, subject: str, told: Callable[[Piece], None]) -> Callable[[], None]:
        """Call `told` for each piece that comes from now on; what is returned ends it."""
        ...

    async def held(self, *, before_ns: int = 0) -> Held:
        """How much is kept; of what came before an instant, the bytes are an estimate."""
        ...

    async def remove(self, *, before_ns: int = 0) -> None:
        """Forget all of it, or what came before an instant."""
        ...
