"""The files of a build: what ought to be in the folder, and what is."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from dagnats.cli.failure import InvalidWorkflows
from dagnats.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dagnats.model.definition import Dialect, WorkflowDef

State = Literal["current", "stale", "missing", "extra"]

_PICTURES = (".mmd", ".svg")


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


def artefacts(
    definitions: Sequence[WorkflowDef], out: Path, *, dialect: Dialect, graph: bool, whole: bool, consequence: str
) -> list[Artefact]:
    """All files of a build.

    Args:
        definitions: Of different names.
        out: The folder.
        dialect: Of the JSON.
        graph: Whether each workflow is drawn too.
        whole: Whether these are all workflows there are, so that files of others are extra.
        consequence: What does not happen when one cannot be written in the dialect, for the error.

    Raises:
        InvalidWorkflows: Some use what the dialect has not; every one of them is told.
    """
    from dagnats.model.definition import SCHEMA_FILE
    from dagnats.model.json import pretty
    from dagnats.model.schema import json_schema

    wanted = _documents(definitions, out, dialect, consequence)
    for definition in definitions if graph else ():
        wanted |= _pictures(definition, out)
    wanted[out / SCHEMA_FILE] = pretty(json_schema())
    found = [Artefact(file, content, file.read_bytes() if file.is_file() else None) for file, content in wanted.items()]
    return [*found, *(_extra(out, wanted) if whole else ())]


def _documents(definitions: Sequence[WorkflowDef], out: Path, dialect: Dialect, consequence: str) -> dict[Path, bytes]:
    written: dict[Path, bytes] = {}
    invalid: list[DefinitionError] = []
    for definition in definitions:
        try:
            written[out / f"{definition.name}.json"] = definition.to_json(dialect)
        except DefinitionError as error:
            invalid.append(error)
    if invalid:
        raise InvalidWorkflows(invalid, consequence)
    return written


def _pictures(definition: WorkflowDef, out: Path) -> dict[Path, bytes]:
    """Its graph as Mermaid text, and as a picture where it has not too many steps for one."""
    from dagnats.dsl.graph import graph_of
    from dagnats.dsl.layout import MOST
    from dagnats.dsl.mermaid import mermaid
    from dagnats.dsl.picture import svg

    graph = graph_of(definition.content())
    drawn = {out / f"{definition.name}.mmd": mermaid(graph).encode()}
    if len(graph.nodes) <= MOST:
        drawn[out / f"{definition.name}.svg"] = svg(graph).encode()
    return drawn


def _extra(out: Path, wanted: dict[Path, bytes]) -> Iterator[Artefact]:
    """What earlier builds wrote of workflows that are gone."""
    for file in sorted(out.glob("*.json")):
        content = file.read_bytes()
        if file in wanted or not _is_ours(content):
            continue
        yield Artefact(file, None, content)
        for picture in (file.with_suffix(suffix) for suffix in _PICTURES):
            if picture.is_file() and _is_picture(there := picture.read_bytes()):
                yield Artefact(picture, None, there)


def _is_ours(content: bytes) -> bool:
    """Whether a build wrote this: nobody else's file is ever removed."""
    from dagnats.model.check import load_definition
    from dagnats.model.definition import SCHEMA_REFERENCE

    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    if cast("dict[str, Any]", value).get("$schema") == SCHEMA_REFERENCE:
        return True
    try:  # the Go dialect names no schema, but only a build writes it byte for byte
        return load_definition(content).to_json("go") == content
    except DefinitionError:
        return False


def _is_picture(content: bytes) -> bool:
    return content.startswith((b"flowchart TD\n  s0", b'<svg xmlns="http://www.w3.org/2000/svg" class="dagnats"'))


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode(errors="replace").splitlines(keepends=True)
