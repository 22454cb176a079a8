"""`audit`: who did what over HTTP, and what runs have asked of the control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, room, say, table

if TYPE_CHECKING:
    from dagnats.client.audit import Deed

HEADER = ("TIME", "BY", "ACTION", "TARGET", "OUTCOME")


def audit(
    by: str = typer.Option("", "--by", metavar="TEXT", help="Only of those whose name has this in it."),
    action: str = typer.Option("", "--action", metavar="TEXT", help="Only what has this in it: cancel, tokens."),
    target: str = typer.Option("", "--target", metavar="NAME", help="Only about this run, workflow or queue."),
    outcome: str = typer.Option(
        "", "--outcome", metavar="WORD", help="Only what ended so: done, refused, or a kind of no: forbidden."
    ),
    after: str = typer.Option("", "--after", metavar="TIME", help="Only what was done then or later."),
    before: str = typer.Option("", "--before", metavar="TIME", help="Only what was done before then."),
    limit: int = typer.Option(50, "--limit", metavar="N", min=1, help="At most so many."),
    wide: bool = typer.Option(False, "--wide", help="Do not cut lines to the terminal."),
) -> None:
    """List who did what over HTTP, the newest first, and what runs have asked of the control plane."""
    found = run(_deeds(by, action, target, outcome, after, before, limit))
    if current().json:
        import msgspec

        from dagnats.client.installation import deed_document

        emit([msgspec.to_builtins(deed_document(deed)) for deed in found])
    elif not found:
        say("Nothing that fits was recorded.")
    else:
        for line in table(HEADER, [_row(deed) for deed in found], None if wide else room()):
            say(line)


async def _deeds(by: str, action: str, target: str, outcome: str, after: str, before: str, limit: int) -> list[Deed]:
    async with open_client() as client:
        return await client.deeds(
            by=by,
            action=action,
            target=target,
            outcome=outcome,
            after=after or None,
            before=before or None,
            limit=limit,
        )


def _row(deed: Deed) -> tuple[str, ...]:
    from dagnats.model.instant import table_time

    outcome = f"{deed.outcome} (and {deed.skipped} more before)" if deed.skipped else deed.outcome
    return (table_time(deed.time_ns), deed.by or "-", deed.action, deed.target or deed.run_id or "-", outcome)
