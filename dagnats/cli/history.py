"""A run's history as the `run` commands print it: rows and lines for people, documents for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from dagnats.cli.output import json_text, one_line, plain
from dagnats.cli.report import COLOURS
from dagnats.model.instant import rfc3339, table_time

if TYPE_CHECKING:
    from dagnats.cli.output import Paint
    from dagnats.client import Chunk, EventView

EVENT_HEADER = ("TIMESTAMP", "TYPE", "STEP", "TRACE", "DATA")

_DATA_LENGTH = 200  # of an event's data, in the table
_TRACE_LENGTH = 6

_ENDINGS = {
    "workflow.completed": "completed",
    "workflow.failed": "failed",
    "workflow.cancelled": "cancelled",
    "compensate.completed": "compensated",
    "compensate.failed": "failed to compensate",
}


# -- run events --------------------------------------------------------------------------------------------


def event_row(event: EventView, *, full: bool) -> tuple[str, ...]:
    """An event as a row of the table."""
    data = f"{event.name} {_data(event)}" if event.name else _data(event)
    if not full and len(data) > _DATA_LENGTH:
        data = f"{data[:_DATA_LENGTH]}…"
    return (table_time(event.time_ns), event.type, event.step_id or "-", _trace(event.trace_parent), data)


def event_document(event: EventView) -> dict[str, Any]:
    """An event as JSON; its data is JSON text."""
    return {
        "type": event.type,
        "run_id": event.run_id,
        "step_id": event.step_id,
        "timestamp": rfc3339(event.time_ns),
        "data": _data(event),
        "trace_parent": event.trace_parent,
        "seq": event.seq,
        "name": event.name,
    }


def _data(event: EventView) -> str:
    return json_text(event.payload) if event.payload is not None else ""


def _trace(trace_parent: str) -> str:
    parts = trace_parent.split("-")
    return f"{parts[1][:_TRACE_LENGTH]}..." if len(parts) == 4 else "-"


# -- run watch ---------------------------------------------------------------------------------------------


def watch_line(event: EventView, *, paint: Paint = plain) -> str:
    """An event as `--watch` prints it; "" for what only the engine cares about."""
    match event.type:
        case "workflow.started":
            return f"Run {event.run_id} started"
        case "step.started":
            return f"step.{event.step_id}: {paint('started', 'dim')}"
        case "step.completed":
            return f"step.{event.step_id}: {paint('completed', 'green')}"
        case "step.failed":
            return f"step.{event.step_id}: {paint('failed', 'red')} (attempt {event.attempt}): {_error(event)}"
        case "compensate.started":
            return f"Run {event.run_id} {paint('compensating', 'yellow')}: {_error(event)}"
        case "compensate.step.completed":
            return f"step.{event.step_id}: undid {_member(event, 'original_step')}"
        case ending if ending in _ENDINGS:
            word = _ENDINGS[ending]
            told = f"Run {event.run_id} {paint(word, COLOURS.get(word, 'red'))}"
            return f"{told}: {_error(event)}" if _error(event) else told
        case _:
            return ""


def _error(event: EventView) -> str:
    if isinstance(event.payload, str):  # how old workers tell a failure
        return one_line(event.payload)
    return one_line(_member(event, "error"))


def _member(event: EventView, key: str) -> str:
    payload: Any = event.payload
    return str(cast("dict[str, Any]", payload).get(key, "")) if isinstance(payload, dict) else ""


# -- run stream --------------------------------------------------------------------------------------------


def chunk_document(chunk: Chunk) -> dict[str, Any]:
    """A chunk as JSON: its text, or what is no text in base64."""
    from msgspec import to_builtins

    from dagnats.client.document.event import chunk_document

    return to_builtins(chunk_document(chunk))
