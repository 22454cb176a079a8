"""The spans of a run, from its history: the run, and under it each attempt of a step. Pure.

So whoever has the history has the spans: nothing is measured while a run goes on, and none of it can get lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from dagnats.model.event import (
    ChildFailed,
    ChildSpawned,
    Start,
    StepCompleted,
    StepContinued,
    StepEvent,
    StepFailed,
    StepHeartbeat,
    StepPaused,
    StepQueued,
    WorkflowReopened,
    WorkflowStarted,
    event_type,
    failure_of,
)
from dagnats.model.instant import parse_rfc3339
from dagnats.model.trace import run_span, step_span, trace_of
from dagnats.runtime.core.ending import STATUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.event import AnyEvent, Record, TerminalEvent
    from dagnats.model.trace import Trace

Value = str | int | float | bool

_DONE = (".completed", ".matched", ".granted", ".materialized", ".responded")
_BROKEN = (".failed", ".timeout", ".rejected", ".expired")
_RESTS = (".continue", ".paused", ".released", ".skipped")
_MOST_MOMENTS = 128
_LONGEST_ERROR = 1_000

SpanStatus = Literal["ok", "error", "unset"]


class Moment(msgspec.Struct, frozen=True):
    """Something that happened within a span."""

    time_ns: int
    name: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time that something took.

    Attributes:
        name: `run order`, `step charge`.
        above: The span it belongs to, which may be somebody else's; "" for the first of its trace.
        end_ns: 0 while it goes on.
        error: Why its status is `error`.
    """

    trace_id: str
    span_id: str
    name: str
    start_ns: int
    above: str = ""
    end_ns: int = 0
    status: SpanStatus = "unset"
    error: str = ""
    attributes: dict[str, Value] = {}
    moments: tuple[Moment, ...] = ()


def spans_of(records: Sequence[Record]) -> list[Span]:
    """The spans of a run whose history this is, the run's first; none when its beginning is gone."""
    first = records[0].event if records else None
    if not isinstance(first, WorkflowStarted):
        return []
    trace = trace_of(first.trace_parent, first.run_id)
    run = _Run(records[0], first.payload, trace)
    attempts: dict[tuple[str, int], _Attempt] = {}
    newest: dict[str, int] = {}
    for record in records[1:]:
        event = record.event
        if not isinstance(event, StepEvent):
            run.hear(record)
            continue
        attempt = event.attempt_number or newest.get(event.step_id, 0)
        newest[event.step_id] = attempt
        if isinstance(event, StepQueued):  # it waits for a slot: nobody works on it
            continue
        found = attempts.get((event.step_id, attempt))
        if found is None:
            found = attempts[event.step_id, attempt] = _Attempt(event.step_id, attempt)
        found.hear(record, event)
    whole = run.span()
    return [whole, *(each.span(first, trace, whole) for each in attempts.values())]


class _Run:
    """The span of a run, as it is put together."""

    def __init__(self, record: Record, start: Start, trace: Trace) -> None:
        self._run_id = record.event.run_id
        self._start = start
        self._trace = trace
        self._start_ns = record.time_ns
        self._end_ns = 0
        self._status = ""
        self._error = ""
        self._moments: list[Moment] = []

    def hear(self, record: Record) -> None:
        event = record.event
        status = _status_of(event)
        if status is not None:
            if not self._end_ns:
                self._end_ns, self._status, self._error = record.time_ns, status[0], status[1]
            return
        if isinstance(event, WorkflowReopened):
            self._end_ns, self._status, self._error = 0, "", ""
        if len(self._moments) < _MOST_MOMENTS:
            self._moments.append(Moment(record.time_ns, event_type(event)))

    def span(self) -> Span:
        above = self._start.parent
        told: dict[str, Value] = {"run_id": self._run_id, "workflow": self._start.workflow}
        told |= {f"label.{name}": value for name, value in self._start.labels.items()}
        return Span(
            trace_id=self._trace.trace_id,
            span_id=run_span(self._run_id),
            above=step_span(above.run_id, above.step_id, above.attempt) if above is not None else self._trace.above,
            name=f"run {self._start.workflow}",
            start_ns=self._start_ns,
            end_ns=self._end_ns,
            status=_GRADES.get(self._status, "unset"),
            error=self._error[:_LONGEST_ERROR],
            attributes=told | ({"status": self._status} if self._status else {}),
            moments=tuple(self._moments),
        )


