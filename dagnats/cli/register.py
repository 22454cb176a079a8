"""`register`: compile workflows and make them the newest of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.definition import TARGETS_HELP, compiled, warnings_of
from dagnats.cli.failure import InvalidWorkflows, problem_document, warn
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, emit_line, paint, say
from dagnats.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client import AsyncClient, Registration
    from dagnats.model.definition import WorkflowDef

NOTHING_REGISTERED = "nothing was registered"
DRY_RUN = typer.Option(False, "--dry-run", help="Register nothing; show what would change.")


def register(
    targets: list[str] | None = typer.Argument(
        None, metavar="TARGETS", help=f"{TARGETS_HELP} JSON files too.", show_default=False
    ),
    dry_run: bool = DRY_RUN,
) -> None:
    """Compile workflows and register them, all of them or none; say what changed."""
    registrations = store(compiled(targets or [], consequence=NOTHING_REGISTERED), dry_run=dry_run)
    if current().json:
        emit([registration_document(registration, dry_run=dry_run) for registration in registrations])


def store(definitions: Sequence[WorkflowDef], *, dry_run: bool = False) -> list[Registration]:
    """Register valid definitions; tell people what that did, and what is probably not meant.

    Raises:
        InvalidWorkflows: One runs a workflow that is not registered.
    """
    try:
        registrations = run(_store(definitions, dry_run))
    except DefinitionError as error:
        raise InvalidWorkflows([error], NOTHING_REGISTERED) from error
    warn(warnings_of(definitions, None))
    for line in () if current().json else (line for it in registrations for line in _lines(it, dry_run)):
        say(line)
    return registrations


async def told(client: AsyncClient, definitions: Sequence[WorkflowDef]) -> None:
    """Register definitions, and say of those that are not the same as before what that did. Raises InvalidWorkflows."""
    try:
        registrations = await client.register_all(definitions)
    except DefinitionError as error:
        raise InvalidWorkflows([error], NOTHING_REGISTERED) from error
    for registration in registrations:
        if registration.action == "unchanged":
            continue
        if current().json:
            emit_line(registration_document(registration))
        for line in () if current().json else _lines(registration, dry_run=False):
            say(line)


def registration_document(registration: Registration, *, dry_run: bool = False) -> dict[str, Any]:
    """What registering did, as JSON."""
    from dagnats.cli.difference import change_document, changes

    document: dict[str, Any] = {
        "name": registration.name,
        "action": registration.action,
        "steps": len(registration.definition.steps),
    }
    if registration.action == "updated" and registration.previous is not None:
        found = changes(registration.previous, registration.definition)
        document["changes"] = [change_document(change) for change in found]
    warnings = [problem_document(problem) for _, problem in warnings_of([registration.definition], None)]
    return {**document, **({"warnings": warnings} if warnings else {}), **({"dry_run": True} if dry_run else {})}


def _lines(registration: Registration, dry_run: bool) -> list[str]:
    """What registering did, in the words of the CLI reference, and the differences."""
    from dagnats.cli.difference import change_line, changes

    steps = counted(len(registration.definition.steps), "step")
    colour = "dim" if registration.action == "unchanged" else "green"
    would = "would be " if dry_run and registration.action != "unchanged" else ""
    line = f"{paint(f'Workflow {would}{registration.action}:', colour)} {registration.name} ({steps})"
    previous = registration.previous if registration.action == "updated" else None
    found = changes(previous, registration.definition) if previous is not None else []
    return [line, *(f"  {change_line(change, paint)}" for change in found)]


async def _store(definitions: Sequence[WorkflowDef], dry_run: bool) -> list[Registration]:
    async with open_client() as client:
        return await client.register_all(definitions, dry_run=dry_run)
