"""`run …`: start runs and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import typer
from typing_extensions import Unpack

from dagnats.cli import completion
from dagnats.cli.connection import open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, emit_line, paint, pour, room, say, table
from dagnats.cli.payload import input_bytes
from dagnats.cli.target import AFTER, BEFORE, BY, LAST, RUN_ID, expect, find, shifted
from dagnats.errors import NotFoundError
from dagnats.model.instant import second_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client import AnyRun, EventView, RunSummary, RunView, Tally
    from dagnats.model.run import RunStatus

app = typer.Typer(help="Start workflow runs and look at them.")

_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")
_WORKFLOW = typer.Option(
    "", "--workflow", metavar="NAME", help="Only of this workflow.", autocompletion=completion.workflow_names
)
_STATUS = typer.Option("", "--status", metavar="STATUS", help="Only in this status: failed.")
_LABEL = typer.Option([], "--label", metavar="NAME=VALUE", help="Only with this label; may be repeated.")
_PARENT = typer.Option("", "--parent", metavar="RUN_ID", help="Only what this run has started.")
_ERROR = typer.Option("", "--error", metavar="TEXT", help="Only with this text in the error.")


@app.command()
def start(
    workflow: str = typer.Argument(
        metavar="WORKFLOW", help="Its name.", show_default=False, autocompletion=completion.workflow_names
    ),
    input: str = typer.Argument("", metavar="INPUT", help="The input, as JSON.", show_default=False),
    watch: bool = typer.Option(False, "--watch", help="Print the run's events until it ends."),
    output: bool = typer.Option(False, "--output", help="Print the output at the end. Implies --watch."),
    at: str = typer.Option(
        "", "--at", metavar="TIME", help="When it is to begin: 2027-01-15T09:00:00Z, a date, or +10m."
    ),
    key: str = typer.Option("", "--idempotency-key", metavar="KEY", help="One run for all starts with it, for a day."),
    label: list[str] = typer.Option([], "--label", metavar="NAME=VALUE", help="Shown with the run; may be repeated."),
    input_file: Path | None = typer.Option(
        None, "--input-file", metavar="FILE", help="The input; - for what is piped in."
    ),
    run_id: str = typer.Option("", "--run-id", metavar="ID", help="The new run's id; made up when left out."),
    priority: int | None = typer.Option(
        None, "--priority", metavar="SECONDS", help="While held, ahead of runs that came up to so much earlier."
    ),
    by: str = BY,
) -> None:
    """Start a run of a registered workflow."""
    terms = Terms(run_id=run_id, idempotency_key=key, at=at or None, labels=_labels(label), priority=priority, by=by)
    run(_start(workflow, input_bytes(input, input_file), terms, watch=watch or output, output=output))


@app.command("list")
def list_runs(
    workflow: str = _WORKFLOW,
    status: str = _STATUS,
    scheduled: bool = typer.Option(False, "--scheduled", help="Those that are to begin later, and when."),
    label: list[str] = _LABEL,
    parent: str = _PARENT,
    error: str = _ERROR,
    after: str = AFTER,
    before: str = BEFORE,
    limit: int = typer.Option(50, "--limit", metavar="N", min=1, help="At most so many."),
    wide: bool = _WIDE,
) -> None:
    """List the newest runs."""
    from dagnats.cli.report import RUN_HEADER, SCHEDULED_HEADER, listed_document, run_row, scheduled_row

    if scheduled and status not in ("", "scheduled"):
        raise UsageError(f"--scheduled and --status {status} say two things", hint="leave one of them out")
    wanted = _filter(workflow, "scheduled" if scheduled else status, label, parent, error, after, before)
    found = run(_runs(limit, **wanted))
    if current().json:
        emit([listed_document(each) for each in found])
    elif not found:
        say("No runs were found.")
    else:
        header, row = (SCHEDULED_HEADER, scheduled_row) if scheduled else (RUN_HEADER, run_row)
        for line in table(header, [row(each, whole=wide) for each in found], None if wide else room()):
            say(line)


@app.command()
def count(
    workflow: str = _WORKFLOW,
    status: str = _STATUS,
    label: list[str] = _LABEL,
    parent: str = _PARENT,
    error: str = _ERROR,
    after: str = AFTER,
    before: str = BEFORE,
) -> None:
    """Count runs, by workflow and status."""
    found = run(_counts(**_filter(workflow, status, label, parent, error, after, before)))
    total = sum(tally.count for tally in found)
    if current().json:
        rows = [{"workflow_id": each.workflow, "status": each.status, "count": each.count} for each in found]
        emit({"count": total, "by": rows})
        return
    if found:
        rows = [(each.workflow, each.status, str(each.count)) for each in found]
        for line in table(("WORKFLOW", "STATUS", "RUNS"), rows, room()):
            say(line)
    say(counted(total, "run"))


@app.command()
def status(run_id: str = RUN_ID, last: bool = LAST, wide: bool = _WIDE) -> None:
    """Show a run and its steps."""
    from dagnats.cli.report import run_document, status_lines

    view = run(_view(run_id, last, gates=True))
    if current().json:
        emit(run_document(view))
        return
    for line in status_lines(view, width=None if wide else room(), paint=paint):
        say(line)


@app.command()
def events(
    run_id: str = RUN_ID,
    last: bool = LAST,
    full: bool = typer.Option(False, "--full", help="Show all of the data, not its first 200 characters."),
    type: str = typer.Option("", "--type", metavar="TYPE", help="Only events of this type: step.completed."),
    step: str = typer.Option(
        "", "--step", metavar="STEP", help="Only events of this step.", autocompletion=completion.step_ids
    ),
    wide: bool = _WIDE,
) -> None:
    """Show a run's history."""
    from dagnats.cli.history import EVENT_HEADER, event_document, event_row

    found = run(_events(run_id, last, type, step))
    if current().json:
        emit([event_document(event) for event in found])
        return
    rows = [event_row(event, full=full) for event in found]
    for line in table(EVENT_HEADER, rows, None if wide or full else room()):
        say(line)


