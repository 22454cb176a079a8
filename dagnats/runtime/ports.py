"""What the shell needs from the world, as protocols. `runtime.jetstream` provides them on NATS.

Ports carry bytes: what they mean is decided above them. Every write takes the id that makes repeating it harmless.
A write that is not `async` is on its way when it returns, so that many can be under way; awaiting what it gave waits
until it is stored, and repeats it for as long as NATS does not answer. Where a write takes `within_s`, the repeating
ends then with UnavailableError, outcome unknown: the server forgets ids, and a repetition after that could be stored
twice. Every other call may raise UnavailableError: NATS did not answer, call again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence


class Clock(Protocol):
    """The wall clock of the machine. It may be wrong, and be set; durations are measured by the event loop's time."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        ...


class Entry(NamedTuple):
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


class Receipt(NamedTuple):
    """A stream's answer to a write: its place, and whether the same id was there before."""

    seq: int
    duplicate: bool


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


class OwnTask(NamedTuple):
    """A task that is for one worker alone.

    Attributes:
        worker_id: For whom.
        task_type: Its type.
        run_id, step_id, attempt: What it is.
    """

    worker_id: str
    task_type: str
    run_id: str
    step_id: str
    attempt: int


class TaskQueue(Protocol):
    """Where tasks wait for workers."""

    def put(
        self, task_type: str, run_id: str, data: bytes, *, id: str, group: str = "", within_s: float | None = None
    ) -> Awaitable[Receipt]:
        """Queue a task, for one group of workers if it says so.

        Awaiting it raises RefusedError when the queue will never take it.
        """
        ...

    async def drop(self, task_type: str, run_id: str, *, upto: int) -> None:
        """Forget a run's tasks of one type, of all groups, up to sequence `upto`: nobody waits for them any more.

        It may be late. What has been queued since belongs to the same run, opened again.
        """
        ...

    def put_own(self, task: OwnTask, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        """Queue a task for one worker alone. The receipt's sequence is not one of the other tasks'."""
        ...

    async def drop_own(self, task: OwnTask) -> None:
        """Forget a task that is for one worker alone; one that is not there is fine. Whoever has it keeps it."""
        ...

    async def drop_all_own(self, task_type: str, run_id: str) -> None:
        """Forget all tasks of a type and a run that are for one worker alone. The name is nobody's any more."""
        ...

    async def waiting(self, task_type: str, run_id: str, *, group: str = "") -> list[bytes]:
        """A run's tasks of one type and group that are queued, or in the hands of a worker that has not acknowledged
        them. Without a group, those that are for one worker alone are among them."""
        ...

    async def page(self, *, after: int, count: int) -> list[Queued]:
        """Up to `count` tasks of all types behind sequence `after`, in order, whether a worker has them or not."""
        ...

    async def remove(self, seq: int) -> None:
        """Forget one task; one that is not there is fine."""
        ...

    async def shut(self, task_types: Sequence[str]) -> None:
        """Hand out no tasks of these types until further notice, and those of all other types again."""
        ...

    async def forget(self, task_type: str) -> None:
        """Have no queue of this type any more: nobody serves it, nor will. One that is not there is fine."""
        ...

    async def last(self) -> int:
        """The sequence of the newest task that was ever queued; 0 when there was none."""
        ...

    async def fill(self) -> Fill:
        """How much is in all queues together."""
        ...

    async def overview(self) -> list[QueueState]:
        """Every queue that has tasks, or had workers, by name."""
        ...

    def cancel(self, run_id: str, data: bytes) -> None:
        """Tell all workers to stop what they do for a run. Sent once, not stored: nothing depends on it."""
        ...

    def held(self, address: str) -> HeldTask:
        """The task that was handed out under `TaskDelivery.address`, to this connection or another one."""
        ...


class Fill(NamedTuple):
    """How full the queues are.

    Attributes:
        tasks: How many tasks there are, whether a worker has them or not.
        share: How much of what the server lets them take is taken, from 0 to 1; 0 when it sets no bounds.
    """

    tasks: int
    share: float


class Queued(NamedTuple):
    """A task as it lies in its queue.

    Attributes:
        seq: Its place.
        run_id: Whose it is, as the subject says.
        data: Its bytes.
    """

    seq: int
    run_id: str
    data: bytes


class QueueState(NamedTuple):
    """The queue of one task type.

    Attributes:
        name: The task type; with the group of workers behind a dot, where a step names one.
        waiting: Tasks nobody has.
        in_flight: Tasks that workers have.
        redelivered: Of these, the ones handed out more than once.
        ack_wait_s: How long a worker may be silent; 0 when no worker was ever there.
        pulls: How many requests of workers for more tasks are open.
        oldest_ns: The server's time for the oldest task that is not done; 0 when there is none.
    """

    name: str
    waiting: int
    in_flight: int
    redelivered: int
    ack_wait_s: float
    pulls: int
    oldest_ns: int


class HeldTask(Protocol):
    """A task somebody has, until it is acknowledged or handed back.

    What is said to the queue may be lost with a connection: then the task comes again, to this worker or another.
    """

    def acknowledge(self) -> None:
        """The result is stored: the task is done with."""
        ...

    def keep(self) -> None:
        """Still working on it: do not hand it to anybody else yet."""
        ...

    def hand_back(self, delay_s: float = 0.0) -> None:
        """Somebody else should do it, `delay_s` from now."""
        ...


class TaskDelivery(HeldTask, Protocol):
    """A task handed to this worker."""

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

    @property
    def address(self) -> str:
        """What finds it again from any other connection, for as long as it is held: see `TaskQueue.held`. No two
        deliveries have the same."""
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

    async def open_own(self, worker_id: str) -> None:
        """Give the tasks that are for this worker alone too, from now on and before all others."""
        ...

    def hand_back(self) -> None:
        """Give back the tasks that arrived and were not taken yet."""
        ...

    async def close(self) -> None:
        """Stop pulling. Tasks that were pulled and not taken go back to the queue."""
        ...


LOOK_S = 0.25
"""How often a keeper looks whether the event loop still goes round."""


class TaskKeeper(Protocol):
    """Tells the queue that tasks are being worked on, whatever their handlers do to the event loop."""

    async def close(self) -> None:
        """Keep nothing more."""
        ...


class Stored(NamedTuple):
    """A stored value.

    Attributes:
        revision: What a compare-and-set needs.
        time_ns: The server's time for it.
        used_ns: Of a version of a definition: when it was last known to be needed.
    """

    revision: int
    data: bytes
    time_ns: int = 0
    used_ns: int = 0


class Snapshots(Protocol):
    """Runs as they were at some event: a cache of the log. Of any size."""

    async def load(self, run_id: str) -> Stored | None:
        """A run's snapshot. One that cannot be put together has data that no decoder takes."""
        ...

    def save(self, run_id: str, data: bytes, *, revision: int) -> Awaitable[int]:
        """Replace revision `revision` (0: there is none) and give the new one.

        Awaiting it raises ConflictError when another revision is there, which may be this very snapshot, stored by a
        try whose answer was lost; RefusedError when it will never be taken.
        """
        ...

    async def purge(self) -> None:
        """Forget all of them."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget a run's."""
        ...


class Definitions(Protocol):
    """Registered workflows: every version under its content hash, the newest under the name."""

    async def newest(self, name: str) -> Stored | None: ...

    async def version(self, name: str, identity: str) -> bytes | None: ...

    async def versions(self, name: str) -> dict[str, Stored]:
        """Every version of a name by its content hash, in no order."""
        ...

    async def add_version(self, name: str, identity: str, data: bytes) -> None:
        """Have a version stored, and known to be needed today; one that is there already keeps its content.

        To be called before a run is started by it, and before another one is made the newest in its place.
        """
        ...

    async def remove_version(self, name: str, identity: str, *, revision: int) -> None:
        """Forget a version. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def set_newest(self, name: str, data: bytes, *, revision: int) -> None:
        """Point the name at a definition. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def remove(self, name: str, *, revision: int) -> None:
        """Forget a name; its versions stay. Raises ConflictError when `revision` is not the stored one."""
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


class Claims(Protocol):
    """Names that the first one to ask for them gets, for a day."""

    async def claim(self, name: str, owner: str) -> str:
        """Who has `name`, a key of letters and digits: `owner` from now on, unless somebody had it already."""
        ...


class Blobs(Protocol):
    """Payloads that are too large for a message, each under its run and the SHA-256 of its bytes."""

    async def put(self, run_id: str, sha256: str, data: bytes) -> None:
        """Store `data`, which is not empty, for as long as it takes. Storing it again changes nothing.

        Raises:
            RefusedError: It will never be taken.
        """
        ...

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        """What is stored for `size` bytes: the asker checks it. None when it is not there, or not all of it."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...

    async def run_ids(self) -> list[str]:
        """The runs that have some."""
        ...

    async def newest_ns(self, run_id: str) -> int:
        """The server's time for the last that was stored of a run's; 0 when it has none."""
        ...


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


class Checkpoint(NamedTuple):
    """What a step has stored of its own.

    Attributes:
        revision: What a compare-and-set needs.
        data: As it was stored.
        attempt: Who stored it; 0 for a worker that does not say.
        note: What we have stored with it; b"" for a worker that does not know of notes.
    """

    revision: int
    data: bytes
    attempt: int = 0
    note: bytes = b""


class Checkpoints(Protocol):
    """One value of each step, which its next attempt finds."""

    async def load(self, run_id: str, step_id: str) -> Checkpoint | None: ...

    async def save(
        self, run_id: str, step_id: str, data: bytes, *, attempt: int, note: bytes = b"", revision: int
    ) -> int:
        """Replace revision `revision` (0: there is none) and give the new one. Tried once.

        Raises:
            ConflictError: Another revision is there, or this one, from a try that got no answer.
            RefusedError: It will never be taken.
        """
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...


class Pulses(Protocol):
    """The newest that each running step has said of itself: for its next attempt, and for people."""

    async def put(self, run_id: str, step_id: str, data: bytes) -> None:
        """Show it in place of the last one. Raises RefusedError when it will never be taken."""
        ...

    async def newest(self, run_id: str, step_id: str) -> bytes | None: ...

    async def of(self, run_id: str) -> dict[str, bytes]:
        """Those of all steps of a run."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...


MOST_CHUNKS = 10_000
"""So many chunks are kept of each step."""

MOST_CHUNKS_BYTES = 16 * 1024 * 1024
"""So many bytes are kept of each step's chunks, a little more at times."""

MOST_CHUNK_BYTES = 256 * 1024
"""So many bytes a chunk has at most."""


class Chunk(NamedTuple):
    """A piece of what a step streams.

    Attributes:
        offset: Its place among the step's, from 0. The oldest are forgotten when there are too many: then the first
            that can be read has a larger one. Chunks of workers that do not number them are counted from the last one
            before them that has a number, or from the oldest that is kept.
        data: Its bytes.
        attempt: Who streamed it; 0 for a worker that does not say.
        time_ns: The server's time for it.
    """

    offset: int
    data: bytes
    attempt: int = 0
    time_ns: int = 0


class Chunks(Protocol):
    """What steps stream while they run. Whoever comes late can read what was streamed already."""

    async def append(self, run_id: str, step_id: str, data: bytes, *, attempt: int) -> int:
        """Add a chunk behind the step's others, for as long as it takes; gives its offset.

        Raises:
            RefusedError: It has more than `MOST_CHUNK_BYTES`, or will never be taken.
        """
        ...

    async def read(self, run_id: str, step_id: str, *, start: int = 0) -> list[Chunk]:
        """A step's chunks from offset `start`, in order."""
        ...

    def watch(self, run_id: str, step_id: str, *, start: int = 0) -> AsyncGenerator[Chunk]:
        """A step's chunks from offset `start`, then the ones that follow, without end."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...


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


class Secrets(Protocol):
    """Keys that all parts of a server share."""

    async def key(self, name: str) -> bytes:
        """32 random bytes, made by whoever asks first. `name` is letters and dashes."""
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


class Cell(Protocol):
    """One value that engines share, replaced by compare-and-set."""

    async def read(self) -> Stored | None: ...

    async def write(self, data: bytes, *, revision: int) -> int:
        """Replace revision `revision` (0: there is none) and give the new one. Raises ConflictError."""
        ...

    async def changed(self, most_s: float) -> None:
        """Return when somebody may have written it, or after `most_s` at the latest."""
        ...


class Dial(Protocol):
    """Where operators see how far the engine is: the durable consumer `orchestrator`."""

    async def show(self, seq: int) -> None:
        """Everything up to `seq` is decided. May raise any DagnatsError; nothing depends on it."""
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


class Overview(NamedTuple):
    """The server as `dagnats status` shows it."""

    jetstream: bool
    streams: int
    runs: int
    """Runs that have a history. DagNats's own histories are no runs."""


Sync = Literal["interval", "always"]
"""When the server's writes are on disk: every so often (each is acknowledged before), or before each answer. With
`always`, writes that wait together are stored together."""


class Defect(NamedTuple):
    """What is not as `Server.prepare` makes it.

    Attributes:
        name: The stream's; a bucket is one as well.
        kind: Whether it is missing, or there in another shape. `off`: the server stores nothing at all. `no-consumer`:
            the name is that of a consumer which the engine makes when it begins to lead.
        detail: What differs; of a consumer, its stream.
    """

    name: str
    kind: Literal["missing", "differs", "off", "no-consumer"]
    detail: str = ""


class Holding(NamedTuple):
    """How full the store is: bytes that are used, and how many may be; 0 for no limit that the server tells."""

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
