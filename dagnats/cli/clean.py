"""`clean`: what is over leaves the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dagnats.cli.connection import open_nats, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, paint_err, say, size_text, table
from dagnats.cli.progress import progress
from dagnats.cli.target import BY, short

if TYPE_CHECKING:
    from dagnats.client.clean import Category, Chosen, Cleaned, Place

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
    asked = Asked(_categories(type, all=all), _older_ns(older_than), include_running)
    chosen, places = run(_look(asked, measured=dry_run))
    if dry_run:
        tell_dry_run(places)
        return
    if not force:
        expect_consent(_question(chosen), force=False)
    done = run(_clean(chosen, by))
    _tell(done)
    if done.left:
        raise typer.Exit(NO)


class Asked(NamedTuple):
    """What the line asks to clean."""

    categories: tuple[Category, ...]
    older_ns: int
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


def _older_ns(older_than: str) -> int:
    from dagnats.model.duration import duration_nanos, parse_duration

    if not older_than:
        return 0
    try:
        return duration_nanos(parse_duration(older_than))
    except ValueError as error:
        raise UsageError(f"--older-than: {error}", hint="write 7d, 24h or 30m") from None


async def _look(asked: Asked, *, measured: bool) -> tuple[Chosen, list[Place]]:
    from dagnats.client.clean import choose, places

    async with open_nats() as client:
        now_ns = client.connection.ports.clock.now_ns()
        before_ns = now_ns - asked.older_ns if asked.older_ns else 0
        chosen = await choose(client, asked.categories, before_ns=before_ns, include_running=asked.include_running)
        return chosen, await places(client, chosen) if measured else []


async def _clean(chosen: Chosen, by: str) -> Cleaned:
    from dagnats.client.clean import clean

    async with open_nats() as client:
        with progress("runs cleaned") as told:
            return await clean(client, chosen, by=by, told=told)


def _question(chosen: Chosen) -> str:
    live = f", {counted(len(chosen.live), 'run')} that go on" if chosen.live else ""
    workflows = f", {counted(len(chosen.workflows), 'workflow')}" if chosen.workflows else ""
    letters = counted(len(chosen.letters), "dead letter")
    telemetry = f", {counted(chosen.telemetry.messages, 'piece')} of telemetry" if chosen.telemetry.messages else ""
    return f"Remove {counted(len(chosen.runs), 'ended run')}{live}, {letters}{workflows}{telemetry}?"


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