@app.command()
def watch(run_id: str = RUN_ID, last: bool = LAST) -> None:
    """Print a run's events from its start until it ends. With --json, one event a line."""
    run(_watch(run_id, last))


@app.command()
def stream(
    run_id: str = RUN_ID,
    step: str = typer.Argument(
        "", metavar="STEP", help="The step.", show_default=False, autocompletion=completion.step_ids
    ),
    last: bool = LAST,
    after: int = typer.Option(-1, "--after", metavar="OFFSET", min=-1, help="Only what comes behind this chunk."),
) -> None:
    """Print what a step streams, from its start until it is done. With --json, one chunk a line."""
    run_id, step = shifted(last, run_id, step)
    run(_stream(run_id, expect(step, "STEP"), last, after))


@app.command()
def output(run_id: str = RUN_ID, last: bool = LAST) -> None:
    """Print what the last steps of a completed run returned."""
    from dagnats.cli.report import output_document, output_text

    view = run(_view(run_id, last))
    if current().json:
        emit(output_document(view))
    elif view.status == "completed":
        say(output_text(view))
    else:
        _say_not_completed(view)
    if view.status != "completed":
        raise typer.Exit(NO)


# -- starting ----------------------------------------------------------------------------------------------


class Terms(TypedDict):
    """How a run is to be started."""

    run_id: str
    idempotency_key: str
    priority: int | None
    at: str | None
    labels: dict[str, str]
    by: str


