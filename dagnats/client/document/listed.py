"""A run in a list, as a document and back."""

from __future__ import annotations

from dagnats.client.document import Document, instant, nanos
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus
from dagnats.model.summary import RunSummary


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


def listed_document(run: RunSummary) -> ListedRunDocument:
    """A run of a list as JSON."""
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


def summary_of(run: ListedRunDocument) -> RunSummary:
    """A run of a list from its JSON."""
    return RunSummary(
        run_id=run.run_id,
        workflow=run.workflow_id,
        status=run.status,
        created_ns=nanos(run.created_at),
        seq=run.seq,
        def_hash=run.def_hash,
        ended_ns=nanos(run.completed_at),
        run_at_ns=nanos(run.run_at),
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
