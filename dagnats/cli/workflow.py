"""`workflow …`: definitions that are registered, and files that could be."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli import completion
from dagnats.cli import register as registering
from dagnats.cli.connection import open_client, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.definition import definitions_of, read_definition, warnings_of
from dagnats.cli.failure import NO, InvalidWorkflows, problem_document, problem_lines, warn
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, room, say, table
from dagnats.cli.target import BY, REASON
from dagnats.errors import DefinitionError

if TYPE_CHECKING:
    from datetime import timedelta

    from dagnats.client import Version
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.ops import WorkflowLimited

_HASH = 12  # of its 64 digits, in tables


class Form(StrEnum):
    """How a graph is drawn."""

    mermaid = "mermaid"
    svg = "svg"


app = typer.Typer(help="Manage workflow definitions.")

_FILE = typer.Argument(metavar="FILE", help="A workflow definition in JSON.", show_default=False)
_NAME = typer.Argument(
    metavar="NAME", help="The workflow.", show_default=False, autocompletion=completion.workflow_names
)
_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")


def _definition(metavar: str) -> Any:
    return typer.Argument(
        metavar=metavar,
        help="A registered name, NAME@HASH, or a JSON file.",
        show_default=False,
        autocompletion=completion.workflow_names,
    )


@app.command("list")
def list_workflows(wide: bool = _WIDE) -> None:
    """List all registered workflows."""
    definitions = run(_all())
    if current().json:
        emit([definition.content() for definition in definitions])
    elif not definitions:
        say("No workflows are registered.")
        say(f"{paint('hint:', 'cyan')} `dagnats register` compiles workflows/ and registers what is there", err=True)
    else:
        rows = [(it.name, str(len(it.steps)), _timeout(it.timeout)) for it in definitions]
        for line in table(("NAME", "STEPS", "TIMEOUT"), rows, None if wide else room()):
            say(line)


@app.command()
def register(file: Path = _FILE, dry_run: bool = registering.DRY_RUN) -> None:
    """Register a workflow from a JSON file. `dagnats register` takes Python too."""
    try:
        definition = read_definition(file)
    except DefinitionError as error:
        raise InvalidWorkflows([error], registering.NOTHING_REGISTERED) from error
    registering.register_one(definition, dry_run=dry_run)


@app.command()
def show(
    name: str = _NAME,
    wide: bool = _WIDE,
) -> None:
    """Show a registered workflow and the table of its steps."""
    definition = run(_one(name))
    if current().json:
        emit(definition.content())
        return
    say(f"Name: {definition.name}")
    say(f"Version: {definition.version}")
    say(f"Steps: {len(definition.steps)}")
    say(f"Timeout: {_timeout(definition.timeout)}")
    say()
    rows = [(step.id, step.task or f"({step.type})", ", ".join(step.depends_on) or "-") for step in definition.steps]
    for line in table(("ID", "TASK", "DEPENDS ON"), rows, None if wide else room()):
        say(line)


@app.command()
def delete(name: str = _NAME, force: bool = FORCE) -> None:
    """Forget a workflow: no run of it can be started. Those that there are go on, and can be shown."""
    run(_one(name))
    expect_consent(f"Delete workflow {name}?", force=force)
    run(_delete(name))
    if current().json:
        emit({"name": name, "deleted": True})
    else:
        say(f"{paint('Deleted:', 'yellow')} {name}")


@app.command()
def pause(name: str = _NAME, reason: str = REASON, by: str = BY) -> None:
    """Let no run of a workflow begin until it is resumed. Runs that have begun go on."""

    async def do() -> None:
        async with open_client() as client:
            await client.pause_workflow(name, reason, by=by)

    run(do())
    _say({"name": name, "paused": True}, f"{paint('Paused:', 'yellow')} {name}")


@app.command()
def resume(name: str = _NAME, by: str = BY) -> None:
    """Let runs of a paused workflow begin."""

    async def do() -> None:
        async with open_client() as client:
            await client.resume_workflow(name, by=by)

    run(do())
    _say({"name": name, "paused": False}, f"{paint('Resumed:', 'green')} {name}")


@app.command()
def limit(
    name: str = _NAME,
    max_runs: int | None = typer.Option(
        None, "--max-runs", metavar="N", min=0, help="How many may go on; 0 for what the definition says."
    ),
    max_events: int | None = typer.Option(
        None, "--max-events", metavar="N", min=0, help="How long a new run's history may become; 0 for 50,000 events."
    ),
    max_depth: int | None = typer.Option(
        None, "--max-depth", metavar="N", min=0, help="How many runs may be above one that it starts; 0 for 8."
    ),
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Limit the runs of a workflow: how many go on at a time, how long they become, how deep they start others.

    What is not named stays. Runs that went on before, of a workflow without any limit, are not counted.
    """
    if max_runs is max_events is max_depth is None:
        raise UsageError("no limit is given", hint="name --max-runs, --max-events or --max-depth; 0 takes it away")

    async def do() -> WorkflowLimited:
        async with open_client() as client:
            return await client.limit_workflow(
                name, max_runs, max_events=max_events, max_depth=max_depth, by=by, reason=reason
            )

    limits = run(do())
    document = {
        "name": name,
        "max_runs": limits.max_runs or None,
        "max_events": limits.max_events or None,
        "max_depth": limits.max_depth or None,
    }
    _say(document, f"{paint('Limited:', 'green')} {name}: {_limits_text(limits)}")


