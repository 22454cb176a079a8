"""`POST /v1/runs`: start runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from pydantic import Field

from dagnats.client.document import Document
from dagnats.client.moment import instant_of
from dagnats.client.start import MOST_DEPTH, MOST_EVENTS
from dagnats.errors import Problem, ResultTimeout
from dagnats.model.duration import parse_duration
from dagnats.model.event import MAX_DEPTH, MAX_EVENTS, MAX_OFFSET, NOTHING
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Reply
from dagnats.runtime.api.problem import invalid
from dagnats.runtime.telemetry.note import note

if TYPE_CHECKING:
    from dagnats.client.bulk import Done
    from dagnats.client.client import AsyncClient
    from dagnats.client.run import RunHandle

_LONGEST_WAIT_S = 60.0  # proxies give up on what takes longer
_MOST_INPUTS = 10_000
_SOON_NS = 1_000_000_000


class Start(Order):
    """A run to be started. `run_at` is RFC 3339, a date, or `+10m`; one that has passed is now."""

    workflow: str
    input: msgspec.Raw = NOTHING
    run_at: str | None = None
    run_id: str = ""
    labels: dict[str, str] = Field(default={})
    priority: int | None = Field(default=None, ge=-MAX_OFFSET, le=MAX_OFFSET)
    max_depth: int = Field(default=MAX_DEPTH, ge=0, le=MOST_DEPTH)
    max_events: int = Field(default=MAX_EVENTS, ge=1, le=MOST_EVENTS)
    by: str = ""


class Wait(Order):
    """How long to wait for the run's end: `30s`, at most a minute."""

    wait: str = ""


class StartedDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """A run that was started. Its status is told of one that is scheduled, was there before, or was waited for."""

    run_id: str
    workflow_id: str
    status: RunStatus | None = None
    run_at: str | None = None
    output: Any = None
    error: str = ""
    failed_step: str = ""


class Bulk(Order):
    """Runs to be started: one for each input. With a `batch`, or `run_ids`, the same again starts what is missing."""

    workflow_id: str
    inputs: Annotated[list[Any], Field(min_length=1, max_length=_MOST_INPUTS)]
    batch: str | None = None
    run_ids: list[str] = Field(default=[])
    by: str = ""


class RefusedDocument(Document, frozen=True, kw_only=True):
    """One of many with which nothing was done, and why."""

    run_id: str
    message: str


class StartedManyDocument(Document, frozen=True, kw_only=True):
    """Runs that were started, in the order of their inputs; `existing` of them had been before: these."""

    run_ids: tuple[str, ...]
    total: int
    existing: int
    existing_run_ids: tuple[str, ...]
    problems: tuple[RefusedDocument, ...]


async def start(asked: Asked[Wait, Start]) -> Reply:
    """Start a run; with `?wait=30s`, give how it ended if that is soon enough.

    Starts of a workflow with the same header `Idempotency-Key` are one run, for a day.
    """
    said, patience_s = asked.body, wait_s(asked.query.wait)
    definition = await asked.client.workflow(said.workflow)
    at = _later(asked.client, said.run_at)
    handle = await asked.client.start_json(
        definition,
        bytes(said.input),
        run_id=said.run_id,
        idempotency_key=asked.headers.get("idempotency-key", ""),
        at=at,
        labels=said.labels,
        priority=said.priority,
        max_depth=said.max_depth,
        max_events=said.max_events,
        by=said.by,
    )
    note("api", "INFO", "started run", run_id=handle.run_id, workflow=said.workflow)
    headers = {"Location": f"/v1/runs/{handle.run_id}"}
    if not handle.is_new:
        headers["Idempotent-Replayed"] = "true"
    ended = await asked.while_serving(_end(handle, patience_s)) if patience_s else None
    return Reply(ended or await _begun(handle, said.workflow, known=handle.is_new and at is None), headers)


async def bulk(asked: Asked[Any, Bulk]) -> StartedManyDocument:
    """Start a run for each of many inputs; none when one of them does not fit the workflow."""
    said = asked.body
    done = await asked.client.start_all(
        said.workflow_id, said.inputs, batch=said.batch, run_ids=said.run_ids, by=said.by
    )
    fine = [each for each in done if not each.problem]
    existing = tuple(each.run_id for each in fine if not each.is_new)
    return StartedManyDocument(
        run_ids=tuple(each.run_id for each in fine),
        total=len(fine),
        existing=len(existing),
        existing_run_ids=existing,
        problems=refused(done),
    )


def refused(done: list[Done]) -> tuple[RefusedDocument, ...]:
    """Those with which nothing was done."""
    return tuple(RefusedDocument(run_id=each.run_id, message=each.problem) for each in done if each.problem)


async def _begun(handle: RunHandle, workflow: str, *, known: bool) -> StartedDocument:
    """A run that was started; when not all is `known` of it, it is looked at."""
    if known:
        return StartedDocument(run_id=handle.run_id, workflow_id=workflow)
    view = await handle.view()
    run_at = rfc3339(view.run_at_ns) if view.run_at_ns else None
    return StartedDocument(run_id=handle.run_id, workflow_id=workflow, status=view.status, run_at=run_at)


async def _end(handle: RunHandle, patience_s: float) -> StartedDocument | None:
    try:
        view = await handle.wait(timeout=timedelta(seconds=patience_s))
    except ResultTimeout:
        return None
    return StartedDocument(
        run_id=view.run_id,
        workflow_id=view.workflow,
        status=view.status,
        output=view.output,
        error=view.error,
        failed_step=view.failed_step,
    )


def _later(client: AsyncClient, run_at: str | None) -> str | None:
    """When a run is to begin; None for what is as good as now: callers' clocks are not ours."""
    if run_at is None:
        return None
    now_ns = client.connection.ports.clock.now_ns()
    return run_at if instant_of(run_at, now_ns=now_ns) > now_ns + _SOON_NS else None


def wait_s(wait: str) -> float:
    """How long somebody wants to wait. Raises Fault 400."""
    if not wait:
        return 0.0
    try:
        return min(parse_duration(wait).total_seconds(), _LONGEST_WAIT_S)
    except (ValueError, OverflowError) as error:
        raise invalid(Problem("?wait", "duration", str(error)), what="the query") from None