def _labels(given: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for label in given:
        name, equals, value = label.partition("=")
        if not equals or not name:
            raise UsageError(f"{label!r} is no label", hint="write --label NAME=VALUE")
        labels[name] = value
    return labels


async def _start(workflow: str, input: bytes, terms: Terms, *, watch: bool, output: bool) -> None:
    async with open_client() as client:
        handle = await client.start_json(await client.workflow(workflow), input, **terms)
        document: dict[str, Any] = {"run_id": handle.run_id, "workflow_id": workflow}
        if terms["at"] is not None:
            run_at_ns = (await handle.view()).run_at_ns
            document["run_at"] = second_text(run_at_ns)
            if not current().json:
                say(f"{paint('Scheduled', 'green')} {handle.run_id} (run at {second_text(run_at_ns)})")
        elif not current().json:
            say(f"{paint('Started:', 'green')} {handle.run_id}")
        if watch:
            view = await _follow(handle, quiet=current().json)
            document |= _ended(view, output=output)
    if current().json:
        emit(document)
    if watch and document["status"] != "completed":
        raise typer.Exit(NO)


def _ended(view: RunView, *, output: bool) -> dict[str, Any]:
    """Tell how a watched run ended: as text now, or as members of the document to print."""
    from dagnats.cli.report import output_document, output_text

    if output and not current().json and view.status == "completed":
        say("Output:")
        say(output_text(view))
    outputs = {"outputs": output_document(view)["outputs"]} if output else {}
    return {"status": view.status, "error": view.error, **outputs}


def _known_status(status: str) -> RunStatus | Literal[""]:
    from typing import get_args

    from dagnats.model.identifier import near
    from dagnats.model.run import RunStatus

    known = get_args(RunStatus)
    if status and status not in known:
        close = near(status, known)
        raise UsageError(
            f"there is no status {status!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}",
        )
    return cast("RunStatus", status)


# -- looking -----------------------------------------------------------------------------------------------


class Filter(TypedDict):
    """Which runs are meant."""

    workflow: str
    status: RunStatus | Literal[""]
    labels: dict[str, str]
    parent: str
    error: str
    after: str | None
    before: str | None


def _filter(
    workflow: str, status: str, label: Sequence[str], parent: str, error: str, after: str, before: str
) -> Filter:
    return Filter(
        workflow=workflow,
        status=_known_status(status),
        labels=_labels(label),
        parent=parent,
        error=error,
        after=after or None,
        before=before or None,
    )


async def _runs(limit: int, **which: Unpack[Filter]) -> list[RunSummary]:
    async with open_client() as client:
        return await client.runs(limit=limit, **which)


async def _counts(**which: Unpack[Filter]) -> list[Tally]:
    async with open_client() as client:
        return await client.count(**which)


async def _view(run_id: str, last: bool, *, gates: bool = False) -> RunView:
    async with open_client() as client:
        return await (await find(client, run_id, last)).view(gates=gates)


async def _events(run_id: str, last: bool, type: str, step: str) -> list[EventView]:
    async with open_client() as client:
        handle = await find(client, run_id, last)
        history = await handle.history()
        found = [event for event in history if type in ("", event.type) and step in ("", event.step_id)]
        if not found:
            _refuse_unknown(type, step, await handle.view())
        return found


def _refuse_unknown(type: str, step: str, view: RunView) -> None:
    """Nothing was found: because there is nothing, or because the question names what does not exist?"""
    from dagnats.model.event import EVENT_TYPES
    from dagnats.model.identifier import near

    steps = [it.id for it in view.steps]
    if type and type not in EVENT_TYPES:
        raise NotFoundError("event type", type, near=near(type, EVENT_TYPES))
    if step and step not in steps:
        raise NotFoundError("step", step, near=near(step, steps))


async def _watch(run_id: str, last: bool) -> None:
    async with open_client() as client:
        view = await _follow(await find(client, run_id, last))
    if view.status != "completed":
        raise typer.Exit(NO)


async def _follow(handle: AnyRun, *, quiet: bool = False) -> RunView:
    """Print events until the run ends, and give it."""
    from dagnats.cli.history import event_document, watch_line

    async for event in handle.events():
        if quiet:
            continue
        if current().json:
            emit_line(event_document(event))
        elif line := watch_line(event, paint=paint):
            say(line)
    return await handle.view()


async def _stream(run_id: str, step: str, last: bool, after: int) -> None:
    from dagnats.cli.history import chunk_document

    async with open_client() as client:
        handle, expected = await find(client, run_id, last), after + 1
        async for chunk in handle.stream(step, after=after):
            if chunk.offset > expected:
                say(f"chunks {expected} to {chunk.offset - 1} are gone: the oldest are forgotten", err=True)
            expected = chunk.offset + 1
            if current().json:
                emit_line(chunk_document(chunk))
            else:
                pour(chunk.data)


def _say_not_completed(view: RunView) -> None:
    from dagnats.cli.report import blame

    if view.ended:
        why = f": {blame(view)}" if view.error else ""
        say(f"run {view.run_id} has no output, it ended {view.status}{why}", err=True)
    else:
        say(f"run {view.run_id} has no output yet, it is {view.status}", err=True)
        say(f"{paint('hint:', 'cyan')} `dagnats run watch {view.run_id}` waits for its end", err=True)
