"""The server itself: what it is, has and lacks."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from dagnats.errors import UnavailableError


class Overview(NamedTuple):
    """The server as `dagnats status` shows it."""

    jetstream: bool
    streams: int
    runs: int
    """Runs that have a history. DagNats's own histories are no runs."""
    namespace: str = ""
    """What the server's names have before ours."""


Sync = Literal["interval", "always"]
"""When the server's writes are on disk: every so often (each is acknowledged before), or before each answer. With
`always`, writes that wait together are stored together."""


class JetStreamOff(UnavailableError):
    """NATS answers, and stores nothing. Its hint says what to do: until somebody has, trying again is of no use."""


class StoreFull(UnavailableError):
    """NATS has no room for a message. It takes it when somebody has made some."""


class Defect(NamedTuple):
    """What is not as `Server.prepare` makes it.

    Attributes:
        name: The stream's; a bucket is one as well.
        kind: Whether it is missing, or there in another shape. `off`: the server stores nothing at all. `no-consumer`:
            the name is that of a consumer which the engine makes when it begins to lead.
        detail: What differs; of a consumer, its stream; of a server that stores nothing, what to do.
    """

    name: str
    kind: Literal["missing", "differs", "off", "no-consumer"]
    detail: str = ""


Cap = Literal["", "log", "account", "server"]
"""What sets a limit to the bytes: nothing, the log's stream, the NATS account, or the server itself."""


class Holding(NamedTuple):
    """How full the store is, by the limit that is nearest.

    Attributes:
        used: The bytes that count against it: of the log, or of everything.
        limit: How many there may be; 0 for no limit that anybody tells.
        cap: Whose limit it is.
    """

    used: int
    limit: int
    cap: Cap = ""

    @property
    def share(self) -> float:
        """How much of it is used: from 0 to 1, and a little more where a last message was large."""
        return self.used / self.limit if self.limit else 0.0


class Room(Protocol):
    """Whether the store has room for something new."""

    async def expect(self, what: str, size: int = 0) -> None:
        """Return when it has room for `what` ("a run"), which brings so many bytes. Raises FullError."""
        ...


class Peer(NamedTuple):
    """One of the servers that keep the log.

    Attributes:
        name: What it is called.
        leads: Whether it is the one that takes writes.
        current: Whether it has all of the log, as far as the leader knows.
        online: Whether the leader hears of it.
        lag: How many writes it has not got.
    """

    name: str
    leads: bool
    current: bool
    online: bool
    lag: int = 0


class Server(Protocol):
    """The NATS server itself."""

    async def overview(self) -> Overview: ...

    async def defects(self) -> list[Defect]:
        """What `prepare` would make, or refuse; and what an engine would make that leads. Changes nothing."""
        ...

    async def holding(self) -> Holding:
        """How full it is just now; 0 of 0 where no limit is told."""
        ...

    async def peers(self) -> list[Peer]:
        """The servers that keep the log, the leading one first; none when there is one server, which needs no other."""
        ...

    async def sync(self) -> Sync:
        """When its writes are on disk, as whoever started it has noted."""
        ...

    async def start(self) -> str:
        """Which start of the server this is: another word after each; "" when it does not say."""
        ...

    async def prepare(self, *, sync: Sync | None = None, most_bytes: int = 0) -> None:
        """Create what is missing, and note how the server stores, when it is known.

        Args:
            sync: When its writes are on disk.
            most_bytes: How much it stores at most, which it tells nobody; 0 when only its operator knows.

        Raises:
            ConflictError: Something exists in another shape; the message says what differs.
        """
        ...

    async def close(self) -> None: ...
