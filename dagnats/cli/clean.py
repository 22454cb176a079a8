"""`clean`: what is over leaves the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, paint_err, say, size_text, table
from dagnats.cli.progress import progress
from dagnats.cli.target import BY, short

if TYPE_CHECKING:
    from dagnats.client.clean import Category, Cleaned, Place

_MOST_NAMED = 10


def clean(
    type: str = typer.Option(
        "", "--type", metavar="CATEGORIES", help="Of runs, dlq, otel, defs: runs,dlq if left out."
    ),
    older_than: str = typer.Option("", "--older-than", metavar="DURATION", help="Only what is older: 7d, 24h, 30m."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be cleaned."),
    all: bool = typer.Option(False, "--all", help="All categories."),
    include_running: bool = typer.Option(False, "--include-running", help="Also runs that go on: cancels them first."),
    force: bool = FORCE,
    by: str = BY,
) -> None:
    """Remove runs that are over, and dead letters; with --type also telemetry, and definitions that no run is of.

    A run leaves with everything of its own. One that goes on stays, and so does what it needs.
    """
    asked = Asked(_categories(type, all=all), _age(older_than), include_running)
    if dry_run:
        tell_dry_run(run(_look(asked, measured=True)).places)
        return
    done = run(_clean(asked, "" if force else _agreed(asked), by))
    _tell(done)
    if done.left:
        raise typer.Exit(NO)


def _agreed(asked: Asked) -> str:
    """Until when what goes had come, once somebody has said yes to it."""
    found = run(_look(asked))
    expect_consent(_question(found), force=False)
    return found.before


class Asked(NamedTuple):
    """What the line asks to clean."""

    categories: tuple[Category, ...]
    older_than: str
    include_running: bool


def _categories(type: str, *, all: bool) -> tuple[Category, ...]:
    from dagnats.client.clean import CATEGORIES, DEFAULT

    if all and type:
        raise UsageError(f"--all and --type {type} say two things", hint="leave one of them out")
    if not type:
        return CATEGORIES if all else DEFAULT
    words = [word.strip() for word in type.split(",")]
    unknown = [word for word in words if word not in CATEGORIES]
    if unknown:
        raise UsageError(f"there is no category {unknown[0]!r}", hint=f"there are {', '.join(CATEGORIES)}")
    return tuple(category for category in CATEGORIES if category in words)


def _age(older_than: str) -> str:
    from dagnats.model.duration import parse_duration

    try:
        parse_duration(older_than or "0")
    except ValueError as error:
        raise UsageError(f"--older-than: {error}", hint="write 7d, 24h or 30m") from None
    return older_than


async def _look(asked: Asked, *, measured: bool = False) -> Cleaned:
    async with open_client() as client:
        return await client.clean(
            asked.categories,
            older_than=asked.older_than,
            include_running=asked.include_running,
            dry_run=True,
            measured=measured,
        )


async def _clean(asked: Asked, before: str, by: str) -> Cleaned:
    """Clean what was looked at; what has come since `before` was not."""
    async with open_client() as client:
        with progress("runs cleaned") as told:
            return await client.clean(
                asked.categories,
                older_than="" if before else asked.older_than,
                before=before or None,
                include_running=asked.include_running,
                by=by,
                told=told,
            )


def _question(found: Cleaned) -> str:
    live = f", {counted(found.live, 'run')} that go on" if found.live else ""
    workflows = f", {counted(found.workflows, 'workflow')}" if found.workflows else ""
    letters = counted(found.letters, "dead letter")
    telemetry = f", {counted(found.telemetry, 'piece')} of telemetry" if found.telemetry else ""
    return f"Remove {counted(found.runs - found.live, 'ended run')}{live}, {letters}{workflows}{telemetry}?"


def tell_dry_run(places: list[Place]) -> None:
    """What would leave, and how much it is."""
    messages = sum(place.messages for place in places if place.kind == "stream")
    size = sum(place.bytes for place in places)
    if current().json:
        entries = [
            {"name": place.name, "kind": place.kind, "messages": place.messages, "bytes": place.bytes}
            for place in places
        ]
        emit({"entries": entries, "total_messages": messages, "total_bytes": size, "dry_run": True})
        return
    say("Would clean:")
    rows = [(place.name, place.kind, *_amount(place)) for place in places]
    for line in table(rows[0], rows[1:]):
        say(f"  {line}")
    say(f"Total: {messages} messages, {size_text(size)}")


def _amount(place: Place) -> tuple[str, str]:
    if place.kind == "kv":
        return f"{place.messages} keys", ""
    return f"{place.messages} msgs", size_text(place.bytes)


def _tell(done: Cleaned) -> None:
    if current().json:
        document: dict[str, Any] = {
            "streams_purged": done.streams,
            "buckets_cleared": done.buckets,
            "errors": len(done.left),
            "runs": done.runs,
            "dead_letters": done.letters,
            "workflows": done.workflows,
            "telemetry": done.telemetry,
            "left": done.left,
        }
        emit(document)
        return
    say(f"{paint('Purged', 'green')} {done.streams} streams, cleared {done.buckets} KV buckets")
    told = [f"{counted(done.runs, 'run')}", counted(done.letters, "dead letter"), counted(done.workflows, "workflow")]
    if done.telemetry:
        told.append(f"{counted(done.telemetry, 'piece')} of telemetry")
    say(f"Removed: {', '.join(told)}")
    if done.left:
        names = ", ".join(short(run_id) for run_id in done.left[:_MOST_NAMED])
        more = f" and {len(done.left) - _MOST_NAMED} more" if len(done.left) > _MOST_NAMED else ""
        why = "no engine has stored their end; the same command again removes them"
        say(f"{paint_err('not done:', 'yellow')} {names}{more}: {why}", err=True)
