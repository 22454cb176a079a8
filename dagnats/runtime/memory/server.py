"""What outlives every process: streams, consumers, clock. `connect` gives what a connection to NATS gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.runtime.memory.adapter import Memory
from dagnats.runtime.memory.clock import MemoryClock
from dagnats.runtime.memory.consumer import Consumer
from dagnats.runtime.memory.link import Link
from dagnats.runtime.memory.queue import subject_of
from dagnats.runtime.memory.stream import MAX_PAYLOAD_BYTES, WINDOW_S, Stream
from dagnats.runtime.memory.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.memory.stream import Message
    from dagnats.runtime.ports import Clock

_DAY_S = 24 * 3600.0
_WAKEUP_ACK_WAIT_S = 5.0
_EVENT_WINDOW_S = 120.0


class MemoryServer:
    """A server in memory. Make it inside a running event loop; it lives as long as that.

    Args:
        window_s: How long the log and the queues remember ids.
        max_payload_bytes: The largest message it takes.

    Attributes:
        clock: Its clock, and its clients' unless they have their own.
        timetable: Its timers.
        notices: What was sent once, to nobody in particular: subject and data.
        inquiries: Who answers which question.
        answerers: Who answers the requests of a subject, and by which connection.
        keys: Keys that all parts share.
        shown: How far the engine is, as operators see it.
    """

    def __init__(self, *, window_s: float = WINDOW_S, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self.clock = MemoryClock()
        self.timetable = Timetable(self.clock)

        def stream(*, window_s: float = WINDOW_S, newest_only: bool = False, largest: int | None = max_payload_bytes):
            return Stream(self.clock, window_s=window_s, newest_only=newest_only, max_payload_bytes=largest)

        self.history = stream(window_s=window_s)
        self.tasks = stream(window_s=window_s)
        self.own_tasks = stream(window_s=window_s)
        self.timers = stream()
        self.letters = stream(window_s=_DAY_S)
        self.telemetry = stream()
        self.engine = stream(newest_only=True)
        self.runs = stream(newest_only=True, largest=None)
        self.definitions = stream(newest_only=True)
        self.blobs = stream(newest_only=True, largest=None)
        self.imports = stream(newest_only=True, largest=None)
        self.events = stream(window_s=_EVENT_WINDOW_S)
        self.waiters = stream(newest_only=True)
        self.signals = stream(newest_only=True)
        self.checkpoints = stream(newest_only=True)
        self.pulses = stream(newest_only=True)
        self.chunks = stream()
        self.tokens = stream(newest_only=True)
        self.audit = stream()
        self.trigger_types = stream(newest_only=True)
        self.triggers = stream(newest_only=True)
        self.wakeups = Consumer(self.timers, self.timetable, "due.>", _WAKEUP_ACK_WAIT_S)
        self.claims: dict[str, tuple[str, int]] = {}
        """Who has a name, and until when."""
        self.directory: dict[str, tuple[bytes, Link]] = {}
        """Workers, and by which connection they are shown."""
        self.queues: dict[tuple[str, str], Consumer] = {}
        self.owners: dict[str, Consumer] = {}
        """The consumers of tasks for one worker alone, by their subjects."""
        self.cancellations: list[tuple[Callable[[str, bytes], None], Link]] = []
        self.notices: list[tuple[str, bytes]] = []
        self.inquiries: dict[str, Callable[[bytes], Awaitable[bytes]]] = {}
        self.answerers: dict[str, list[tuple[Callable[[bytes], Awaitable[bytes]], Link]]] = {}
        self.keys: dict[str, bytes] = {}
        self.board: dict[tuple[str, str], bytes] = {}
        """What the gates hold, for people."""
        self.generation = 0
        """How often it was restarted."""
        self.shown = 0
        self._links: list[Link] = []

    def connect(self, link: Link | None = None, *, clock: Clock | None = None) -> Memory:
        """Open a connection; one that is opened in a `Process` dies with it.

        Args:
            link: The way here and back; one that works unless said.
            clock: The client's own clock.
        """
        link = link or Link()
        self._links.append(link)
        return Memory(self, link, clock or self.clock)

    def queue(self, task_type: str, group: str, ack_wait_s: float) -> Consumer:
        """The consumer of a task type's workers, or a group of them; whoever asks first sets its ack wait.

        Raises:
            ConflictError: Another type and group have these subjects already.
        """
        queue = self.queues.get((task_type, group))
        if queue is None:
            subjects = subject_of(task_type, group, "*")
            if any(other.pattern == subjects for other in self.queues.values()):
                raise ConflictError(
                    f"task type {task_type!r} in group {group!r} shares its subjects with another one",
                    hint="rename one of the task types, or the group",
                )
            queue = self.queues[task_type, group] = Consumer(self.tasks, self.timetable, subjects, ack_wait_s)
        return queue

    def own(self, pattern: str, ack_wait_s: float) -> Consumer:
        """The consumer of one worker's own tasks of a type."""
        consumer = self.owners.get(pattern)
        if consumer is None:
            consumer = self.owners[pattern] = Consumer(self.own_tasks, self.timetable, pattern, ack_wait_s)
        return consumer

    def arm(self, timer: Message | None) -> None:
        """Have a timer fire when it is due."""
        if timer is not None:
            self.timetable.at(int(timer.data), lambda: self._fire(timer))

    def _fire(self, timer: Message) -> None:
        # A subject has one timer, its newest: else this one has fired, was replaced, or dropped, or lost.
        if self.timers.last(timer.subject) is timer:
            self.timers.put(f"due{timer.subject.removeprefix('sleep')}", timer.data)
            self.timers.purge(timer.subject)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All of them."""
        return (
            self.history,
            self.tasks,
            self.own_tasks,
            self.timers,
            self.letters,
            self.telemetry,
            self.engine,
            self.runs,
            self.definitions,
            self.blobs,
            self.imports,
            self.events,
            self.waiters,
            self.signals,
            self.checkpoints,
            self.pulses,
            self.chunks,
            self.tokens,
            self.audit,
            self.trigger_types,
            self.triggers,
        )

    def restart(self, *, lost_events: int = 0, lost_tasks: int = 0) -> None:
        """Stop and start: connections are lost, ids of messages that are gone are forgotten.

        Args:
            lost_events: How many of the newest events the disk did not get; nothing knows of them any more.
            lost_tasks: The same of the task queue.
        """
        self.generation += 1
        for stream, lost in ((self.history, lost_events), (self.tasks, lost_tasks)):
            if lost:
                stream.cut(max(stream.last_seq - lost, 0))
        for stream in self.streams:
            stream.forget_ids()
        for consumer in (self.wakeups, *self.queues.values(), *self.owners.values()):
            consumer.restart()
        for timer in self.timers.fitting("sleep.>"):
            self.arm(timer)
        self._links = [link for link in self._links if not (link.dead or link.closed)]
        for link in self._links:
            link.lose()

    def interrupt(self, share: Callable[[], float]) -> None:
        """Lose connections, which come back at once: those for which `share` gives less than a half."""
        for link in self._links:
            if not (link.dead or link.closed) and share() < 0.5:
                link.lose()
