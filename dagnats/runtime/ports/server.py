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


class Holding(NamedTuple):
    """How full the store is, or the log in it if that is nearer its own limit: bytes that are used, and how many may
    be; 0 for no limit that the server tells."""

    used: int
    limit: int


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

    async def holding(self) -> Holding: ...

    async def peers(self) -> list[Peer]:
        """The servers that keep the log, the leading one first; none when there is one server, which needs no other."""
        ...

    async def sync(self) -> Sync:
        """When its writes are on disk, as whoever started it has noted."""
        ...

    async def start(self) -> str:
        """Which start of the server this is: another word after each; "" when it does not say."""
        ...

    async def prepare(self, *, sync: Sync | None = None) -> None:
        """Create what is missing, and note how the server stores, when it is known.

        Raises:
            ConflictError: Something exists in another shape; the message says what differs.
        """
        ...

    async def close(self) -> None: ...
