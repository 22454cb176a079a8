"""`register`: compile workflows and make them the newest of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.definition import TARGETS_HELP, compiled
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, paint, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client import Registration
    from dagnats.model.definition import WorkflowDef

NOTHING_REGISTERED = "nothing was registered"


def register(
    targets: list[str] | None = typer.Argument(
        None, metavar="TARGETS", help=f"{TARGETS_HELP} JSON files too.", show_default=False
    ),
) -> None:
    """Compile workflows and register them, all of them or none."""
    definitions = compiled(targets or [], consequence=NOTHING_REGISTERED)
    registrations = run(store(definitions))
    if current().json:
        emit([registration_document(registration) for registration in registrations])
        return
    for registration in registrations:
        say(registration_line(registration))


async def store(definitions: Sequence[WorkflowDef]) -> list[Registration]:
    """Register valid definitions, one after the other."""
    async with open_client() as client:
        return [await client.register(definition) for definition in definitions]


def registration_line(registration: Registration) -> str:
    """What registering did, in the words of the CLI reference."""
    steps = counted(len(registration.definition.steps), "step")
    colour = "dim" if registration.action == "unchanged" else "green"
    return f"{paint(f'Workflow {registration.action}:', colour)} {registration.name} ({steps})"


def registration_document(registration: Registration) -> dict[str, object]:
    """What registering did, as JSON."""
    return {
        "name": registration.name,
        "action": registration.action,
        "steps": len(registration.definition.steps),
    }
