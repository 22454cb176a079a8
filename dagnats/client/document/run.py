"""A run with its steps, as a document and back."""

from __future__ import annotations

from typing import Any, cast

from dagnats.client.document import Document, instant, nanos
from dagnats.client.view import RunView, StepView
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus, StepStatus
from dagnats.model.scalar import StepType


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


def run_document(view: RunView) -> RunDocument:
    """A run as JSON."""
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


def run_of(run: RunDocument) -> RunView:
    """A run from its JSON."""
    return RunView(
        run_id=run.run_id,
        workflow=run.workflow_id,
        def_hash=run.def_hash,
        status=run.status,
        steps=tuple(_step_of(step_id, step) for step_id, step in run.steps.items()),
        leaves=run.leaves,
        input=run.input,
        output=run.output,
        error=run.error,
        failed_step=run.failed_step,
        compensating=run.compensating,
        created_ns=nanos(run.created_at),
        ended_ns=nanos(run.completed_at),
        seq=run.seq,
        paused=run.paused,
        run_at_ns=nanos(run.run_at),
        labels=run.labels,
        parent_run_id=run.parent_run_id,
        retry_of=run.retry_of,
        forked_from=run.forked_from,
        events=run.events,
        trace_parent=run.trace_parent,
    )


def _step_of(step_id: str, step: StepDocument) -> StepView:
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
        queued_ns=nanos(step.queued_at),
        started_ns=nanos(step.started_at),
        ended_ns=nanos(step.completed_at),
        retry_at_ns=nanos(step.retry_at),
        type=cast("StepType", step.type),
        due_ns=nanos(step.due_at),
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


def _trace_id(trace_parent: str) -> str:
    parts = trace_parent.split("-")
    return parts[1] if len(parts) == 4 else ""
