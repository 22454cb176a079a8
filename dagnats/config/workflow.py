"""`workflows`: definitions that `serve` registers, each as its JSON has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from dagnats.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagnats.config.document import Path
    from dagnats.model.definition import WorkflowDef

KEY = "workflows"
MOST_WORKFLOWS = 500
_PART = re.compile(r"\[(\d+)\]|[^.\[\]]+")


def definitions_of(entries: Sequence[Mapping[str, Any]]) -> tuple[WorkflowDef, ...]:
    """The definitions, each checked. Raises DefinitionError with the first one that is not valid."""
    if not entries:
        return ()
    from dagnats.model.check import load_definition  # not at the top: most configurations have none

    return tuple(map(load_definition, entries))


def workflow_faults(entries: Any) -> Iterator[tuple[Path, Problem]]:
    """What is wrong with each definition, and where; whether they are a list of mappings is the model's to check."""
    seen: dict[str, int] = {}
    for at, entry in enumerate(cast("list[Any]", entries) if isinstance(entries, list | tuple) else ()):
        if not isinstance(entry, dict):
            continue
        name: Any = cast("dict[str, Any]", entry).get("name")
        if isinstance(name, str) and seen.setdefault(name, at) != at:
            message = f"workflow {name!r} is there twice, first as {KEY}[{seen[name]}]"
            yield (KEY, at, "name"), Problem("", "duplicate-key", message)
        try:
            definitions_of([cast("dict[str, Any]", entry)])
        except DefinitionError as error:
            yield from (((KEY, at, *_parts(problem.path)), problem) for problem in error.problems)


def _parts(path: str) -> Iterator[str | int]:
    """`steps[2].retry` as what leads there."""
    for found in _PART.finditer(path.removeprefix("$")):
        yield int(found[1]) if found[1] else found[0]
