"""Runs and their events as the `run` commands print them: lines for people, documents for programs."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any, cast

from dagnats.cli.output import cut, json_text, one_line, pad, plain
from dagnats.cli.target import short
from dagnats.model.instant import rfc3339, second_text, table_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.cli.output import Paint
    from dagnats.client import Chunk, EventView, RunSummary, RunView, StepView

_DATA_LENGTH = 200  # of an event's data, in the table
_TRACE_LENGTH = 6
_NANOS = 1_000_000_000

COLOURS = {
    "completed": "green",
    "recovered": "green",
    "failed": "red",
    "compensate_failed": "red",
    "compensated": "yellow",
    "cancelled": "yellow",
    "running": "cyan",
    "queued": "cyan",
}
"""The colour of each status that has one."""

RUN_HEADER = ("RUN_ID", "WORKFLOW", "STATUS", "CREATED", "STEPS")
SCHEDULED_HEADER = ("RUN ID", "WORKFLOW", "RUN AT", "STATUS")
EVENT_HEADER = ("TIMESTAMP", "TYPE", "STEP", "TRACE", "DATA")

_ENDINGS = {
    "workflow.completed": "completed",
    "workflow.failed": "failed",
    "workflow.cancelled": "cancelled",
    "compensate.completed": "compensated",
    "compensate.failed": "failed to compensate",
}


# -- run status --------------------------------------------------------------------------------------------


def status_lines(view: RunView, *, width: int | None = None, paint: Paint = plain) -> list[str]:
    """The run and its steps, in the definition's order; auxiliary steps that were not needed are left out."""
    lines = [
        f"Run: {view.run_id}",
        f"Workflow: {view.workflow}",
        f"Status: {_coloured(view.status, paint)}{' (paused)' if view.paused else ''}",
        f"Created: {table_time(view.created_ns)} UTC",
    ]
    if view.run_at_ns:
        lines.append(f"Begins: {table_time(view.run_at_ns)} UTC")
    if view.status == "pending":
        lines.append("Waits: until a limit of its workflow lets it begin")
    lines += [f"{name}: {run_id}" for name, run_id in _relatives(view) if run_id]
    if view.labels:
        lines.append(cut(f"Labels: {', '.join(f'{name}={value}' for name, value in view.labels.items())}", width))
    if view.error:
        lines.append(cut(f"Error: {blame(view)}", width))
    steps = [step for step in view.steps if _is_told(step)]
    if steps:
        lines += ["", "Steps:", *_step_lines(steps, width, paint)]
    return lines


def _relatives(view: RunView) -> list[tuple[str, str]]:
    return [("Parent", view.parent_run_id), ("Retry of", view.retry_of), ("Forked from", view.forked_from)]


def _is_told(step: StepView) -> bool:
    """Auxiliary steps once they run, items of a map once they are in trouble, generated steps always."""
    if step.auxiliary and not step.attempts:
        return False
    return not step.part_of or ".map." not in step.id or step.status == "failed" or step.retry_at_ns > 0


def blame(view: RunView) -> str:
    """Why the run did not complete, and which step is to blame."""
    error = one_line(view.error)
    return f"{view.failed_step}: {error}" if view.failed_step else error


def _step_lines(steps: Sequence[StepView], width: int | None, paint: Paint) -> list[str]:
    attempts = [f"(attempts: {step.attempts})" for step in steps]
    id_width = max(len(step.id) for step in steps)
    state_width = max(len(f"{step.status} {tries}") for step, tries in zip(steps, attempts, strict=True))
    left = max(width - id_width - state_width - 6, 1) if width is not None else None
    lines: list[str] = []
    for step, tries in zip(steps, attempts, strict=True):
        gap = " " * (state_width - len(f"{step.status} {tries}"))
        state = f"{_coloured(step.status, paint)} {tries}{gap}"
        lines.append(f"  {pad(step.id, id_width)}  {state}  {cut(detail(step), left)}".rstrip())
    return lines


def detail(step: StepView, *, now_ns: int = 0) -> str:
    """What a step has to say: its output, its error, what it waits for, or when its next attempt is due."""
    error = one_line(step.error)
    if step.gate:
        return f"waits: {step.gate}"
    if step.in_flight and (told := _progress(step)):
        return told
    if step.retry_at_ns:
        wait = max(step.retry_at_ns - (now_ns or time.time_ns()), 0) / _NANOS
        due = f"at {table_time(step.retry_at_ns)} UTC (in {wait:.1f}s)"
        return f"next attempt {due}; the last one: {error}" if error else f"goes on {due}"
    if step.status == "completed":
        return one_line(json_text(step.output))
    return error


def _progress(step: StepView) -> str:
    """How far a step in flight is, of those that are more than one task; and what the others wait for."""
    until = f"until {table_time(step.due_ns)} UTC" if step.due_ns else ""
    match step.type:
        case "map" if step.items and not step.part_of:
            failed = f", {step.failed_items} failed" if step.failed_items else ""
            return f"{step.items - step.left}/{step.items} items{failed}"
        case "planner" if step.left:
            return f"{step.left} planned steps to go"
        case "sub_workflow" if step.child_run_id:
            return f"child run {step.child_run_id}"
        case "sleep":
            return f"sleeps {until}"
        case "wait_for_event":
            return f"waits for {step.awaits} {until}"
        case "approval":
            return f"waits for an approval {until}"
        case "agent_loop" if step.iteration and not step.retry_at_ns:
            return f"turn {step.iteration + 1}"
        case _:
            return _said(step)


