"""The history, as it is written and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable


class Entry(msgspec.Struct, frozen=True, gc=False):  # made for every message: a NamedTuple takes twice as long
    """A message of the log.

    Attributes:
        seq: Its place.
        time_ns: The server's time for it.
        run_id: Whose history it is in.
        data: Its bytes.
        first: Whether it is known to be the first of its run, and never seen by an engine before.
    """

    seq: int
    time_ns: int
    run_id: str
    data: bytes
    first: bool = False


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """A stream's answer to a write: its place, and whether the same id was there before."""

    seq: int
    duplicate: bool = False


class Log(Protocol):
    """The history of all runs, in one order."""

    def append(self, run_id: str, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        """Add an event to a run's history, for as long as it takes; a repeated id gives the first one's receipt.

        Awaiting it raises RefusedError when the log will never take this event.
        """
        ...

    async def append_after(self, run_id: str, data: bytes, *, id: str, last: int) -> Receipt:
        """Add an event if `last` is still the sequence of the run's last one (0: it has none). Tried once.

        Raises:
            ConflictError: Another event was there first, or this one was, from a try that got no answer.
            RefusedError: The log will never take this event.
        """
        ...

    async def append_new(self, run_id: str, data: bytes, *, id: str, of: str, last: int) -> Receipt:
        """Add the first event of a run whose id was made up for it, if `last` is still the last of history `of`.

        Tried once. Raises like `append_after`.
        """
        ...

    async def first(self, run_id: str) -> int:
        """The sequence of a run's first event; 0 when it has none."""
        ...

    async def read(self, run_id: str, *, after: int = 0) -> list[Entry]:
        """A run's events with sequences above `after`, in order."""
        ...

    def watch(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Entry]:
        """A run's events above `after`, then the ones that follow, without end."""
        ...

    async def wait_for(self, run_id: str, kinds: tuple[bytes, ...], *, after: int = 0) -> Entry:
        """Wait for an event of a run, above `after`, that begins with one of `kinds`."""
        ...

    async def run_ids(self, prefix: str = "") -> list[str]:
        """The runs whose ids begin with `prefix`."""
        ...

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Entry]:
        """The last `count` entries of the whole log below sequence `before` (0: its end), oldest first."""
        ...

    async def last(self) -> int:
        """The sequence of the newest entry; 0 for an empty log."""
        ...

    async def page(self, *, after: int, count: int) -> list[Entry]:
        """Up to `count` entries of the whole log above `after`, in order."""
        ...

    async def newest(self, run_id: str) -> Entry | None:
        """A run's newest event; None when it has none."""
        ...

    async def remove(self, run_id: str, *, upto: int) -> None:
        """Remove a run's events up to sequence `upto`."""
        ...

    async def at(self, seq: int) -> Entry | None:
        """The entry at a sequence; None when there is none, or none any more."""
        ...

    async def id_window_s(self) -> float:
        """How long the server remembers the ids of events and tasks."""
        ...


class LogCut(Exception):
    """The log ends before, or differs from, what was read of it: its tail was lost."""


class LogFeed(Protocol):
    """The log as one engine reads it: in order, from where it was opened. Nobody else hears of it."""

    async def batch(self) -> list[Entry]:
        """The next entries, at least one; waits for them. Raises LogCut."""
        ...

    async def close(self) -> None: ...
