"""`signal …`: what runs were told while they went on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, json_text, room, say, table
from dagnats.cli.target import LAST, RUN_ID, find

if TYPE_CHECKING:
    from dagnats.client import EventView

app = typer.Typer(help="Look at the signals that runs were sent.")

HEADER = ("SEQ", "NAME", "SENT", "PAYLOAD")

_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")


@app.callback()
def signal() -> None:
    """Look at the signals that runs were sent."""


@app.command("list")
def list_signals(
    run_id: str = RUN_ID,
    last: bool = LAST,
    name: str = typer.Option("", "--name", metavar="NAME", help="Only signals of this name."),
    wide: bool = _WIDE,
) -> None:
    """List the signals that a run was sent, oldest first. `dagnats run signal` sends one."""
    found = [event for event in run(_sent(run_id, last)) if not name or event.name == name]
    if current().json:
        emit([_document(event) for event in found])
    elif not found:
        say("The run was sent no signal.")
    else:
        for line in table(HEADER, [_row(event) for event in found], None if wide else room()):
            say(line)


async def _sent(run_id: str, last: bool) -> list[EventView]:
    async with open_client() as client:
        history = await (await find(client, run_id, last)).history()
        return [event for event in history if event.type == "signal.received"]


def _row(event: EventView) -> tuple[str, ...]:
    from dagnats.model.instant import table_time

    return (str(event.seq), event.name, table_time(event.time_ns), json_text(event.payload))


def _document(event: EventView) -> dict[str, Any]:
    from dagnats.model.instant import rfc3339

    return {
        "seq": event.seq,
        "run_id": event.run_id,
        "signal": event.name,
        "timestamp": rfc3339(event.time_ns),
        "payload": event.payload,
    }
