"""Runs, events, queues and the like as JSON documents: every member is always there, and instants are RFC 3339.

Payloads are JSON values, whatever their bytes were. The documents' types are what the API's description says of them.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.model.duration import format_duration
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus, StepStatus

if TYPE_CHECKING:
    from dagnats.client.client import Version
    from dagnats.client.diagnosis import Finding
    from dagnats.client.difference import Difference
    from dagnats.client.letter import DeadLetter
    from dagnats.client.queue import QueueView
    from dagnats.client.view import EventView, RunView, StepView
    from dagnats.model.ops import WorkflowLimited
    from dagnats.model.summary import RunSummary
    from dagnats.runtime.core.gate.view import TaskPlace
    from dagnats.runtime.ports import Chunk


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What all of them are."""


# -- runs ------------------------------------------------------------------------------------------------------


class StepDocument(Document, frozen=True, kw_only=True):
    """One step of a run. What its members mean: see `StepView`."""

    status: StepStatus
    attempts: int
    output: Any
    error: str
    task: str
    depends_on: tuple[str, ...]
    queued_at: str | None
    started_at: str | None
    completed_at: str | None
    retry_at: str | None
    worker_id: str
    type: str
    held: bool
    due_at: str | None
    iteration: int
    part_of: str
    items: int
    left: int
    failed_items: int
    child_run_id: str
    awaits: str
    progress: float | None
    message: str
    details: Any
    gate: str
    auxiliary: bool
    serves: str


class RunDocument(Document, frozen=True, kw_only=True):
    """One run, with its steps by id. What its members mean: see `RunView`."""

    run_id: str
    workflow_id: str
    def_hash: str
    status: RunStatus
    paused: bool
    created_at: str
    completed_at: str | None
    run_at: str | None
    labels: dict[str, str]
    parent_run_id: str
    retry_of: str
    forked_from: str
    events: int
    steps: dict[str, StepDocument]
    input: Any
    output: Any
    error: str
    failed_step: str
    trace_parent: str
    trace_id: str
    leaves: tuple[str, ...]
    compensating: bool
    seq: int


class ListedRunDocument(Document, frozen=True, kw_only=True):
    """A run in a list; `steps` is how many it has."""

    run_id: str
    workflow_id: str
    status: RunStatus
    paused: bool
    created_at: str
    completed_at: str | None
    run_at: str | None
    labels: dict[str, str]
    error: str
    failed_step: str
    steps: int
    parent_run_id: str
    retry_of: str
    forked_from: str
    def_hash: str
    compensating: bool
    by: str
    seq: int


def run_document(view: RunView) -> RunDocument:
    """A run."""
    return RunDocument(
        run_id=view.run_id,
        workflow_id=view.workflow,
        def_hash=view.def_hash,
        status=view.status,
        paused=view.paused,
        created_at=rfc3339(view.created_ns),
        completed_at=instant(view.ended_ns),
        run_at=instant(view.run_at_ns),
        labels=dict(view.labels),
        parent_run_id=view.parent_run_id,
        retry_of=view.retry_of,
        forked_from=view.forked_from,
        events=view.events,
        steps={step.id: _step_document(step) for step in view.steps},
        input=view.input,
        output=view.output,
        error=view.error,
        failed_step=view.failed_step,
        trace_parent=view.trace_parent,
        trace_id=_trace_id(view.trace_parent),
        leaves=view.leaves,
        compensating=view.compensating,
        seq=view.seq,
    )


def _step_document(step: StepView) -> StepDocument:
    return StepDocument(
        status=step.status,
        attempts=step.attempts,
        output=step.output,
        error=step.error,
        task=step.task,
        depends_on=step.needs,
        queued_at=instant(step.queued_ns),
        started_at=instant(step.started_ns),
        completed_at=instant(step.ended_ns),
        retry_at=instant(step.retry_at_ns),
        worker_id=step.worker_id,
        type=step.type,
        held=step.held,
        due_at=instant(step.due_ns),
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
        auxiliary=step.auxiliary,
        serves=step.serves,
    )


def listed_document(run: RunSummary) -> ListedRunDocument:
    """A run of a list."""
    return ListedRunDocument(
        run_id=run.run_id,
        workflow_id=run.workflow,
        status=run.status,
        paused=run.paused,
        created_at=rfc3339(run.created_ns),
        completed_at=instant(run.ended_ns),
        run_at=instant(run.run_at_ns),
        labels=dict(run.labels),
        error=run.error,
        failed_step=run.failed_step,
        steps=run.steps,
        parent_run_id=run.parent_run_id,
        retry_of=run.retry_of,
        forked_from=run.forked_from,
        def_hash=run.def_hash,
        compensating=run.compensating,
        by=run.by,
        seq=run.seq,
    )


class EventDocument(Document, frozen=True, kw_only=True):
    """One event of a run's history."""

    seq: int
    type: str
    run_id: str
    step_id: str
    attempt: int
    timestamp: str
    data: Any
    trace_parent: str
    worker_id: str
    name: str = ""


