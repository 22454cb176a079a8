"""`trigger-type`: what workers watch, to start runs when there is news."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, one_line, room, say, table

if TYPE_CHECKING:
    from dagnats.model.trigger_type import TriggerTypeView

app = typer.Typer(help="Look at the trigger types that workers provide.")

HEADER = ("NAME", "OWNER_WORKER_ID", "VERSION", "OWNER_STATUS")

_NAME = typer.Argument(metavar="NAME", help="The trigger type: the `kind` of external triggers.")


@app.command("list")
def list_types() -> None:
    """List the trigger types. The owner is stale when its worker is in the directory no more."""

    async def ask() -> list[TriggerTypeView]:
        async with open_client() as client:
            return await client.trigger_types()

    found = run(ask())
    if current().json:
        emit([msgspec.to_builtins(each) for each in found])
    elif not found:
        say("No trigger types. A worker with @trigger_type provides one.")
    else:
        for line in table(HEADER, [_row(each) for each in found], room()):
            say(line)


@app.command()
def describe(name: str = _NAME) -> None:
    """Show a trigger type: who provides it, what its configuration looks like, and the triggers it runs."""

    async def ask() -> TriggerTypeView:
        async with open_client() as client:
            return await client.trigger_type(name)

    found = run(ask())
    if current().json:
        emit(msgspec.to_builtins(found))
        return
    told = (
        ("Name", found.name),
        ("Owner", f"{found.owner_worker_id or '-'} ({found.owner_status})"),
        ("Version", found.version),
        ("Registered", found.registered_at),
        ("Triggers", ", ".join(found.triggers) or "none"),
    )
    for label, value in told:
        if value:
            say(f"{label}: {value}")
    for id, why in found.failing.items():
        say(f"Failing: {id}: {one_line(why)}")
    say("Schema:")
    say(json.dumps(found.config_schema, indent=2, ensure_ascii=False))


def _row(view: TriggerTypeView) -> tuple[str, ...]:
    return view.name, view.owner_worker_id or "-", view.version or "-", view.owner_status
