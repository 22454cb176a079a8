"""`workers`: who is there to do the work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, room, say, table

if TYPE_CHECKING:
    from dagnats.model.worker import WorkerEntry

app = typer.Typer(help="Look at the workers.", invoke_without_command=True)

HEADER = ("WORKER_ID", "TASK_TYPES", "LANGUAGE", "MAX_TASKS", "GROUPS", "HOST", "PID", "SEEN")

_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")


@app.callback()
def workers(context: typer.Context, wide: bool = _WIDE) -> None:
    """List the workers that there are: each renews its entry every 30 s, and is listed for a minute after."""
    if context.invoked_subcommand is None:
        list_workers(wide)


@app.command("list")
def list_workers(wide: bool = _WIDE) -> None:
    """List the workers that there are."""
    found = run(_all())
    if current().json:
        emit([msgspec.to_builtins(each) for each in found])
    elif not found:
        say("There are no workers. One that has just been killed is listed for a minute, one that lives always.")
    else:
        for line in table(HEADER, [_row(each, time.time_ns()) for each in found], None if wide else room()):
            say(line)


async def _all() -> list[WorkerEntry]:
    async with open_client() as client:
        return await client.workers()


def _row(entry: WorkerEntry, now_ns: int) -> tuple[str, ...]:
    return (
        entry.worker_id,
        ",".join(entry.task_types),
        entry.language,
        str(entry.max_tasks),
        ",".join(entry.groups) or "-",
        entry.hostname or "-",
        str(entry.pid or "-"),
        _seen(entry.last_seen, now_ns),
    )


def _seen(instant: str, now_ns: int) -> str:
    """How long ago a worker was heard of, by its own clock."""
    from dagnats.model.instant import parse_rfc3339

    try:
        seconds = max((now_ns - parse_rfc3339(instant)) // 1_000_000_000, 0)
    except ValueError:
        return "-"
    return f"{seconds}s ago"
