"""One task in a worker's hands: where it stands, and when somebody has to look after it."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from dagnats.handling.context import Stop
from dagnats.runtime.sweep import NEVER

if TYPE_CHECKING:
    import asyncio

    from dagnats.errors import DecodeError
    from dagnats.handling.handler import Handler
    from dagnats.model.event import Failure
    from dagnats.model.task import Task
    from dagnats.runtime.desk import Desk
    from dagnats.runtime.pool import PoolProcess
    from dagnats.runtime.ports import TaskDelivery
    from dagnats.runtime.slots import Slots

START_AFTER_S = 0.05  # attempts that end sooner carry their start in the result: one event fewer
SHORT_TIMEOUT_MS = 1_000  # attempts with less time than this announce themselves at once
BEATS = 3  # heartbeats in the time that a handler may be silent


class Attempt:
    """A delivered task, until it is acknowledged or handed back.

    Instants are the event loop's, `NEVER` for what will not come.

    Attributes:
        handler: Who runs it.
        delivery: What holds it.
        task: What it is, or why it cannot be read.
        place: Its place in the line for a slot; None when there was one at once.
        work: The asyncio task it runs in.
        phase: `new` (no line of ours has run yet), `ours`, `handler` (the user's code runs), or `telling` (what became
            of it is being stored).
        process: The process its handler runs in, if it asks for one.
        stop: Set when its handler has to end.
        desk: What its context asks; None when its handler takes none, or was not called.
        dropped: Nobody waits for it: whatever comes of it, nothing is reported.
        broken_off: Its handler was told to end with the worker, and may have given less than it would have.
        failure: What is reported whatever its handler still gives.
        announced: Whether its start is, or will be, in the history.
        abandoned: Its handler was told to stop and did not: somebody else has let go of the task.
        started_ns: When its handler began, for a result that has to say it; 0 when the announcement does.
        announcing: The announcement under way.
        beating: The newest heartbeat.
        announce_at: When its start is announced.
        beat_at: When the next heartbeat is due.
        ends_at: When its time is over; once it was stopped, when it is abandoned.
        due: The earliest of these.
    """

    __slots__ = (
        "_slots",
        "abandoned",
        "announce_at",
        "announced",
        "announcing",
        "beat_at",
        "beating",
        "broken_off",
        "delivery",
        "desk",
        "dropped",
        "due",
        "ends_at",
        "failure",
        "handler",
        "phase",
        "place",
        "process",
        "started_ns",
        "stop",
        "task",
        "work",
    )
    work: asyncio.Task[None]

    def __init__(
        self, handler: Handler[..., Any], delivery: TaskDelivery, task: Task | DecodeError, slots: Slots
    ) -> None:
        self.handler = handler
        self.delivery = delivery
        self.task = task
        self.place = slots.claim()
        self._slots: Slots | None = slots
        self.process: PoolProcess | None = None
        self.phase: Literal["new", "ours", "handler", "telling"] = "new"
        self.stop = Stop()
        self.desk: Desk | None = None
        self.dropped = self.broken_off = False
        self.failure: Failure | None = None
        self.announced = self.abandoned = False
        self.started_ns = 0
        self.announcing: asyncio.Task[None] | None = None
        self.beating: asyncio.Task[None] | None = None
        self.announce_at = self.beat_at = self.ends_at = self.due = NEVER

    def enter(self, task: Task, now: float, now_ns: int) -> None:
        """The handler begins: `now` by the event loop, `now_ns` by the wall clock."""
        self.phase = "handler"
        if not self.announced:
            self.started_ns = now_ns
            self.due = self.announce_at = now + START_AFTER_S
        if task.timeout_ms:
            self.ends_at = now + task.timeout_ms / 1_000
            self.due = min(self.due, self.ends_at)
        if task.heartbeat_ms:
            self.beat_at = now + task.heartbeat_ms / 1_000 / BEATS
            self.due = min(self.due, self.beat_at)

    def leave(self) -> None:
        """The handler has ended."""
        self.phase = "telling"
        self.due = NEVER
        if self.beating is not None:
            self.beating.cancel()

    def give_up(self, failure: Failure | None, *, abandon_at: float) -> None:
        """Stop its handler, and drop what it still gives: `failure` is reported in its place, or nothing."""
        self.failure, self.dropped = failure, failure is None
        if self.stop.asked:  # the engine, too, has seen that its time is over
            return
        self.stop.asked = True
        if self.phase == "handler":
            self._rest()
            self.due = self.ends_at = abandon_at
        # Threads and processes cannot be interrupted; what has not begun looks for itself, since cancelled it would
        # never begin.
        if self.phase in ("ours", "telling") or (self.phase == "handler" and self.handler.is_async):
            self.work.cancel()

    def kill(self) -> None:
        """It was told to stop, which its process cannot hear: end that."""
        self._rest()
        self.work.cancel()

    def interrupt(self, *, at_once: bool) -> None:
        """The worker ends: stop its handler, and have the task given back.

        Args:
            at_once: Not even wait for a thread, which cannot be stopped, or for a result that is being stored. Both go
                on while somebody else begins the same.
        """
        self._rest()
        was_asked, self.stop.asked = self.stop.asked, True
        if self.phase == "handler":
            if self.handler.is_async:
                waits = was_asked  # it is cleaning up
            else:
                waits = not at_once and not was_asked and not self.handler.process
                # One that has no context has not heard of it, and gives all that it would have.
                self.broken_off = waits and self.handler.takes_context
        else:
            waits = self.phase == "telling" and not at_once
        if not waits:
            self.work.cancel()

    def _rest(self) -> None:
        """Nothing comes due any more."""
        self.announce_at = self.beat_at = self.ends_at = self.due = NEVER

    def abandon(self) -> Attempt:
        """Leave its handler to itself. Gives what is still to be done: this attempt, without a handler."""
        heir = copy(self)
        self.abandoned = True
        heir.phase = "new"
        heir._rest()
        return heir

    def free(self) -> None:
        """Let somebody else have its slot. May be called again."""
        slots, self._slots = self._slots, None
        if slots is None:
            return
        if self.place is None or (self.place.done() and not self.place.cancelled()):
            slots.release()
        else:
            slots.leave()


def announces_at_once(task: Task) -> bool:
    """Whether an attempt says that it begins before its handler does: where the engine counts from that moment."""
    return task.heartbeat_ms > 0 or 0 < task.timeout_ms < SHORT_TIMEOUT_MS
