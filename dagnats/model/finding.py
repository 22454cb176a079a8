"""A finding: a problem with its place in the document still in parts, so that findings can be put in order."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dagnats.errors import Problem

if TYPE_CHECKING:
    from dagnats.model.payload_schema import Location

_SECRET = re.compile(r'("secret": )"(\\.|[^"\\])*"')
_PLAIN = re.compile(r"[^.\[\]\"]+")


class Finding(NamedTuple):
    """One broken rule, and where."""

    location: Location
    rule: str
    message: str
    hint: str = ""

    def problem(self) -> Problem:
        """The finding as people and programs outside get it."""
        return Problem(path_of(self.location), self.rule, self.message, self.hint)

    def place(self, document: dict[str, Any]) -> list[tuple[int, str]]:
        """Where it stands in `document`, as written; what is missing comes before what is there."""
        place: list[tuple[int, str]] = []
        value: Any = document
        for part in self.location:
            if isinstance(part, int):
                place.append((part, ""))
                value = cast("list[Any]", value)[part]
                continue
            members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
            place.append((list(members).index(part) if part in members else -1, part))
            value = members.get(part)
        return place


def path_of(location: Location) -> str:
    """The JSON path of a place: `steps[2].retry.max_attempts`; `$` for the document itself."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part)}]"
    return path or "$"


def shown(value: Any) -> str:
    """`value` as JSON, cut to what fits a line. Secrets are not shown."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):  # a value from Python, not from JSON
        text = f"a {type(value).__name__}"
    text = _SECRET.sub(r'\1"…"', text)
    return text if len(text) <= 60 else text[:57] + "…"


def did_you_mean(candidates: list[str]) -> str:
    """A hint from the names that were probably meant, best first."""
    return f"did you mean {candidates[0]!r}?" if candidates else ""