def event_document(event: EventView) -> EventDocument:
    """An event."""
    return EventDocument(
        seq=event.seq,
        type=event.type,
        run_id=event.run_id,
        step_id=event.step_id,
        attempt=event.attempt,
        timestamp=rfc3339(event.time_ns),
        data=event.payload,
        trace_parent=event.trace_parent,
        worker_id=event.worker_id,
        name=event.name,
    )


class ChunkDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of what a step streams: its text, or what is no text in base64."""

    offset: int
    attempt: int
    time: str
    text: str | None = None
    base64: str | None = None


def chunk_document(chunk: Chunk) -> ChunkDocument:
    """A chunk."""
    told = ChunkDocument(offset=chunk.offset, attempt=chunk.attempt, time=rfc3339(chunk.time_ns))
    try:
        return msgspec.structs.replace(told, text=chunk.data.decode())
    except UnicodeDecodeError:
        return msgspec.structs.replace(told, base64=base64.b64encode(chunk.data).decode())


class FindingDocument(Document, frozen=True, kw_only=True):
    """One thing that holds a run. What its members mean: see `Finding`."""

    kind: str
    grade: str
    step_id: str | None
    seen: str
    why: str
    cure: str | None
    fix: str


def finding_document(found: Finding) -> FindingDocument:
    """A finding."""
    return FindingDocument(
        kind=found.kind,
        grade=found.grade,
        step_id=found.step_id or None,
        seen=found.seen,
        why=found.why,
        cure=found.cure or None,
        fix=found.fix,
    )


# -- workflows and queues --------------------------------------------------------------------------------------


class VersionDocument(Document, frozen=True, kw_only=True):
    """A definition that was registered at some time."""

    hash: str
    registered_at: str
    newest: bool
    steps: int


def version_document(version: Version) -> VersionDocument:
    """A version."""
    return VersionDocument(
        hash=version.definition.identity,
        registered_at=rfc3339(version.registered_ns),
        newest=version.newest,
        steps=len(version.definition.steps),
    )


class WorkflowLimitsDocument(Document, frozen=True, kw_only=True):
    """What operators have said of a workflow; a limit is null where its definition, or the default, decides."""

    workflow: str
    paused: bool
    max_runs: int | None
    max_events: int | None
    max_depth: int | None
    by: str
    reason: str


def workflow_limits_document(limits: WorkflowLimited) -> WorkflowLimitsDocument:
    """A workflow's limits."""
    return WorkflowLimitsDocument(
        workflow=limits.workflow,
        paused=limits.paused,
        max_runs=limits.max_runs or None,
        max_events=limits.max_events or None,
        max_depth=limits.max_depth or None,
        by=limits.by,
        reason=limits.reason,
    )


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
    """A queue."""
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


def rate_text(rate: int, period_ns: int) -> str:
    """`100/1m`; "" for no rate."""
    return f"{rate}/{format_duration(timedelta(microseconds=period_ns // 1_000))}" if rate else ""


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


class DifferenceDocument(Document, frozen=True, kw_only=True):
    """Something that is not as the log says."""

    run_id: str
    kind: str
    detail: str
    expected: str
    mendable: bool
    cure: str
    step_id: str


def difference_document(difference: Difference) -> DifferenceDocument:
    """A difference."""
    return DifferenceDocument(
        run_id=difference.run_id,
        kind=difference.kind,
        detail=difference.detail,
        expected=difference.expected,
        mendable=difference.mendable,
        cure=difference.cure,
        step_id=difference.step_id,
    )


# -- dead letters ----------------------------------------------------------------------------------------------


class LetterDocument(Document, frozen=True, kw_only=True):
    """A dead letter. Its body is text, or in `body_base64` when it is none."""

    seq: int
    subject: str
    run_id: str
    step_id: str
    task: str
    error: str
    timestamp: str
    attempts: int
    consumer: str
    headers: dict[str, str]
    body: str | None
    body_base64: str | None


def letter_document(letter: DeadLetter) -> LetterDocument:
    """A dead letter."""
    try:
        body, coded = letter.body.decode(), None
    except UnicodeDecodeError:
        body, coded = None, base64.b64encode(letter.body).decode()
    return LetterDocument(
        seq=letter.seq,
        subject=letter.subject,
        run_id=letter.run_id,
        step_id=letter.step_id,
        task=letter.task,
        error=letter.error,
        timestamp=rfc3339(letter.time_ns),
        attempts=letter.attempts,
        consumer=letter.consumer,
        headers=dict(letter.headers),
        body=body,
        body_base64=coded,
    )


def instant(nanos: int) -> str | None:
    """An instant; None for the 0 that says there is none."""
    return rfc3339(nanos) if nanos else None


def _trace_id(trace_parent: str) -> str:
    parts = trace_parent.split("-")
    return parts[1] if len(parts) == 4 else ""
