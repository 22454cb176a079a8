"""Lines of the telemetry that no console shows: what happens to runs, for `dagnats logs`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dagnats.model.instant import rfc3339
from dagnats.model.trace import step_trace_parent
from dagnats.runtime.telemetry.exporter import exporter
from dagnats.runtime.telemetry.logbook import exception_text, line

if TYPE_CHECKING:
    from dagnats.model.event import Failure
    from dagnats.model.task import Task
    from dagnats.runtime.telemetry.entry import Level

log = logging.getLogger("dagnats.telemetry")


def note(service: str, level: Level, body: str, **told: Any) -> None:
    """Note something; nothing, where nobody takes it."""
    found = exporter()
    if found is not None:
        found.tell(line(service, level, body, told, rfc3339(found.clock.now_ns())))


def note_failure(task: Task, failure: Failure, error: BaseException | None = None) -> None:
    """Note that an attempt has failed, with where its handler raised."""
    if exporter() is None:
        return
    try:
        _note_failure(task, failure, error)
    except Exception as why:  # a user's exception may do anything; its attempt has failed and no more
        log.debug("an attempt's failure is not noted", exc_info=why)


def _note_failure(task: Task, failure: Failure, error: BaseException | None) -> None:
    trace = step_trace_parent(task.traceparent, task.run_id, task.step_id, task.attempt)
    told: dict[str, Any] = {
        "run_id": task.run_id,
        "step_id": task.step_id,
        "attempt": task.tries or task.attempt or 1,
        "workflow": task.workflow_name,
        "error": failure.error,
        "trace_parent": trace,
    }
    if error is not None:
        told["exception"] = exception_text(error)
    note("worker", "WARN", "attempt failed", **told)
