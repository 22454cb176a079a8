"""Reads a definition and finds everything that is wrong with it, at once.

Shape rules (pydantic), graph rules and rules between values report together: the latter two run on whatever can be
read. A problem caused by another one is not repeated.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from dagnats.errors import DefinitionError, Problem
from dagnats.model.advice import advice_findings
from dagnats.model.definition import MAX_BYTES
from dagnats.model.finding import shown
from dagnats.model.graph import graph_findings
from dagnats.model.reading import Reading
from dagnats.model.relation import relation_findings
from dagnats.model.shape import read_shape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dagnats.model.definition import WorkflowDef

MAX_DEPTH = 64  # objects and lists inside each other: far more than any definition, far less than Python's stack


def load_definition(data: bytes | str | Mapping[str, Any]) -> WorkflowDef:
    """The definition in `data`: JSON text, or the value that was in it.

    Raises:
        DefinitionError: It is no valid definition; `problems` lists everything that is wrong.
    """
    value = _parse(data) if isinstance(data, bytes | str) else dict(data)
    if not isinstance(value, dict):
        raise DefinitionError([Problem("$", "type", f"a definition is a JSON object, not {shown(value)}")])
    document = cast("dict[str, Any]", value)
    definition, problems = _examine(document)
    if definition is None or problems:
        raise DefinitionError(problems, name=document["name"] if isinstance(document.get("name"), str) else "")
    return definition


def check(document: dict[str, Any]) -> list[Problem]:
    """Everything that is wrong with `document`, in document order; empty when it is a valid definition."""
    return _examine(document)[1]


def advice(definition: WorkflowDef, known: Collection[str] | None = None) -> list[Problem]:
    """What is allowed in `definition` but probably not meant: warnings, in document order.

    Args:
        definition: A valid one.
        known: Names of workflows there are; None when that cannot be said, as in a single file.
    """
    return [finding.problem() for finding in advice_findings(definition, known)]


def _examine(document: dict[str, Any]) -> tuple[WorkflowDef | None, list[Problem]]:
    if _too_deep(document):
        return None, [Problem("$", "json", f"the definition is nested too deep: at most {MAX_DEPTH} levels")]
    definition, findings = read_shape(document)
    reading = Reading(document)
    findings += graph_findings(document, reading)
    findings += relation_findings(document, reading)
    findings.sort(key=lambda finding: finding.place(document))
    return definition, [finding.problem() for finding in findings]


def _too_deep(document: dict[str, Any]) -> bool:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for part in level:
            inside += cast("dict[str, Any]", part).values() if isinstance(part, dict) else part
        level = [part for part in inside if isinstance(part, dict | list)]
        if not level:
            return False
    return True


# -- reading -----------------------------------------------------------------------------------------------


def _parse(data: bytes | str) -> Any:
    try:
        data = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError as error:
        raise DefinitionError([Problem("$", "json", f"this cannot be UTF-8: {error}")]) from None
    if len(data) > MAX_BYTES:
        raise DefinitionError(
            [Problem("$", "too-large", f"the definition has {len(data)} bytes; the limit is {MAX_BYTES}")]
        )
    try:
        value = json.loads(data, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can be escaped, but not written
        return value
    except RecursionError:
        raise DefinitionError([Problem("$", "json", "the JSON is nested too deep")]) from None
    except UnicodeError as error:
        raise DefinitionError([Problem("$", "json", f"this is not UTF-8: {error}")]) from None
    except ValueError as error:
        raise DefinitionError([Problem("$", "json", f"this is not JSON: {error}")]) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} is written twice in one object")
    return dict(pairs)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")
