"""Events from outside, who waits for them, and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.ports.log import Receipt


class Happening(NamedTuple):
    """An event from outside.

    Attributes:
        seq: Its place.
        time_ns: The server's time for it.
        type: Its type; dots are part of it.
        data: Its body; nobody has looked whether it is JSON.
    """

    seq: int
    time_ns: int
    type: str
    data: bytes


class Events(Protocol):
    """Events from outside, which runs wait for."""

    def publish(self, type: str, data: bytes, *, id: str) -> Awaitable[Receipt]:
        """Publish an event, for as long as it takes. Awaiting it raises RefusedError when it will never be taken."""
        ...

    async def page(self, type: str, *, since_ns: int, after: int, upto: int) -> list[Happening]:
        """The first events of exactly this type that came at `since_ns` or later, with sequences above `after` and up
        to `upto`, in order: some of them. None: there are no more."""
        ...

    async def last(self) -> int:
        """The sequence of the newest event of any type; 0 when there was none."""
        ...

    async def at(self, seq: int) -> Happening | None:
        """The event at a sequence; None when there is none, or none any more."""
        ...


class EventFeed(Protocol):
    """The events as one engine reads them: in order, from where it was opened."""

    async def batch(self) -> list[Happening]:
        """The next events, at least one; waits for them. Raises LogCut."""
        ...

    async def close(self) -> None: ...


class Waiters(Protocol):
    """What waits for events, so that an engine that takes over knows of it."""

    def put(self, run_id: str, step_id: str, attempt: int, data: bytes) -> Awaitable[object]:
        """Store a waiter, in place of one with the same name. Awaiting it may raise RefusedError."""
        ...

    async def drop(self, run_id: str, step_id: str, attempt: int) -> None:
        """Forget one; one that is not there is fine."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...

    async def all(self) -> list[bytes]:
        """All of them, in no order."""
        ...


class Signals(Protocol):
    """The newest signal of each name that a run was sent, for workers that do not read histories."""

    def put(self, run_id: str, name: str, data: bytes) -> Awaitable[object]:
        """Show a signal. Awaiting it raises RefusedError when the name cannot be shown, or the data is too large."""
        ...

    async def newest(self, run_id: str, name: str) -> bytes | None:
        """What is shown; None for nothing."""
        ...

    async def remove(self, run_id: str) -> None:
        """Show none of a run's any more."""
        ...
