"""`run …`: start runs and look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli import completion
from dagnats.cli.connection import open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import cut, emit, emit_line, one_line, paint, room, say, table
from dagnats.errors import NotFoundError

if TYPE_CHECKING:
    from dagnats.client import AsyncClient, EventView, RunHandle, RunView

app = typer.Typer(help="Start workflow runs and look at them.")

_RUN_ID = typer.Argument(
    "",
    metavar="RUN_ID",
    help="The run: its id, or the first 8 characters or more.",
    show_default=False,
    autocompletion=completion.run_ids,
)
_LAST = typer.Option(False, "--last", help="The newest run, instead of an id.")
_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")


@app.command()
def start(
    workflow: str = typer.Argument(
        metavar="WORKFLOW", help="Its name.", show_default=False, autocompletion=completion.workflow_names
    ),
    input: str = typer.Argument("", metavar="INPUT", help="The input, as JSON.", show_default=False),
    watch: bool = typer.Option(False, "--watch", help="Print the run's events until it ends."),
    output: bool = typer.Option(False, "--output", help="Print the output at the end. Implies --watch."),
    run_id: str = typer.Option("", "--run-id", metavar="ID", help="The new run's id; made up when left out."),
) -> None:
    """Start a run of a registered workflow."""
    run(_start(workflow, _json_bytes(input), run_id, watch=watch or output, output=output))


@app.command()
def status(run_id: str = _RUN_ID, last: bool = _LAST, wide: bool = _WIDE) -> None:
    """Show a run and its steps."""
    from dagnats.cli.report import run_document, status_lines

    view = run(_view(run_id, last))
    if current().json:
        emit(run_document(view))
        return
    for line in status_lines(view, width=None if wide else room(), paint=paint):
        say(line)


@app.command()
def events(
    run_id: str = _RUN_ID,
    last: bool = _LAST,
    full: bool = typer.Option(False, "--full", help="Show all of the data, not its first 200 characters."),
    type: str = typer.Option("", "--type", metavar="TYPE", help="Only events of this type: step.completed."),
    step: str = typer.Option("", "--step", metavar="STEP", help="Only events of this step."),
    wide: bool = _WIDE,
) -> None:
    """Show a run's history."""
    from dagnats.cli.report import EVENT_HEADER, event_document, event_row

    found = run(_events(run_id, last, type, step))
    if current().json:
        emit([event_document(event) for event in found])
        return
    rows = [event_row(event, full=full) for event in found]
    for line in table(EVENT_HEADER, rows, None if wide or full else room()):
        say(line)


@app.command()
def watch(run_id: str = _RUN_ID, last: bool = _LAST) -> None:
    """Print a run's events from its start until it ends. With --json, one event a line."""
    run(_watch(run_id, last))


@app.command()
def output(run_id: str = _RUN_ID, last: bool = _LAST) -> None:
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


@app.command()
def cancel(run_id: str = _RUN_ID, last: bool = _LAST) -> None:
    """End a run now."""
    cancelled = run(_cancel(run_id, last))
    if current().json:
        emit({"run_id": cancelled, "cancelled": True})
    else:
        say(f"{paint('Cancelled:', 'yellow')} {cancelled}")


# -- starting ----------------------------------------------------------------------------------------------


def _json_bytes(text: str) -> bytes:
    """The input as it goes into the log: what was typed, once it is known to be JSON."""
    import msgspec

    if not text.strip():
        return b"null"
    try:
        data = text.strip().encode()
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(
            f"the input must be JSON, and {cut(one_line(text), 60)} is not: {error}",
            hint="a string needs quotes of its own: '\"World\"'",
        ) from None
    return data


async def _start(workflow: str, input: bytes, run_id: str, *, watch: bool, output: bool) -> None:
    async with open_client() as client:
        handle = await client.start_json(await client.workflow(workflow), input, run_id=run_id)
        document: dict[str, Any] = {"run_id": handle.run_id, "workflow_id": workflow}
        if not current().json:
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


# -- looking -----------------------------------------------------------------------------------------------


async def _find(client: AsyncClient, run_id: str, last: bool) -> RunHandle:
    """The run that is meant: an id or a prefix of it, or the newest one."""
    if last and run_id:
        raise UsageError(f"--last and the run id {run_id!r} say two things", hint="leave one of them out")
    if not last and not run_id:
        raise UsageError("which run?", hint="give a run id, or --last for the newest run")
    return await client.newest() if last else await client.find(run_id)


async def _view(run_id: str, last: bool) -> RunView:
    async with open_client() as client:
        return await (await _find(client, run_id, last)).view()


async def _events(run_id: str, last: bool, type: str, step: str) -> list[EventView]:
    async with open_client() as client:
        handle = await _find(client, run_id, last)
        history = await handle.history()
        found = [event for event in history if type in ("", event.type) and step in ("", event.step_id)]
        if not found:
            _refuse_unknown(type, step, await handle.view())
        return found


def _refuse_unknown(type: str, step: str, view: RunView) -> None:
    """Nothing was found: because there is nothing, or because the question names what does not exist?"""
    from typing import get_args

    from dagnats.model.event import AnyEvent
    from dagnats.model.identifier import near

    types = [str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)]
    steps = [it.id for it in view.steps]
    if type and type not in types:
        raise NotFoundError("event type", type, near=near(type, types))
    if step and step not in steps:
        raise NotFoundError("step", step, near=near(step, steps))


async def _watch(run_id: str, last: bool) -> None:
    async with open_client() as client:
        view = await _follow(await _find(client, run_id, last))
    if view.status != "completed":
        raise typer.Exit(NO)


async def _follow(handle: RunHandle, *, quiet: bool = False) -> RunView:
    """Print events until the run ends, and give it."""
    from dagnats.cli.report import event_document, watch_line

    async for event in handle.events():
        if quiet:
            continue
        if current().json:
            emit_line(event_document(event))
        elif line := watch_line(event, paint=paint):
            say(line)
    return await handle.view()


def _say_not_completed(view: RunView) -> None:
    from dagnats.cli.report import blame

    if view.ended:
        why = f": {blame(view)}" if view.error else ""
        say(f"run {view.run_id} has no output, it ended {view.status}{why}", err=True)
    else:
        say(f"run {view.run_id} has no output yet, it is {view.status}", err=True)
        say(f"{paint('hint:', 'cyan')} `dagnats run watch {view.run_id}` waits for its end", err=True)


async def _cancel(run_id: str, last: bool) -> str:
    async with open_client() as client:
        handle = await _find(client, run_id, last)
        await handle.cancel()
        return handle.run_id
