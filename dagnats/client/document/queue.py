"""A queue, with who has its slots and who waits for one, as a document and back."""

from __future__ import annotations

from datetime import timedelta

from dagnats.client.document import Document, instant, nanos
from dagnats.client.queue import QueueView
from dagnats.model.duration import duration_nanos, format_duration, parse_duration
from dagnats.model.ops import TaskLimited
from dagnats.runtime.core.gate.view import TaskGateView, TaskPlace
from dagnats.runtime.ports import QueueState


class PlaceDocument(Document, frozen=True, kw_only=True):
    """An attempt at a gate; `place` is 0 for one that has a slot."""

    run_id: str
    step_id: str
    attempt: int
    place: int
    since: str | None
    priority: int
    key: str


class QueueDocument(Document, frozen=True, kw_only=True):
    """A queue: what is in it, what limits it, who fills it; a limit is null where the definitions decide.

    `slots` is how many of its tasks may be in flight, whoever says so.
    """

    queue: str
    task: str
    waiting: int
    in_flight: int
    redelivered: int
    oldest: str | None
    ack_wait_s: float | None
    open_pulls: int
    paused: bool
    full: bool
    concurrency: int | None
    rate: str | None
    by: str
    reason: str
    held_by: tuple[PlaceDocument, ...]
    in_line: tuple[PlaceDocument, ...]
    slots: int | None
    steps: tuple[str, ...]


def queue_document(view: QueueView) -> QueueDocument:
    """A queue as JSON."""
    state, limits = view.state, view.limits
    return QueueDocument(
        queue=view.name,
        task=view.task,
        waiting=state.waiting,
        in_flight=state.in_flight,
        redelivered=state.redelivered,
        oldest=instant(state.oldest_ns),
        ack_wait_s=state.ack_wait_s or None,
        open_pulls=state.pulls,
        paused=limits.paused,
        full=view.name in view.gate.full,
        concurrency=limits.concurrency or None,
        rate=rate_text(limits.rate, limits.period_ns) or None,
        by=limits.by,
        reason=limits.reason,
        held_by=tuple(map(_place_document, view.gate.out)),
        in_line=tuple(map(_place_document, view.gate.waiting)),
        slots=view.gate.concurrency or None,
        steps=view.steps,
    )


def _place_document(place: TaskPlace) -> PlaceDocument:
    return PlaceDocument(
        run_id=place.run_id,
        step_id=place.step_id,
        attempt=place.attempt,
        place=place.place,
        since=instant(place.since_ns),
        priority=place.priority,
        key=place.key,
    )


def rate_text(rate: int, period_ns: int) -> str:
    """`100/1m`; "" for no rate."""
    return f"{rate}/{format_duration(timedelta(microseconds=period_ns // 1_000))}" if rate else ""


def queue_of(queue: QueueDocument) -> QueueView:
    """A queue from its JSON."""
    state = QueueState(
        name=queue.queue,
        waiting=queue.waiting,
        in_flight=queue.in_flight,
        redelivered=queue.redelivered,
        ack_wait_s=queue.ack_wait_s or 0,
        pulls=queue.open_pulls,
        oldest_ns=nanos(queue.oldest),
    )
    limits = _task_limits(queue)
    gate = TaskGateView(
        queue.task,
        None if limits.is_idle else limits,
        queue.slots or 0,
        tuple(map(_place_of, queue.held_by)),
        tuple(map(_place_of, queue.in_line)),
    )
    return QueueView(state, limits, gate, queue.steps, queue.task)


def _task_limits(queue: QueueDocument) -> TaskLimited:
    rate, _, period = (queue.rate or "0").partition("/")
    return TaskLimited(
        task=queue.task,
        concurrency=queue.concurrency or 0,
        rate=int(rate),
        period_ns=duration_nanos(parse_duration(period)) if period else 0,
        paused=queue.paused,
        by=queue.by,
        reason=queue.reason,
    )


def _place_of(place: PlaceDocument) -> TaskPlace:
    return TaskPlace(
        run_id=place.run_id,
        step_id=place.step_id,
        attempt=place.attempt,
        place=place.place,
        since_ns=nanos(place.since),
        priority=place.priority,
        key=place.key,
    )
