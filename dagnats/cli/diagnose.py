"""`run diagnose`: why a run does not go on, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import current
from dagnats.cli.output import emit, one_line, paint, say
from dagnats.cli.target import BY, LAST, RUN_ID, find

if TYPE_CHECKING:
    from dagnats.cli.output import Paint
    from dagnats.client import RunView
    from dagnats.client.diagnosis import Finding, Grade

app = typer.Typer()

_MARKS: dict[Grade, tuple[str, str]] = {"wrong": ("✗", "red"), "waits": ("…", "cyan"), "note": ("i", "yellow")}


@app.command()
def diagnose(
    run_id: str = RUN_ID,
    last: bool = LAST,
    fix: bool = typer.Option(False, "--fix", help="Resume what is paused."),
    by: str = BY,
) -> None:
    """Say why a run does not go on, and what to do. Exit code 1 when somebody has to do something."""
    view, found, fixed = run(_diagnose(run_id, last, fix=fix, by=by))
    if current().json:
        emit({"run_id": view.run_id, "status": view.status, "findings": [_document(each, fixed) for each in found]})
    else:
        for line in lines(view, found, fixed, paint=paint):
            say(line)
    if any(each.grade == "wrong" and each not in fixed for each in found):
        raise typer.Exit(NO)


def lines(view: RunView, found: list[Finding], fixed: list[Finding], *, paint: Paint) -> list[str]:
    """What is told of a run."""
    told = [f"Run: {view.run_id}", f"Workflow: {view.workflow}", f"Status: {view.status}"]
    if not found:
        told += ["", "Nothing holds it." if not view.ended else "It has ended: nothing holds it."]
    for each in found:
        mark, colour = _MARKS[each.grade]
        where = f"{each.step_id}: " if each.step_id else ""
        told += ["", f"{paint(mark, colour)} {where}{one_line(each.seen)}", f"  {each.why}"]
        if each in fixed:
            told.append(f"  {paint('Fixed.', 'green')}")
        elif each.cure:
            told.append(f"  → {each.cure}")
    return told


def _document(found: Finding, fixed: list[Finding]) -> dict[str, object]:
    return {
        "kind": found.kind,
        "grade": found.grade,
        "step_id": found.step_id or None,
        "seen": found.seen,
        "why": found.why,
        "cure": found.cure or None,
        "fixed": found in fixed,
    }


async def _diagnose(run_id: str, last: bool, *, fix: bool, by: str) -> tuple[RunView, list[Finding], list[Finding]]:
    from dagnats.client.diagnose import mended

    async with open_client() as client:
        handle = await find(client, run_id, last)
        view, found = await client.diagnose(handle.run_id)
        fixed = [each for each in found if fix and await mended(client, view, each, by=by)]
        return view, found, fixed
