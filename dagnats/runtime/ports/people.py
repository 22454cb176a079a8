"""What operators and callers ask and are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.ports.log import Entry
    from dagnats.runtime.ports.store import Stored


class Notices(Protocol):
    """Messages that are sent once and not stored: whoever listens hears them, and nothing depends on it."""

    def ask(self, subject: str, data: bytes) -> None:
        """Tell a NATS subject that a person's answer is wanted."""
        ...

    def respond(self, run_id: str, data: bytes) -> None:
        """Give the response to the HTTP request that started a run."""
        ...

    def end(self, entry: Entry) -> None:
        """Tell those who wait for a run that the log has its last event."""
        ...


class Inquiries(Protocol):
    """Questions that whoever serves answers: nothing is stored, and nothing depends on an answer."""

    def answer(self, question: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        """Answer each `question`, two words at most, from now on; what is returned ends it.

        A reply that raises a DagnatsError is told as such to whoever asked.
        """
        ...

    async def ask(self, question: str, data: bytes) -> bytes | None:
        """An answer; None when nobody is there who answers. Raises what the reply raised."""
        ...


class Directory(Protocol):
    """Which workers there are, for people to look at. A worker that is gone is not shown for long."""

    @property
    def renew_s(self) -> float:
        """How often an entry has to be put again to stay; 0: never."""
        ...

    async def put(self, worker_id: str, data: bytes) -> None:
        """Show a worker; `worker_id` is words of letters, digits, `_` and `-`, joined by dots."""
        ...

    async def remove(self, worker_id: str) -> None:
        """Show it no longer; one that is not shown is fine."""
        ...

    async def all(self) -> list[bytes]:
        """What is shown, in no order."""
        ...


class Tokens(Protocol):
    """What is stored of the access tokens, each by its id, which is letters and digits."""

    async def get(self, id: str) -> bytes | None: ...

    async def add(self, id: str, data: bytes) -> None:
        """Store one. Raises ConflictError when there is one by that id."""
        ...

    async def remove(self, id: str) -> None:
        """Forget one, for all who ask from now on; one that is not there is fine."""
        ...

    async def all(self) -> list[bytes]:
        """All of them, in no order."""
        ...


class Audit(Protocol):
    """What people and programs did, a record for each. The oldest are forgotten."""

    def append(self, data: bytes, *, id: str) -> Awaitable[object]:
        """Add a record, for as long as it takes. Awaiting it raises RefusedError when it will never be taken."""
        ...

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Stored]:
        """The last `count` records below `before` (0: the end), a `revision` each, oldest first."""
        ...


Shown = dict[tuple[str, str], bytes]
"""What is on the board, by bucket and key."""


class Board(Protocol):
    """What the gates hold, where people look: JSON in buckets. Nothing reads it but they."""

    async def all(self) -> Shown:
        """Everything that is shown."""
        ...

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        """Show something, in the place of what was there."""
        ...

    async def drop(self, bucket: str, key: str) -> None:
        """Show it no longer; what is not there is fine, in a bucket that is."""
        ...
