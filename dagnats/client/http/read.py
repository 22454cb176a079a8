"""Documents read back: what `client.document` makes of runs, queues and the like, as the views that they are of."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from dagnats.client.ailment import Ailment
from dagnats.client.audit import Deed
from dagnats.client.diagnosis import EngineState, Finding
from dagnats.client.difference import Difference
from dagnats.client.health import Health, Letters
from dagnats.client.letter import DeadLetter
from dagnats.client.moment import instant_of
from dagnats.client.queue import QueueView
from dagnats.client.view import EventView, RunView, StepView
from dagnats.client.waitpoint import Waitpoint
from dagnats.errors import DecodeError
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.instant import parse_rfc3339, rfc3339
from dagnats.model.ops import TaskLimited, WorkflowLimited
from dagnats.model.summary import RunSummary
from dagnats.model.token import AccessToken
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.core.gate.view import TaskGateView, TaskPlace
from dagnats.runtime.ports import Chunk, Holding, QueueState

if TYPE_CHECKING:
    import httpx

    from dagnats.client.ailment import Kind as AilmentKind
    from dagnats.client.diagnosis import Grade
    from dagnats.client.diagnosis import Kind as FindingKind
    from dagnats.client.difference import Cure, Kind
    from dagnats.client.document import (
        ChunkDocument,
        DifferenceDocument,
        EventDocument,
        FindingDocument,
        LetterDocument,
        ListedRunDocument,
        PlaceDocument,
        QueueDocument,
        RunDocument,
        StepDocument,
        WorkflowLimitsDocument,
    )
    from dagnats.client.installation import (
        AilmentDocument,
        DeedDocument,
        HealthDocument,
        StoreDocument,
        TokenDocument,
        WaitpointDocument,
    )
    from dagnats.client.moment import Moment
    from dagnats.model.scalar import StepType

T = TypeVar("T")


def read(response: httpx.Response, type: type[T]) -> T:
    """The document in an answer. Raises DecodeError: it is none of these."""
    return decoded(response.content, type)


def decoded(data: bytes, type: type[T]) -> T:
    """A document. Raises DecodeError."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(
            f"the server's answer is not what this version of DagNats knows: {error}", data=data
        ) from None


def run_view(run: RunDocument) -> RunView:
    """A run."""
    return RunView(
        run_id=run.run_id,
        workflow=run.workflow_id,
        def_hash=run.def_hash,
        status=run.status,
        steps=tuple(_step_view(step_id, step) for step_id, step in run.steps.items()),
        leaves=run.leaves,
        input=run.input,
        output=run.output,
        error=run.error,
        failed_step=run.failed_step,
        compensating=run.compensating,
        created_ns=_nanos(run.created_at),
        ended_ns=_nanos(run.completed_at),
        seq=run.seq,
        paused=run.paused,
        run_at_ns=_nanos(run.run_at),
        labels=run.labels,
        parent_run_id=run.parent_run_id,
        retry_of=run.retry_of,
        forked_from=run.forked_from,
        events=run.events,
        trace_parent=run.trace_parent,
    )


def _step_view(step_id: str, step: StepDocument) -> StepView:
    return StepView(
        id=step_id,
        task=step.task,
        status=step.status,
        attempts=step.attempts,
        needs=step.depends_on,
        auxiliary=step.auxiliary,
        serves=step.serves,
        output=step.output,
        error=step.error,
        worker_id=step.worker_id,
        queued_ns=_nanos(step.queued_at),
        started_ns=_nanos(step.started_at),
        ended_ns=_nanos(step.completed_at),
        retry_at_ns=_nanos(step.retry_at),
        type=cast("StepType", step.type),
        due_ns=_nanos(step.due_at),
        held=step.held,
        iteration=step.iteration,
        part_of=step.part_of,
        items=step.items,
        left=step.left,
        failed_items=step.failed_items,
        child_run_id=step.child_run_id,
        awaits=step.awaits,
        progress=step.progress,
        message=step.message,
        details=step.details,
        gate=step.gate,
    )


def summary(run: ListedRunDocument) -> RunSummary:
    """A run of a list."""
    return RunSummary(
        run_id=run.run_id,
        workflow=run.workflow_id,
        status=run.status,
        created_ns=_nanos(run.created_at),
        seq=run.seq,
        def_hash=run.def_hash,
        ended_ns=_nanos(run.completed_at),
        run_at_ns=_nanos(run.run_at),
        paused=run.paused,
        compensating=run.compensating,
        steps=run.steps,
        error=run.error,
        failed_step=run.failed_step,
        labels=run.labels,
        parent_run_id=run.parent_run_id,
        retry_of=run.retry_of,
        forked_from=run.forked_from,
        by=run.by,
    )


def event_view(event: EventDocument) -> EventView:
    """An event."""
    return EventView(
        seq=event.seq,
        time_ns=_nanos(event.timestamp),
        type=event.type,
        run_id=event.run_id,
        step_id=event.step_id,
        attempt=event.attempt,
        payload=event.data,
        trace_parent=event.trace_parent,
        worker_id=event.worker_id,
        name=event.name,
    )


def chunk(told: ChunkDocument) -> Chunk:
    """A chunk."""
    data = told.text.encode() if told.text is not None else b64decode(told.base64 or "")
    return Chunk(offset=told.offset, data=data, attempt=told.attempt, time_ns=_nanos(told.time))


