"""What the shell needs from the world, as protocols. `runtime.jetstream` provides them on NATS.

Ports carry bytes: what they mean is decided above them. Every write takes the id that makes repeating it harmless,
and every call may raise UnavailableError: NATS did not answer, call again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


class Entry(NamedTuple):
    """A message of the log: its place, the server's time for it, whose history it is in, and its bytes."""

    seq: int
    time_ns: int
    run_id: str
    data: bytes


class Log(Protocol):
    """The history of all runs, in one order."""

    async def append(self, run_id: str, data: bytes, *, id: str, expected_last: int | None = None) -> int:
        """Add an event to a run's history and give its sequence; a repeated id gives the first one's.

        Args:
            run_id: Whose history.
            data: The event.
            id: The message id.
            expected_last: The sequence of the last event of this run the caller knows (0: there is none).

        Raises:
            ConflictError: Another event was there first.
            RefusedError: The log will never take this event.
        """
        ...

    async def first(self, run_id: str) -> int:
        """The sequence of a run's first event; 0 when it has none."""
        ...

    async def read(self, run_id: str, *, after: int = 0) -> list[Entry]:
        """A run's events with sequences above `after`, in order."""
        ...

    def watch(self, run_id: str, *, after: int = 0) -> AsyncIterator[Entry]:
        """A run's events above `after`, then the ones that follow, without end."""
        ...

    async def run_ids(self, prefix: str = "") -> list[str]:
        """The runs whose ids begin with `prefix`."""
        ...

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Entry]:
        """The last `count` entries of the whole log below sequence `before` (0: its end), oldest first."""
        ...


class LogFeed(Protocol):
    """The log as the engine reads it: in order, each batch acknowledged when its decisions are safe."""

    async def batch(self) -> list[Entry]:
        """The next entries, at least one; waits for them."""
        ...

    async def acknowledge(self, seq: int) -> None:
        """Everything up to `seq` is dealt with: a restart begins behind it."""
        ...

    async def close(self) -> None: ...


class TaskQueue(Protocol):
    """Where tasks wait for workers."""

    async def put(self, task_type: str, run_id: str, data: bytes, *, id: str) -> None:
        """Queue a task. Raises RefusedError when the queue will never take it."""
        ...


class TaskDelivery(Protocol):
    """A task handed to this worker, until it is acknowledged or handed back."""

    @property
    def run_id(self) -> str:
        """The run, as the subject names it: readable even when the bytes are not."""
        ...

    @property
    def data(self) -> bytes: ...

    @property
    def deliveries(self) -> int:
        """How often this task was handed out, this time included."""
        ...

    async def acknowledge(self) -> None:
        """The result is stored: the task is done with."""
        ...

    async def keep(self) -> None:
        """Still working on it: do not hand it to anybody else yet."""
        ...

    async def hand_back(self, delay_s: float = 0.0) -> None:
        """Somebody else should do it, `delay_s` from now."""
        ...


class TaskFeed(Protocol):
    """The tasks of one type, as a worker pulls them."""

    @property
    def ack_wait_s(self) -> float:
        """How long a worker may be silent about a task before another one gets it: the queue's own setting."""
        ...

    async def take(self, room: int) -> list[TaskDelivery]:
        """Up to `room` tasks, at least one; waits for them. One call at a time."""
        ...

    async def close(self) -> None:
        """Stop pulling. Tasks that were pulled and not taken go back to the queue."""
        ...


class Snapshots(Protocol):
    """Runs as they were at some event: a cache of the log."""

    async def load(self, run_id: str) -> bytes | None: ...

    async def save(self, run_id: str, data: bytes) -> None: ...

    async def count(self) -> int:
        """How many runs have one."""
        ...


class Stored(NamedTuple):
    """A stored value and the revision that a compare-and-set needs."""

    revision: int
    data: bytes


class Definitions(Protocol):
    """Registered workflows: every version under its content hash, the newest under the name."""

    async def newest(self, name: str) -> Stored | None: ...

    async def version(self, name: str, identity: str) -> bytes | None: ...

    async def add_version(self, name: str, identity: str, data: bytes) -> None:
        """Store a version; a version that is there already stays."""
        ...

    async def set_newest(self, name: str, data: bytes, *, revision: int) -> None:
        """Point the name at a definition. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def names(self) -> list[str]: ...


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

    async def acknowledge(self) -> None: ...


class Timers(Protocol):
    """Durable wake-ups."""

    async def set(self, run_id: str, *, due_ns: int, seq: int, id: str) -> None:
        """Wake the run at `due_ns` (never early)."""
        ...


class WakeupFeed(Protocol):
    """Wake-ups that came due."""

    async def batch(self) -> Sequence[Wakeup]:
        """The next ones, at least one; waits for them."""
        ...

    async def close(self) -> None: ...


class DeadLetters(Protocol):
    """Where messages go that nothing more can be done with, bytes and reason together."""

    async def put(self, subject: str, data: bytes, *, headers: Mapping[str, str], id: str) -> None:
        """Keep a message. `subject` is relative: `{task}.{run}.{step}`."""
        ...


class Overview(NamedTuple):
    """The server as `dagnats status` shows it."""

    jetstream: bool
    streams: int
    runs: int
    """Runs that have a history."""


class Server(Protocol):
    """The NATS server itself."""

    async def overview(self) -> Overview: ...

    async def prepare(self) -> None:
        """Create what is missing. Raises ConflictError, with the difference, for what exists but differs."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything behind one connection."""

    server: Server
    log: Log
    tasks: TaskQueue
    snapshots: Snapshots
    definitions: Definitions
    timers: Timers
    dead_letters: DeadLetters


class EngineFeeds(Protocol):
    """Opens what only an engine reads."""

    async def history(self) -> LogFeed: ...

    async def wakeups(self) -> WakeupFeed: ...


class WorkerFeeds(Protocol):
    """Opens what only a worker reads."""

    async def tasks(self, task_type: str, *, ack_wait_s: float, most: int) -> TaskFeed:
        """The queue of one task type.

        Raises:
            ConflictError: Another task type's queue already covers these subjects.
        """
        ...


class Connection(Protocol):
    """An open connection, as a client and a worker share it."""

    @property
    def ports(self) -> Ports: ...

    @property
    def feeds(self) -> WorkerFeeds: ...

    async def close(self) -> None: ...
