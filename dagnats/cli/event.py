"""`event …`: events from outside, which runs wait for."""

from __future__ import annotations

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, paint, say
from dagnats.cli.payload import json_bytes

app = typer.Typer(help="Publish events that runs wait for.")


@app.callback()
def event() -> None:
    """Publish events that runs wait for."""


@app.command()
def publish(
    type: str = typer.Argument(metavar="TYPE", help="The event's type: payment.completed.", show_default=False),
    body: str = typer.Argument("", metavar="BODY", help="Its body, as JSON.", show_default=False),
    id: str = typer.Option("", "--id", metavar="ID", help="The same again within two minutes is one event."),
) -> None:
    """Publish an event, for every run that waits for it."""
    data = json_bytes(body, what="the body")

    async def do() -> int:
        async with open_client() as client:
            return await client.publish_event_json(type, data, id=id)

    seq = run(do())
    if current().json:
        emit({"type": type, "seq": seq, "published": True})
    else:
        say(f"{paint('Published:', 'green')} {type} (event {seq})")