def _said(step: StepView) -> str:
    """What the handler of a running step says of it."""
    if step.status != "running":
        return ""
    done = f"{step.progress:.0%}" if step.progress is not None else ""
    words = " ".join(word for word in (done, one_line(step.message)) if word)
    return words or (one_line(json_text(step.details)) if step.details is not None else "")


def run_document(view: RunView) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "run_id": view.run_id,
        "workflow_id": view.workflow,
        "def_hash": view.def_hash,
        "status": view.status,
        "paused": view.paused,
        "created_at": rfc3339(view.created_ns),
        "completed_at": _instant(view.ended_ns),
        "run_at": _instant(view.run_at_ns),
        "labels": dict(view.labels),
        "parent_run_id": view.parent_run_id,
        "retry_of": view.retry_of,
        "forked_from": view.forked_from,
        "events": view.events,
        "steps": {step.id: _step_document(step) for step in view.steps},
        "input": view.input,
        "output": view.output,
        "error": view.error,
        "failed_step": view.failed_step,
    }


def _step_document(step: StepView) -> dict[str, Any]:
    return {
        "status": step.status,
        "attempts": step.attempts,
        "output": step.output,
        "error": step.error,
        "task": step.task,
        "depends_on": list(step.needs),
        "queued_at": _instant(step.queued_ns),
        "started_at": _instant(step.started_ns),
        "completed_at": _instant(step.ended_ns),
        "retry_at": _instant(step.retry_at_ns),
        "worker_id": step.worker_id,
        "type": step.type,
        "held": step.held,
        "due_at": _instant(step.due_ns),
        "iteration": step.iteration,
        "part_of": step.part_of,
        "items": step.items,
        "left": step.left,
        "failed_items": step.failed_items,
        "child_run_id": step.child_run_id,
        "awaits": step.awaits,
        "progress": step.progress,
        "message": step.message,
        "details": step.details,
        "gate": step.gate,
    }


def chunk_document(chunk: Chunk) -> dict[str, Any]:
    """A chunk as JSON: its text, or what is no text in base64."""
    try:
        data = {"text": chunk.data.decode()}
    except UnicodeDecodeError:
        data = {"base64": base64.b64encode(chunk.data).decode()}
    return {"offset": chunk.offset, "attempt": chunk.attempt, "time": rfc3339(chunk.time_ns), **data}


def _instant(nanos: int) -> str | None:
    return rfc3339(nanos) if nanos else None


def _coloured(status: str, paint: Paint) -> str:
    return paint(status, COLOURS[status]) if status in COLOURS else status


# -- run list ----------------------------------------------------------------------------------------------


def run_row(run: RunSummary, *, whole: bool = False) -> tuple[str, ...]:
    """A run as a row of the list; `whole` shows all of its id."""
    run_id = run.run_id if whole else short(run.run_id)
    return (run_id, run.workflow, state_text(run), table_time(run.created_ns), str(run.steps))


def scheduled_row(run: RunSummary, *, whole: bool = False) -> tuple[str, ...]:
    """A run that is to begin later, as a row."""
    run_id = run.run_id if whole else short(run.run_id)
    return (run_id, run.workflow, second_text(run.run_at_ns), state_text(run))


def listed_document(run: RunSummary) -> dict[str, Any]:
    """A run of a list as JSON."""
    return {
        "run_id": run.run_id,
        "workflow_id": run.workflow,
        "status": run.status,
        "paused": run.paused,
        "created_at": rfc3339(run.created_ns),
        "completed_at": _instant(run.ended_ns),
        "run_at": _instant(run.run_at_ns),
        "labels": run.labels,
        "error": run.error,
        "failed_step": run.failed_step,
        "steps": run.steps,
    }


def state_text(view: RunView | RunSummary) -> str:
    """A run's status, and whether somebody holds it."""
    return f"{view.status} (paused)" if view.paused else view.status


# -- run output --------------------------------------------------------------------------------------------


def leaf_outputs(view: RunView) -> dict[str, Any]:
    """What the steps nobody depends on returned, of those that completed."""
    return {step.id: step.output for step in view.steps if step.id in view.leaves and step.status == "completed"}


def output_text(view: RunView) -> str:
    """The output of the one leaf, or of several as an object; one that was skipped is null."""
    outputs = leaf_outputs(view)
    return json_text(outputs.get(view.leaves[0]) if len(view.leaves) == 1 else dict.fromkeys(view.leaves) | outputs)


def output_document(view: RunView) -> dict[str, Any]:
    """The outputs as JSON; each one is JSON text, as a step's bytes were."""
    outputs = {step_id: json_text(output) for step_id, output in leaf_outputs(view).items()}
    return {"run_id": view.run_id, "status": view.status, "outputs": outputs}


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
