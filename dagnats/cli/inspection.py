"""`run inspect`: all that is known of one run, at one look."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, json_text, one_line, paint, room, say, table
from dagnats.cli.target import LAST, RUN_ID, find
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.client import AnyClient, DeadLetter, EventView, RunView, StepView
    from dagnats.client.diagnosis import StepFacts
    from dagnats.model.definition import WorkflowDef

app = typer.Typer()

_FAILED = ("step.failed", "workflow.failed", "compensate.failed")
_LETTER_HEADER = ("SEQ", "TASK", "STEP", "ERROR")
_HANDED_HEADER = ("STEP", "QUEUE", "QUEUED", "STARTED", "ENDED", "WORKER", "ATTEMPT", "DEADLINE")
_SECOND = 1_000_000_000


class Inspected(NamedTuple):
    """What there is to see of a run.

    Attributes:
        view: The run.
        failures: Its events that tell of a failure.
        letters: Its dead letters.
        version: What its definition calls itself; "" when that is gone.
        steps: By step, what its definition says.
    """

    view: RunView
    failures: list[EventView]
    letters: list[DeadLetter]
    version: str
    steps: Mapping[str, StepFacts]


@app.command()
def inspect(
    run_id: str = RUN_ID,
    last: bool = LAST,
    wide: bool = typer.Option(False, "--wide", help="Do not cut lines to the terminal."),
) -> None:
    """Show a run with its failures, its dead letters, and who has which step since when."""
    found = run(_inspected(run_id, last))
    if current().json:
        emit(document(found))
        return
    for line in lines(found, None if wide else room()):
        say(line)


async def _inspected(run_id: str, last: bool) -> Inspected:
    from dagnats.client.diagnose import step_facts

    async with open_client() as client:
        handle = await find(client, run_id, last)
        view = await handle.view(gates=True)
        failures = [event for event in await handle.history() if event.type in _FAILED]
        letters = await client.dead_letters(view.run_id)
        definition = await _definition_of(client, view)
        version = definition.version if definition is not None else ""
        return Inspected(view, failures, letters, version, step_facts(definition))


async def _definition_of(client: AnyClient, view: RunView) -> WorkflowDef | None:
    """The definition that a run is pinned to; None when it is gone, or cannot be read."""
    with suppress(DagnatsError):
        return await client.version(view.workflow, view.def_hash)
    return None


def lines(found: Inspected, width: int | None) -> list[str]:
    """The run as `run status` shows it, and what comes on top."""
    from dagnats.cli.report import status_lines
    from dagnats.model.instant import table_time

    view = found.view
    told = status_lines(view, width=width, paint=paint)
    at = next(place for place, line in enumerate(told) if line.startswith("Created: ")) + 1
    told[at:at] = [f"Ended: {table_time(view.ended_ns)} UTC"] if view.ended else []
    told[2:2] = [f"Definition: {' '.join(word for word in (found.version, view.def_hash[:12]) if word)}"]
    handed = [step for step in view.steps if step.attempts and step.task]
    if handed:
        rows = [_handed_row(step, found.steps) for step in handed]
        told += ["", "Hand-outs:", *(f"  {line}" for line in table(_HANDED_HEADER, rows, _inside(width)))]
    if found.failures:
        told += ["", "Failures:"]
        for event in found.failures:
            told += _failure_lines(event)
    if found.letters:
        cells = [(str(each.seq), each.what, each.step_id or "-", each.error) for each in found.letters]
        told += ["", "Dead Letters:", *(f"  {line}" for line in table(_LETTER_HEADER, cells, _inside(width)))]
    return told


def _inside(width: int | None) -> int | None:
    return width - 2 if width is not None else None


def _handed_row(step: StepView, steps: Mapping[str, StepFacts]) -> tuple[str, ...]:
    times = (_clock(step.queued_ns), _clock(step.started_ns), _clock(step.ended_ns))
    deadline = _clock(_deadline_ns(step, steps))
    return (step.id, _queue(step, steps), *times, step.worker_id or "-", str(step.attempts), deadline)


def _queue(step: StepView, steps: Mapping[str, StepFacts]) -> str:
    group = steps[step.id].group if step.id in steps else ""
    return f"{step.task}.{group}" if group else step.task


def _deadline_ns(step: StepView, steps: Mapping[str, StepFacts]) -> int:
    """When the attempt under way is over at the latest; 0 for never, and for a step that is not under way."""
    if step.due_ns:
        return step.due_ns
    timeout_ns = steps[step.id].timeout_ns if step.id in steps else 0
    return step.started_ns + timeout_ns if timeout_ns and step.started_ns and step.in_flight else 0


def _clock(nanos: int) -> str:
    from dagnats.model.instant import table_time

    return table_time(nanos).partition(" ")[2] if nanos else "-"


def _failure_lines(event: EventView) -> list[str]:
    from dagnats.model.instant import table_time

    when = table_time(event.time_ns).partition(" ")[2]
    told = [f"  {when} {paint(event.type, 'red')} {event.step_id}".rstrip()]
    trace = event.trace_parent.split("-")
    if len(trace) == 4:
        told.append(f"    trace: {trace[1]}")
    if event.payload is not None:
        told.append(f"    {one_line(json_text(event.payload))}")
    return told


def document(found: Inspected) -> dict[str, Any]:
    """The run as `run status --json` gives it, and what comes on top."""
    from dagnats.cli.history import event_document
    from dagnats.cli.report import run_document
    from dagnats.model.instant import rfc3339

    told = run_document(found.view)
    for step in found.view.steps:
        deadline_ns = _deadline_ns(step, found.steps)
        told["steps"][step.id] |= {
            "queue": _queue(step, found.steps),
            "deadline": rfc3339(deadline_ns) if deadline_ns else None,
        }
    letters = [
        {"seq": each.seq, "task": each.task, "step_id": each.step_id, "error": each.error, "attempts": each.attempts}
        for each in found.letters
    ]
    failures = [event_document(event) for event in found.failures]
    return {**told, "version": found.version, "failures": failures, "dead_letters": letters}
