"""What an event changes in a run's line. Pure: of an event's place and the definition only what is given counts.

A line is not a run: it has what the run's own events say, and nothing of its steps. `client.view` has all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.model.event import (
    OF_STEP,
    CompensateCompleted,
    CompensateFailed,
    CompensateStarted,
    TimerFired,
    WorkflowAdmitted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
)
from dagnats.model.summary import RunSummary
from dagnats.runtime.core.ending import STATUS
from dagnats.runtime.core.reopen import OPENABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.model.event import Record, Start, TerminalEvent
    from dagnats.model.run import RunStatus

_OURS = b'{"type":"'
_MARKS = tuple(
    _OURS + mark
    for mark in (b"workflow.", b"compensate.started", b"compensate.completed", b"compensate.failed", b"timer.")
)
_LONGEST = 1_000  # characters of an error


class Shape(NamedTuple):
    """What a definition says that a line shows.

    Attributes:
        steps: How many it has.
        labels: Its own.
        is_admitted: Whether its runs have to ask the gates.
    """

    steps: int = 0
    labels: Mapping[str, str] = {}
    is_admitted: bool = False


def may_concern(data: bytes) -> bool:
    """Whether an event's bytes may say something of a line: most events of a run do not, and are not read.

    We write an event's type first. Others may write it anywhere: theirs are all read.
    """
    if data[: len(OF_STEP)] == OF_STEP:  # as most do
        return False
    return data.startswith(_MARKS) or not data.startswith(_OURS)


def folded(line: RunSummary | None, record: Record, shape: Shape) -> RunSummary | None:
    """A run's line behind an event; None as long as there is none. `shape` counts for a start."""
    event = record.event
    if isinstance(event, WorkflowStarted):
        return line or _begun(record, event, shape)
    if line is None:
        return None
    if line.status == "scheduled" and _instant(record) >= line.run_at_ns:
        line = _replaced(line, status="pending" if line.held else "running", run_at_ns=0)
    match event:  # what every run has comes first: each class that is asked for before it costs time
        case WorkflowCompleted() | WorkflowFailed() | WorkflowCancelled() | CompensateCompleted() | CompensateFailed():
            return line if line.ended else _ended(line, record, event)
        case WorkflowAdmitted():
            return _replaced(line, status="running") if line.status == "pending" else line
        case WorkflowPaused():
            return _replaced(line, paused=True)
        case WorkflowResumed():
            return _replaced(line, paused=False)
        case WorkflowReopened():
            return _reopened(line, event)
        case CompensateStarted():
            return _replaced(
                line, compensating=True, error=_cut(event.payload.error), failed_step=event.payload.trigger_step
            )
        case _:
            return line


def _instant(record: Record) -> int:
    due_ns = record.event.due_ns if isinstance(record.event, TimerFired) else 0
    return max(record.time_ns, due_ns)


def _begun(record: Record, event: WorkflowStarted, shape: Shape) -> RunSummary:
    start = event.payload
    is_held = (start.held or shape.is_admitted) and not start.refusal
    return RunSummary(
        run_id=event.run_id,
        workflow=start.workflow,
        def_hash=start.def_hash,
        status=_first_status(record, start, is_held=is_held),
        created_ns=record.time_ns,
        seq=record.seq,
        run_at_ns=start.run_at_ns if start.run_at_ns > record.time_ns else 0,
        steps=shape.steps,
        labels={**shape.labels, **start.labels},
        parent_run_id=start.parent.run_id if start.parent is not None else "",
        retry_of=start.retry_of,
        forked_from=start.forked_from,
        by=start.by,
        trace_parent=event.trace_parent,
        gated=shape.is_admitted,
        held=is_held,
    )


def _first_status(record: Record, start: Start, *, is_held: bool) -> RunStatus:
    if start.run_at_ns > record.time_ns:
        return "scheduled"
    return "pending" if is_held or start.refusal else "running"


def _reopened(line: RunSummary, event: WorkflowReopened) -> RunSummary:
    if line.status not in OPENABLE:
        return line
    is_held = event.held or line.gated
    return _replaced(
        line,
        status="pending" if is_held else "running",
        held=is_held,
        ended_ns=0,
        error="",
        failed_step="",
        compensating=line.status == "compensate_failed",
    )


def _ended(line: RunSummary, record: Record, event: TerminalEvent) -> RunSummary:
    outcome = event.payload
    return _replaced(
        line,
        status=STATUS[type(event)],
        ended_ns=record.time_ns,
        error=_cut(outcome.error) or line.error,
        failed_step=outcome.step_id or line.failed_step,
        compensating=False,
        paused=False,
        run_at_ns=0,
    )


def _cut(error: str) -> str:
    """What a list shows and a search finds: an error may be as long as an event."""
    return error if len(error) <= _LONGEST else f"{error[:_LONGEST]}…"


def _replaced(line: RunSummary, **changes: object) -> RunSummary:
    return msgspec.structs.replace(line, **changes)
