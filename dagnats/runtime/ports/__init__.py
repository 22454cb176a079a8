"""What the shell needs from the world, as protocols. `runtime.jetstream` provides them on NATS.

Ports carry bytes: what they mean is decided above them. Every write takes the id that makes repeating it harmless.
A write that is not `async` is on its way when it returns, so that many can be under way; awaiting what it gave waits
until it is stored, and repeats it for as long as NATS does not answer. Where a write takes `within_s`, the repeating
ends then with UnavailableError, outcome unknown: the server forgets ids, and a repetition after that could be stored
twice. Every other call may raise UnavailableError: NATS did not answer, call again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dagnats.runtime.ports.attempt import (
    MOST_CHUNK_BYTES,
    MOST_CHUNKS,
    MOST_CHUNKS_BYTES,
    Checkpoint,
    Checkpoints,
    Chunk,
    Chunks,
    Pulses,
)
from dagnats.runtime.ports.event import EventFeed, Events, Happening, Signals, Waiters
from dagnats.runtime.ports.letter import DeadLetters, Letter
from dagnats.runtime.ports.log import Entry, Log, LogCut, LogFeed, Receipt
from dagnats.runtime.ports.people import Audit, Board, Directory, Inquiries, Notices, Shown, Tokens
from dagnats.runtime.ports.server import Defect, Holding, JetStreamOff, Overview, Peer, Room, Server, StoreFull, Sync
from dagnats.runtime.ports.store import Blobs, Cell, Claims, Definitions, Dial, Secrets, Snapshots, Stored
from dagnats.runtime.ports.task import (
    LOOK_S,
    Fill,
    HeldTask,
    OwnTask,
    Queued,
    QueueState,
    TaskDelivery,
    TaskFeed,
    TaskKeeper,
    TaskQueue,
)
from dagnats.runtime.ports.telemetry import Held, Piece, Telemetry
from dagnats.runtime.ports.timer import Clock, Outstanding, Timers, Wakeup, WakeupFeed
from dagnats.runtime.ports.trigger import Records, Requests, Tenures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "LOOK_S",
    "MOST_CHUNKS",
    "MOST_CHUNKS_BYTES",
    "MOST_CHUNK_BYTES",
    "Audit",
    "Blobs",
    "Board",
    "Cell",
    "Checkpoint",
    "Checkpoints",
    "Chunk",
    "Chunks",
    "Claims",
    "Clock",
    "Connection",
    "DeadLetters",
    "Defect",
    "Definitions",
    "Dial",
    "Directory",
    "EngineFeeds",
    "Entry",
    "EventFeed",
    "Events",
    "Fill",
    "Happening",
    "Held",
    "HeldTask",
    "Holding",
    "Inquiries",
    "JetStreamOff",
    "Letter",
    "Log",
    "LogCut",
    "LogFeed",
    "Notices",
    "Outstanding",
    "Overview",
    "OwnTask",
    "Peer",
    "Piece",
    "Ports",
    "Pulses",
    "QueueState",
    "Queued",
    "Receipt",
    "Records",
    "Requests",
    "Room",
    "Secrets",
    "Server",
    "Shown",
    "Signals",
    "Snapshots",
    "StoreFull",
    "Stored",
    "Sync",
    "TaskDelivery",
    "TaskFeed",
    "TaskKeeper",
    "TaskQueue",
    "Telemetry",
    "Tenures",
    "Timers",
    "Tokens",
    "Waiters",
    "Wakeup",
    "WakeupFeed",
    "WorkerFeeds",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything behind one connection."""

    server: Server
    room: Room
    log: Log
    tasks: TaskQueue
    snapshots: Snapshots
    definitions: Definitions
    timers: Timers
    dead_letters: DeadLetters
    telemetry: Telemetry
    claims: Claims
    blobs: Blobs
    imports: Blobs
    """Runs of other installations: they are no part of the log."""
    events: Events
    waiters: Waiters
    signals: Signals
    checkpoints: Checkpoints
    pulses: Pulses
    chunks: Chunks
    notices: Notices
    inquiries: Inquiries
    directory: Directory
    secrets: Secrets
    tokens: Tokens
    audit: Audit
    lease: Cell
    position: Cell
    correlated: Cell
    """How far the events are compared with what waits for them."""
    dial: Dial
    board: Board
    trigger_types: Records
    triggers: Records
    tenures: Tenures
    requests: Requests
    clock: Clock


class EngineFeeds(Protocol):
    """Opens what only an engine reads."""

    async def history(self, after: int) -> LogFeed:
        """The log behind sequence `after`. Raises LogCut when it ends before that."""
        ...

    async def wakeups(self) -> WakeupFeed: ...

    async def events(self, after: int) -> EventFeed:
        """The events behind sequence `after`. Raises LogCut when they end before that."""
        ...


class WorkerFeeds(Protocol):
    """Opens what only a worker reads."""

    async def tasks(self, task_type: str, *, ack_wait_s: float, most: int, group: str = "") -> TaskFeed:
        """The queue of one task type, or of one group of its workers.

        Raises:
            ConflictError: The queue of another task type or group already covers these subjects.
        """
        ...

    def keeper(
        self, held: Callable[[], Sequence[TaskDelivery]], *, every_s: float, look: Callable[[], None]
    ) -> TaskKeeper:
        """Keep all that is `held`, so often, from now on.

        Where the event loop may be blocked, `held` and `look` are called from a thread that does not depend on it;
        `look` every `LOOK_S` seconds. Where time is virtual there is no such thread, and `look` is never called.
        """
        ...

    def cancellations(self, told: Callable[[str, bytes], None]) -> Callable[[], None]:
        """Call `told` with run id and data of every `TaskQueue.cancel` from now on; what is returned ends it."""
        ...


class Connection(Protocol):
    """An open connection, as a client and a worker share it."""

    @property
    def ports(self) -> Ports: ...

    @property
    def feeds(self) -> WorkerFeeds: ...

    async def close(self) -> None: ...
