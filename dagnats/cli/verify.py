"""`verify`: does everything say what the log says?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, one_line, paint, say
from dagnats.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.client import Difference, Verified


def verify() -> None:
    """Fold every run from its first event and compare with what was made of it. Exits with 1 on a difference."""
    found = run(checked())
    if current().json:
        emit(
            {
                "verified": not found.differences,
                "runs": found.runs,
                "events": found.events,
                "moving": found.moving,
                "differences": [difference_document(each) for each in found.differences],
            }
        )
    else:
        for line in difference_lines(found.differences):
            say(line)
        if found.moving:
            say(f"Moving: {counted(found.moving, 'run')} that the engine had more to do for: only snapshots compared")
        what = f"{counted(found.runs, 'run')}, {counted(found.events, 'event')}"
        if found.differences:
            say(f"{paint('Differs:', 'red')} {what}, {counted(len(found.differences), 'difference')}")
        else:
            say(f"{paint('Verified:', 'green')} {what}, no difference")
    if found.differences:
        raise typer.Exit(NO)


async def checked() -> Verified:
    """Compare everything, and show how far that is."""
    async with open_client() as client:
        with progress("runs compared") as told:
            return await client.verify(told=told)


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """Differences as people read them."""
    return [f"{each.run_id}  {paint(each.kind, 'yellow')}: {_said(each)}" for each in differences]


def _said(difference: Difference) -> str:
    should = f"; should be: {difference.expected}" if difference.expected else ""
    return one_line(difference.detail + should)


def difference_document(difference: Difference) -> dict[str, Any]:
    """A difference as JSON."""
    return {
        "run_id": difference.run_id,
        "kind": difference.kind,
        "detail": difference.detail,
        "expected": difference.expected,
        "mendable": difference.mendable,
    }
