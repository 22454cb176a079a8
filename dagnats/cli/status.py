"""`status`: is the server there, and what does it do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, paint, say

if TYPE_CHECKING:
    from dagnats.client.client import ServerStatus


def status() -> None:
    """Show whether NATS and JetStream answer, and how many runs are active."""
    found = run(_ask())
    if current().json:
        emit(
            {
                "nats": "connected",
                "jetstream": "available",
                "stream_count": found.streams,
                "active_runs": found.active_runs,
            }
        )
        return
    say(f"NATS: {paint('connected', 'green')}")
    say(f"JetStream: {paint('available', 'green')} ({counted(found.streams, 'stream')})")
    say(f"Active runs: {found.active_runs}")


async def _ask() -> ServerStatus:
    async with open_client() as client:
        return await client.status()
