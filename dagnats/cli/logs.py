"""`logs`: what the parts of the system say, as it comes or as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import cut, emit, emit_line, one_line, paint, room, say
from dagnats.cli.target import LAST, RUN_ID, find, short

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from dagnats.client import AnyClient
    from dagnats.runtime.telemetry.entry import LogEntry

app = typer.Typer(help="Show what workers, engines and servers log.", invoke_without_command=True)
of_run = typer.Typer()

_MOST = 10_000
_LEVEL = typer.Option("", "--level", metavar="LEVEL", help="Only this level: ERROR, WARN, INFO, DEBUG.")
_SERVICE = typer.Option("", "--service", metavar="NAME", help="Only of this service: worker, engine, api.")
_FULL = typer.Option(False, "--full", help="Show where handlers raised, too.")
_COLOURS = {"ERROR": "red", "WARN": "yellow", "DEBUG": "dim"}
_FIRST = ("run_id", "step_id", "attempt", "workflow", "task")
_NAMES = {"step_id": "step"}
_NOT_SHOWN = frozenset({"exception"})


@app.callback()
def logs(
    context: typer.Context,
    level: str = _LEVEL,
    service: str = _SERVICE,
    tail: int = typer.Option(
        0, "--tail", metavar="N", min=0, max=_MOST, help="The last N lines, and no more.", show_default=False
    ),
    since: str = typer.Option("", "--since", metavar="AGE", help="What came in the last 30m, or since a time."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on with what comes, behind --tail and --since."),
    full: bool = _FULL,
) -> None:
    """Show log lines as they come, until somebody stops it; or, with --tail or --since, those that came.

    With --json, one line is one line of JSON.
    """
    if context.invoked_subcommand is not None:
        return
    which = _which(level, service, since=since)
    run(_logs(which, tail, since, follow=follow or not (tail or since), full=full))


@app.command()
def search(
    text: str = typer.Argument("", metavar="TEXT", help="What they have in them, in any case.", show_default=False),
    level: str = _LEVEL,
    service: str = _SERVICE,
    since: str = typer.Option("30m", "--since", metavar="AGE", help="What came in the last 30m, or since a time."),
    limit: int = typer.Option(100, "--limit", metavar="N", min=1, max=_MOST, help="At most so many, the newest."),
    full: bool = _FULL,
) -> None:
    """Find log lines."""
    found = run(_found(_which(level, service, since=since), text, since, limit))
    _show(found, full=full)


@of_run.command("logs")
def run_logs(
    run_id: str = RUN_ID,
    last: bool = LAST,
    level: str = _LEVEL,
    limit: int = typer.Option(1_000, "--limit", metavar="N", min=1, max=_MOST, help="At most so many, the newest."),
    brief: bool = typer.Option(False, "--brief", help="Do not show where handlers raised."),
) -> None:
    """Show what was logged about a run: by its handlers, and by the system."""
    found = run(_of_run(run_id, last, _which(level, ""), limit))
    _show(found, full=not brief)


# -- asking ------------------------------------------------------------------------------------------------


def _which(level: str, service: str, *, since: str = "") -> dict[str, str]:
    """Which lines are meant, as a client takes it. Raises UsageError."""
    import time

    from dagnats.client.logs import log_instant, log_query
    from dagnats.errors import DagnatsError

    try:
        query = log_query(level=level, service=service)
    except DagnatsError as error:
        raise UsageError(str(error), hint=error.hint) from None
    try:
        log_instant(since or "0", time.time_ns())
    except DagnatsError as error:
        raise UsageError(f"--since {error}", hint=error.hint) from None
    return {"level": query.level, "service": query.service}


async def _logs(which: dict[str, str], tail: int, since: str, *, follow: bool, full: bool) -> None:
    async with open_client() as client:
        if since or tail:
            for entry in await client.logs(**which, since=since, limit=tail or _MOST):
                _say(entry, full=full)
        if follow:
            await _follow(client, which, full=full)


async def _follow(client: AnyClient, which: dict[str, str], *, full: bool) -> None:
    import asyncio

    from dagnats.cli.interrupt import interrupts
    from dagnats.client.logs import log_query

    async def print_them() -> None:
        async for entry in client.follow_logs(**which):
            _say(entry, full=full)

    printing = asyncio.create_task(print_them())
    with interrupts(lambda: _cancel(printing)):
        if not current().json:
            say(f"Tailing logs on telemetry.{log_query(**which).subject} ...")
        await asyncio.wait([printing])
    if not printing.cancelled():
        printing.result()


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _found(which: dict[str, str], text: str, since: str, limit: int) -> list[LogEntry]:
    async with open_client() as client:
        return await client.logs(**which, text=text, since=since, limit=limit)


async def _of_run(run_id: str, last: bool, which: dict[str, str], limit: int) -> list[LogEntry]:
    async with open_client() as client:
        return await client.run_logs((await find(client, run_id, last)).run_id, **which, limit=limit)


# -- printing ----------------------------------------------------------------------------------------------


def _show(found: Sequence[LogEntry], *, full: bool) -> None:
    if current().json:
        emit([log_document(entry) for entry in found])
        return
    for entry in found:
        _say(entry, full=full)
    if not found:
        say("No log lines were found.")


def _say(entry: LogEntry, *, full: bool) -> None:
    if current().json:
        emit_line(log_document(entry))
        return
    for line in log_lines(entry, full=full, width=room()):
        say(line)


def log_document(entry: LogEntry) -> dict[str, Any]:
    """A line as JSON."""
    import msgspec

    return msgspec.to_builtins(entry)


def log_lines(entry: LogEntry, *, full: bool, width: int | None = None) -> list[str]:
    """A line for people; with `full`, where its handler raised comes behind it."""
    told = " ".join(_told(entry))
    level = paint(entry.severity, _COLOURS[entry.severity]) if entry.severity in _COLOURS else entry.severity
    time = entry.timestamp[11:19]
    text = f"{time} {level} {one_line(entry.service_name)} {one_line(entry.body)}{f' [{told}]' if told else ''}"
    raised = str(entry.attributes.get("exception", "")) if full else ""
    return [text, *(cut(f"    {one_line_kept(each)}", width) for each in raised.splitlines())]


def one_line_kept(text: str) -> str:
    """A line of a traceback, indented as it was, without control characters."""
    inner = text.lstrip(" ")
    return " " * (len(text) - len(inner)) + one_line(inner)


def _told(entry: LogEntry) -> list[str]:
    """What a line is about, the run first."""
    names = [*(name for name in _FIRST if name in entry.attributes), *sorted(entry.attributes.keys() - {*_FIRST})]
    return [f"{_NAMES.get(name, name)}={_value(name, entry)}" for name in names if name not in _NOT_SHOWN]


def _value(name: str, entry: LogEntry) -> str:
    value = entry.attributes[name]
    return short(str(value)) if name == "run_id" else one_line(str(value))