def finding(found: FindingDocument) -> Finding:
    """A finding."""
    return Finding(
        kind=cast("FindingKind", found.kind),
        grade=cast("Grade", found.grade),
        seen=found.seen,
        why=found.why,
        cure=found.cure or "",
        step_id=found.step_id or "",
        fix=found.fix if found.fix in ("resume_run", "resume_workflow", "resume_queue") else "",
    )


def workflow_limits(told: WorkflowLimitsDocument) -> WorkflowLimited:
    """A workflow's limits."""
    return WorkflowLimited(
        workflow=told.workflow, max_runs=told.max_runs or 0, paused=told.paused, by=told.by, reason=told.reason
    )


def queue_view(queue: QueueDocument) -> QueueView:
    """A queue."""
    state = QueueState(
        name=queue.queue,
        waiting=queue.waiting,
        in_flight=queue.in_flight,
        redelivered=queue.redelivered,
        ack_wait_s=queue.ack_wait_s or 0,
        pulls=queue.open_pulls,
        oldest_ns=_nanos(queue.oldest),
    )
    limits = _task_limits(queue)
    gate = TaskGateView(
        queue.task,
        None if limits.is_idle else limits,
        queue.slots or 0,
        tuple(map(_place, queue.held_by)),
        tuple(map(_place, queue.in_line)),
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


def _place(place: PlaceDocument) -> TaskPlace:
    return TaskPlace(
        run_id=place.run_id,
        step_id=place.step_id,
        attempt=place.attempt,
        place=place.place,
        since_ns=_nanos(place.since),
        priority=place.priority,
        key=place.key,
    )


def difference(told: DifferenceDocument) -> Difference:
    """A difference."""
    return Difference(
        run_id=told.run_id,
        kind=cast("Kind", told.kind),
        detail=told.detail,
        expected=told.expected,
        cure=cast("Cure", told.cure),
        step_id=told.step_id,
    )


def dead_letter(letter: LetterDocument) -> DeadLetter:
    """A dead letter."""
    return DeadLetter(
        seq=letter.seq,
        subject=letter.subject,
        run_id=letter.run_id,
        step_id=letter.step_id,
        task=letter.task,
        error=letter.error,
        attempts=letter.attempts,
        consumer=letter.consumer,
        time_ns=_nanos(letter.timestamp),
        headers=letter.headers,
        body=letter.body.encode() if letter.body is not None else b64decode(letter.body_base64 or ""),
    )


def waitpoint(at: WaitpointDocument) -> Waitpoint:
    """What a run waits for."""
    return Waitpoint(
        run_id=at.run_id,
        workflow=at.workflow_id,
        step_id=at.step_id,
        kind="approval" if at.kind == "approval" else "event",
        since_ns=_nanos(at.since),
        until_ns=_nanos(at.until),
        event=at.event or "",
        match=at.match or "",
    )


def ailment(found: AilmentDocument) -> Ailment:
    """Something that is not as it should be."""
    return Ailment(
        kind=cast("AilmentKind", found.kind),
        grade=found.grade,
        seen=found.seen,
        why=found.why,
        cure=found.cure or "",
        subject=found.subject or "",
    )


def access_token(told: TokenDocument) -> AccessToken:
    """A token."""
    return AccessToken(
        id=told.id,
        digest="",
        scope=told.scope,
        name=told.name,
        workflows=told.workflows,
        created_ns=_nanos(told.created_at),
        expires_ns=_nanos(told.expires_at),
        by=told.by,
    )


def deed(told: DeedDocument) -> Deed:
    """Something that somebody did."""
    return Deed(
        time_ns=_nanos(told.time),
        by=told.by,
        action=told.action,
        target=told.target,
        outcome=told.outcome,
        run_id=told.run_id,
        request_id=told.request_id,
        address=told.address,
        skipped=told.skipped,
    )


def health(told: HealthDocument) -> Health:
    """How the whole does."""
    queues = [
        QueueState(
            name=each.task,
            waiting=each.pending,
            in_flight=each.in_flight,
            redelivered=each.redelivered,
            ack_wait_s=(each.ack_wait_ms or 0) / 1_000,
            pulls=0,
            oldest_ns=0,
        )
        for each in told.queues
    ]
    letters = Letters(told.dlq.total, _nanos(told.dlq.oldest), _nanos(told.dlq.newest), told.dlq.by_task)
    engine = EngineState(leads=told.engine.leads, behind=told.engine.history_lag_messages)
    return Health(tuple(queues), letters, engine, told.engine.history_lag_seconds, told.engine.scheduled_timers)


def holding(told: StoreDocument) -> Holding:
    """How full the store is."""
    return Holding(told.used_bytes, told.limit_bytes or 0, told.limited_by or "")


def _nanos(instant: str | None) -> int:
    """Nanoseconds since 1970; 0 for none."""
    return parse_rfc3339(instant) if instant else 0


def moment_text(moment: Moment) -> str:
    """A moment as the API takes it: a text is for the server, by its clock."""
    return moment if isinstance(moment, str) else rfc3339(instant_of(moment, now_ns=SystemClock().now_ns()))
