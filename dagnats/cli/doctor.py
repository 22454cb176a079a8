"""`doctor`: what is wrong with the whole, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import configuration, open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import current
from dagnats.cli.output import emit, one_line, paint, say
from dagnats.cli.target import BY
from dagnats.errors import UnavailableError

if TYPE_CHECKING:
    from dagnats.client.ailment import Ailment
    from dagnats.client.diagnosis import Grade

_MARKS: dict[Grade, tuple[str, str]] = {"wrong": ("✗", "red"), "waits": ("…", "cyan"), "note": ("i", "yellow")}


def doctor(
    fix: bool = typer.Option(False, "--fix", help="Create what is missing, resume what is paused and holds something."),
    by: str = BY,
) -> None:
    """Say what is wrong with the whole, and what to do. Exit code 1 when somebody has to do something."""
    found, fixed = run(_checked(fix=fix, by=by))
    if current().json:
        emit({"healthy": not _is_ill(found, fixed), "findings": [_document(each, fixed) for each in found]})
    elif not found:
        say(f"{paint('✓', 'green')} Nothing is wrong.")
    else:
        for at, each in enumerate(found):
            for line in ([""] if at else []) + _lines(each, is_fixed=each in fixed):
                say(line)
    if _is_ill(found, fixed):
        raise typer.Exit(NO)


def _is_ill(found: list[Ailment], fixed: list[Ailment]) -> bool:
    return any(each.grade == "wrong" and each not in fixed for each in found)


async def _checked(*, fix: bool, by: str) -> tuple[list[Ailment], list[Ailment]]:
    from dagnats.client.ailment import unreachable

    asked = configuration().settings.sync
    try:
        async with open_client() as client:
            return await client.checkup(fix=fix, by=by, asked_sync="always" if asked == "always" else "interval")
    except UnavailableError as error:
        return [unreachable(error)], []


def _lines(found: Ailment, *, is_fixed: bool) -> list[str]:
    mark, colour = _MARKS[found.grade]
    told = [f"{paint(mark, colour)} {one_line(found.seen)}", f"  {found.why}"]
    if is_fixed:
        return [*told, f"  {paint('Fixed.', 'green')}"]
    return [*told, f"  → {found.cure}"] if found.cure else told


def _document(found: Ailment, fixed: list[Ailment]) -> dict[str, object]:
    import msgspec

    from dagnats.client.installation import ailment_document

    return msgspec.to_builtins(ailment_document(found, fixed=found in fixed))