def _limits_text(limits: WorkflowLimited) -> str:
    told = [
        f"at most {counted(limits.max_runs, 'run')} at a time" if limits.max_runs else "",
        f"at most {counted(limits.max_events, 'event')} a run" if limits.max_events else "",
        f"at most {counted(limits.max_depth, 'run')} above a child" if limits.max_depth else "",
    ]
    return ", ".join(filter(None, told)) or "as the definition says"


def _say(document: dict[str, Any], line: str) -> None:
    if current().json:
        emit(document)
    else:
        say(line)


@app.command()
def validate(file: Path = _FILE) -> None:
    """Validate a workflow file. Needs no server."""
    try:
        definition = read_definition(file)
    except DefinitionError as error:
        _print_invalid(error)
        raise typer.Exit(NO) from None
    steps, warnings = len(definition.steps), warnings_of([definition], None)
    if current().json:
        told = [problem_document(problem) for _, problem in warnings]
        emit({"valid": True, "name": definition.name, "steps": steps, **({"warnings": told} if told else {})})
    else:
        say(f"{paint('Valid:', 'green')} {definition.name} ({counted(steps, 'step')})")
        warn(("", problem) for _, problem in warnings)


@app.command()
def versions(name: str = _NAME, wide: bool = _WIDE) -> None:
    """List every version of a workflow that was registered, the last one first."""
    from dagnats.model.instant import rfc3339, table_time

    found = run(_versions(name))
    if current().json:
        emit(
            [
                {
                    "hash": it.definition.identity,
                    "version": it.definition.version,
                    "steps": len(it.definition.steps),
                    "registered_at": rfc3339(it.registered_ns),
                    "newest": it.newest,
                }
                for it in found
            ]
        )
        return
    rows = [
        (
            it.definition.identity[:_HASH],
            it.definition.version,
            str(len(it.definition.steps)),
            table_time(it.registered_ns),
            "yes" if it.newest else "-",
        )
        for it in found
    ]
    for line in table(("HASH", "VERSION", "STEPS", "REGISTERED", "NEWEST"), rows, None if wide else room()):
        say(line)


@app.command()
def graph(
    definition: str = _definition("DEFINITION"),
    form: Form = typer.Option(Form.mermaid, "--format", help="Text, or a picture."),
) -> None:
    """Draw a workflow: registered, or in a JSON file. `> graph.svg` keeps it."""
    from dagnats.dsl.graph import graph_of
    from dagnats.dsl.mermaid import mermaid
    from dagnats.dsl.picture import svg

    (found,) = run(definitions_of([definition]))
    steps = graph_of(found.content())
    text = svg(steps) if form is Form.svg else mermaid(steps)
    if current().json:
        emit({"name": found.name, "format": form.value, "graph": text})
    else:
        say(text.rstrip("\n"))


@app.command()
def diff(before: str = _definition("BEFORE"), after: str = _definition("AFTER")) -> None:
    """Show what changes from one definition to another."""
    from dagnats.cli.difference import change_document, change_line, changes

    old, new = run(definitions_of([before, after]))
    found = changes(old, new)
    if current().json:
        emit({"before": old.name, "after": new.name, "changes": [change_document(change) for change in found]})
    elif not found:
        say("unchanged")
    for change in () if current().json else found:
        say(change_line(change, paint))


def _print_invalid(error: DefinitionError) -> None:
    if current().json:
        problems = [problem_document(problem) for problem in error.problems]
        emit({"valid": False, "name": error.name, "problems": problems})
        return
    for problem in error.problems:
        for line in problem_lines(problem):
            say(line)


def _timeout(timeout: timedelta) -> str:
    from dagnats.model.duration import format_go_duration

    return format_go_duration(timeout) if timeout else "none"


async def _all() -> list[WorkflowDef]:
    async with open_client() as client:
        return await client.workflows()


async def _one(name: str) -> WorkflowDef:
    async with open_client() as client:
        return await client.workflow(name)


async def _versions(name: str) -> list[Version]:
    async with open_client() as client:
        return await client.versions(name)


async def _delete(name: str) -> None:
    async with open_client() as client:
        await client.delete_workflow(name)
