"""The spans of a run, and of the runs that it has started: from their histories, with what others have told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.document import Document
from dagnats.errors import NotFoundError
from dagnats.model.event import ChildSpawned
from dagnats.model.instant import parse_rfc3339, rfc3339
from dagnats.runtime.record import decoded
from dagnats.runtime.telemetry.otlp import decode_spans
from dagnats.runtime.telemetry.span import Span, SpanStatus, Value, spans_of

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports

_MOST_RUNS = 100  # a tree of runs may be as large as it likes
_MOST_PIECES = 1_000


class SpanDocument(Document, frozen=True, kw_only=True):
    """A span; one that goes on has no duration."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_time: str
    duration_ms: float | None
    status: SpanStatus
    error: str
    attributes: dict[str, Value]


def span_document(span: Span) -> SpanDocument:
    """A span as JSON."""
    return SpanDocument(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.above,
        name=span.name,
        start_time=rfc3339(span.start_ns),
        duration_ms=(span.end_ns - span.start_ns) / 1e6 if span.end_ns else None,
        status=span.status,
        error=span.error,
        attributes=span.attributes,
    )


def span_of(told: SpanDocument) -> Span:
    """A span from its JSON, which does not have the moments within it."""
    start_ns = parse_rfc3339(told.start_time)
    return Span(
        trace_id=told.trace_id,
        span_id=told.span_id,
        name=told.name,
        start_ns=start_ns,
        above=told.parent_span_id,
        end_ns=start_ns + round(told.duration_ms * 1e6) if told.duration_ms is not None else 0,
        status=told.status,
        error=told.error,
        attributes=told.attributes,
    )


async def trace(ports: Ports, run_id: str) -> list[Span]:
    """The spans of a run and of those below it, by their starts. Raises NotFoundError."""
    found: dict[str, Span] = {}
    waiting = [run_id]
    for at in range(_MOST_RUNS):
        if at >= len(waiting):
            break
        records = decoded(await ports.log.read(waiting[at]))
        if not records and not at:
            raise NotFoundError("run", run_id)
        told = [span for piece in await _told(ports, waiting[at]) for span in piece]
        for span in [*spans_of(records), *told]:
            found.setdefault(span.span_id, span)  # the history knows best
        events = (record.event for record in records)
        waiting += [event.payload.child_run_id for event in events if isinstance(event, ChildSpawned)]
    return sorted(found.values(), key=lambda span: span.start_ns)


async def _told(ports: Ports, run_id: str) -> list[list[Span]]:
    pieces = await ports.telemetry.newest(f"spans.*.{run_id}", _MOST_PIECES)
    return [decode_spans(piece.data) for piece in pieces]
