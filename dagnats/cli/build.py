"""`build` and `schema`: workflows as JSON files that are committed beside their Python."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.definition import TARGETS_HELP, compiled, warnings_of
from dagnats.cli.failure import NO, problem_document, warn
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, paint, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.cli.artefact import Artefact, State

_DEFAULT_OUT = Path("workflows/build")
_NOTHING_WRITTEN = "nothing was written"
_DONE: dict[State, str] = {"current": "unchanged", "stale": "updated", "missing": "created", "extra": "removed"}


class Form(StrEnum):
    """Whose JSON is written."""

    native = "native"
    go = "go"


def build(
    targets: list[str] | None = typer.Argument(None, metavar="TARGETS", help=TARGETS_HELP, show_default=False),
    out: Path = typer.Option(_DEFAULT_OUT, "--out", metavar="DIR", help="Where the files go."),
    check: bool = typer.Option(
        False, "--check", help="Write nothing; exit 1 and show the differences when files are not up to date."
    ),
    dialect: Form = typer.Option(
        Form.native, "--dialect", help="'go' is what the Go engine reads; what it has not is an error."
    ),
    graph: bool = typer.Option(False, "--graph", help="Draw each workflow too: NAME.mmd (Mermaid) and NAME.svg."),
) -> None:
    """Compile workflows to JSON: one file each, and the JSON Schema beside them.

    Where every target is a folder, files of workflows that are gone are removed.
    """
    from dagnats.cli.artefact import artefacts

    names = targets or []
    whole = all(Path(name).is_dir() for name in names)
    definitions = compiled(names, consequence=_NOTHING_WRITTEN)
    files = artefacts(definitions, out, dialect=dialect.value, graph=graph, whole=whole, consequence=_NOTHING_WRITTEN)
    # Of a few targets among others, nobody can say which workflows there are.
    warnings = warnings_of(definitions, [it.name for it in definitions] if whole else None)
    warn(warnings)
    told = [{"workflow": name, **problem_document(problem)} for name, problem in warnings]
    extra: dict[str, Any] = {"warnings": told} if told else {}
    if check:
        _check(files, len(definitions), extra)
    else:
        _write(files, out, extra)


def schema() -> None:
    """Print the JSON Schema of workflow definitions."""
    from dagnats.model.schema import json_schema

    emit(json_schema())


def _write(files: Sequence[Artefact], out: Path, extra: dict[str, Any]) -> None:
    for artefact in files:
        artefact.write()
    if current().json:
        emit({"out": str(out), "files": [_document(artefact, _DONE[artefact.state]) for artefact in files], **extra})
        return
    for artefact in files:
        done = _DONE[artefact.state]
        say(f"{paint(f'{done}:', 'dim' if done == 'unchanged' else 'green')} {artefact.file}")


def _check(files: Sequence[Artefact], count: int, extra: dict[str, Any]) -> None:
    wrong = [artefact for artefact in files if artefact.state != "current"]
    if current().json:
        documents = [{**_document(artefact, artefact.state), "diff": artefact.diff()} for artefact in wrong]
        emit({"current": not wrong, "files": documents, **extra})
    elif not wrong:
        say(f"Up to date: {counted(count, 'workflow')}")
    else:
        for artefact in wrong:
            say(f"{paint(f'{artefact.state}:', 'red')} {artefact.file}")
            say(_painted(artefact.diff()))
        say(f"{counted(len(wrong), 'file')} not up to date: `dagnats build` writes them", err=True)
    if wrong:
        raise typer.Exit(NO)


def _document(artefact: Artefact, state: str) -> dict[str, str]:
    return {"file": str(artefact.file), "state": state}


def _painted(diff: str) -> str:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    lines = diff.splitlines()
    return "\n".join(paint(line, colours[line[0]]) if line[:1] in colours else line for line in lines)
