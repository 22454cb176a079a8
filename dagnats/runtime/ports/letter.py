"""Dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping


class Letter(NamedTuple):
    """A dead letter.

    Attributes:
        seq: Its place.
        subject: As it was put.
        headers: As they were put.
        data: The bytes nobody could act on.
        time_ns: The server's time for it.
    """

    seq: int
    subject: str
    headers: Mapping[str, str]
    data: bytes
    time_ns: int = 0


class DeadLetters(Protocol):
    """Where messages go that nothing more can be done with, bytes and reason together."""

    def put(self, subject: str, data: bytes, *, headers: Mapping[str, str], id: str) -> Awaitable[object]:
        """Keep a message. `subject` is relative: `{task}.{run}.{step}`."""
        ...

    async def find(self, subject: str) -> list[Letter]:
        """Those under a relative subject, in which `*` stands for one word and `>` for the rest; oldest first."""
        ...

    async def at(self, seq: int) -> Letter | None:
        """The one at a sequence; None when there is none, or none any more."""
        ...

    async def remove(self, seq: int) -> None:
        """Forget one; one that is not there is fine."""
        ...

    async def count(self) -> int:
        """How many there are."""
        ...
