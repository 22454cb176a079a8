"""`build` and `schema`: workflows as JSON files that are committed beside their Python."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from dagnats.cli.definition import TARGETS_HELP, compiled
from dagnats.cli.failure import NO
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, paint, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagnats.model.definition import WorkflowDef

_DEFAULT_OUT = Path("workflows/build")

State = Literal["current", "stale", "missing", "extra"]
_DONE: dict[State, str] = {"current": "unchanged", "stale": "updated", "missing": "created", "extra": "removed"}


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file that is, or ought to be, in the folder. `None` means no file."""

    file: Path
    wanted: bytes | None
    there: bytes | None

    @property
    def state(self) -> State:
        if self.wanted == self.there:
            return "current"
        if self.there is None:
            return "missing"
        return "stale" if self.wanted is not None else "extra"

    def write(self) -> None:
        """Make the file what it ought to be."""
        if self.wanted is None:
            self.file.unlink()
        elif self.state != "current":
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_bytes(self.wanted)

    def diff(self) -> str:
        """What writing would change, as a unified diff."""
        lines = difflib.unified_diff(
            _lines(self.there),
            _lines(self.wanted),
            fromfile="/dev/null" if self.there is None else str(self.file),
            tofile="/dev/null" if self.wanted is None else str(self.file),
        )
        return "".join(lines)


def build(
    targets: list[str] | None = typer.Argument(None, metavar="TARGETS", help=TARGETS_HELP, show_default=False),
    out: Path = typer.Option(_DEFAULT_OUT, "--out", metavar="DIR", help="Where the JSON files go."),
    check: bool = typer.Option(
        False, "--check", help="Write nothing; exit 1 and show the differences when files are not up to date."
    ),
) -> None:
    """Compile workflows to JSON: one file each, and the JSON Schema beside them.

    Where every target is a folder, files of workflows that are gone are removed.
    """
    names = targets or []
    definitions = compiled(names, consequence="nothing was written")
    artefacts = list(_artefacts(definitions, out, whole=all(Path(name).is_dir() for name in names)))
    if check:
        _check(artefacts, len(definitions))
        return
    for artefact in artefacts:
        artefact.write()
    if current().json:
        emit({"out": str(out), "files": [_document(artefact, _DONE[artefact.state]) for artefact in artefacts]})
        return
    for artefact in artefacts:
        done = _DONE[artefact.state]
        say(f"{paint(f'{done}:', 'dim' if done == 'unchanged' else 'green')} {artefact.file}")


def schema() -> None:
    """Print the JSON Schema of workflow definitions."""
    from dagnats.model.definition import json_schema

    emit(json_schema())


def _artefacts(definitions: Sequence[WorkflowDef], out: Path, *, whole: bool) -> Iterator[Artefact]:
    from dagnats.model.definition import SCHEMA_FILE, json_schema
    from dagnats.model.json import pretty

    wanted = {out / f"{definition.name}.json": definition.to_json() for definition in definitions}
    wanted[out / SCHEMA_FILE] = pretty(json_schema())
    for file, content in wanted.items():
        yield Artefact(file, content, file.read_bytes() if file.is_file() else None)
    for file in sorted(out.glob("*.json")) if whole else ():
        if file not in wanted and _is_ours(file.read_bytes()):
            yield Artefact(file, None, file.read_bytes())


def _is_ours(content: bytes) -> bool:
    """Whether a build wrote this: nobody else's file is ever removed."""
    from dagnats.model.definition import SCHEMA_REFERENCE

    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and cast("dict[str, Any]", value).get("$schema") == SCHEMA_REFERENCE


def _check(artefacts: Sequence[Artefact], count: int) -> None:
    wrong = [artefact for artefact in artefacts if artefact.state != "current"]
    if current().json:
        files = [{**_document(artefact, artefact.state), "diff": artefact.diff()} for artefact in wrong]
        emit({"current": not wrong, "files": files})
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


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode(errors="replace").splitlines(keepends=True)


def _painted(diff: str) -> str:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    lines = diff.splitlines()
    return "\n".join(paint(line, colours[line[0]]) if line[:1] in colours else line for line in lines)