_GRADES: dict[str, SpanStatus] = {
    "completed": "ok",
    "failed": "error",
    "compensated": "error",  # it has failed, and what it had done is undone
    "compensate_failed": "error",
}


def _status_of(event: AnyEvent) -> tuple[str, str] | None:
    """How an event ends its run, and why; None for one that does not."""
    for kind, status in STATUS.items():
        if isinstance(event, kind):
            ending: TerminalEvent = event
            return status, ending.payload.error
    return None


class _Attempt:
    """The span of an attempt of a step, as it is put together."""

    def __init__(self, step_id: str, attempt: int) -> None:
        self._step_id = step_id
        self._attempt = attempt
        self._start_ns = self._end_ns = 0
        self._status: SpanStatus = "unset"
        self._error = ""
        self._told: dict[str, Value] = {"step_id": step_id, "attempt": attempt}
        self._moments: list[Moment] = []

    def hear(self, record: Record, event: StepEvent) -> None:
        kind = event_type(record.event)
        begun_ns = _begun_ns(record)
        self._start_ns = min(self._start_ns or begun_ns, begun_ns)
        if event.worker_id:
            self._told["worker_id"] = event.worker_id
        if isinstance(event, ChildSpawned):
            self._told["child_run_id"] = event.payload.child_run_id
        if kind.endswith((*_DONE, *_BROKEN, *_RESTS)):
            self._end_ns = record.time_ns
            self._status = "ok" if kind.endswith(_DONE) else "error" if kind.endswith(_BROKEN) else "unset"
            self._error = _error_in(event, kind) if self._status == "error" else ""
            self._told["event"] = kind
            return
        self._end_ns = 0  # given back, and begun anew
        is_new = self._start_ns != record.time_ns and not isinstance(event, StepHeartbeat)
        if is_new and len(self._moments) < _MOST_MOMENTS:
            self._moments.append(Moment(record.time_ns, kind))

    def span(self, start: WorkflowStarted, trace: Trace, run: Span) -> Span:
        """What it is by now; what its run did not wait for has ended with that."""
        told = {"run_id": start.run_id, "workflow": start.payload.workflow, **self._told}
        cut_off = not self._end_ns and run.end_ns > 0
        return Span(
            trace_id=trace.trace_id,
            span_id=step_span(start.run_id, self._step_id, self._attempt),
            above=run_span(start.run_id),
            name=f"step {self._step_id}",
            start_ns=self._start_ns,
            end_ns=max(run.end_ns, self._start_ns) if cut_off else self._end_ns,
            status=self._status,
            error=self._error[:_LONGEST_ERROR],
            attributes=told | ({"event": f"run.{run.attributes['status']}"} if cut_off else {}),
            moments=tuple(self._moments),
        )


def _begun_ns(record: Record) -> int:
    """When what an event is about began: by the worker's clock where it says so, which may be ahead of the log's."""
    event = record.event
    if isinstance(event, StepCompleted | StepFailed | StepContinued | StepPaused) and event.started_at:
        try:
            return min(parse_rfc3339(event.started_at), record.time_ns)
        except ValueError:
            return record.time_ns
    return record.time_ns


def _error_in(event: StepEvent, kind: str) -> str:
    match event:
        case StepFailed():
            return failure_of(event.payload).error
        case ChildFailed():
            return event.payload.error
        case _:
            return kind
