"""Runs as the `run` commands print them, for people; programs get the documents that HTTP gives them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from dagnats.cli.output import cut, json_text, one_line, pad, plain
from dagnats.cli.target import short
from dagnats.model.instant import second_text, table_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.cli.output import Paint
    from dagnats.client import RunSummary, RunView, StepView
    from dagnats.client.document import Document

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


def _coloured(status: str, paint: Paint) -> str:
    return paint(status, COLOURS[status]) if status in COLOURS else status


def run_document(view: RunView) -> dict[str, Any]:
    """The run as JSON."""
    from dagnats.client.document.run import run_document

    return _plain(run_document(view))


def _plain(document: Document) -> dict[str, Any]:
    from msgspec import to_builtins

    return to_builtins(document)


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
    from dagnats.client.document.listed import listed_document

    return _plain(listed_document(run))


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
