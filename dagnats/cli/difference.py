"""What differs between two definitions: lines for people, documents for programs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from dagnats.cli.output import json_text, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagnats.cli.output import Paint
    from dagnats.model.definition import WorkflowDef

Kind = Literal["added", "removed", "changed"]

ABSENT: Final = object()
"""No value: `null` is one."""

_SIGNS: dict[Kind, str] = {"added": "+", "removed": "-", "changed": "~"}
_COLOURS: dict[Kind, str] = {"added": "green", "removed": "red", "changed": "yellow"}
_NOUNS = {"steps": "step", "triggers": "trigger"}
_BARE = re.compile(r"[A-Za-z0-9_./:@%+*-]+")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs.

    Attributes:
        kind: What happened to it.
        what: `step audit`, `charge.timeout`, `timeout`.
        before: Its value before; ABSENT when it was added.
        after: Its value now; ABSENT when it was removed.
        named: Whether its name says enough, as of a whole step.
    """

    kind: Kind
    what: str
    before: Any = ABSENT
    after: Any = ABSENT
    named: bool = False


@dataclass(frozen=True, slots=True)
class _Secret:
    """A trigger's secret: whether it changed may be seen, what it is may not."""

    value: str

    def __str__(self) -> str:
        return "…"


def changes(before: WorkflowDef, after: WorkflowDef) -> list[Change]:
    """Everything that differs, triggers included; empty exactly when the two are written alike."""
    old, new = _document(before), _document(after)
    found: list[Change] = []
    for key in dict.fromkeys([*old, *new]):
        if key in _NOUNS:
            found += _between_named(_NOUNS[key], old.get(key, []), new.get(key, []))
        else:
            found += _between(key, old.get(key, ABSENT), new.get(key, ABSENT))
    return found


def change_line(change: Change, paint: Paint = plain) -> str:
    """`+ step audit`, `~ charge.timeout 30s → 60s`."""
    values = () if change.named else (change.before, change.after)
    said = " → ".join(_said(value) for value in values if value is not ABSENT)
    return paint(f"{_SIGNS[change.kind]} {change.what} {said}".rstrip(), _COLOURS[change.kind])


def change_document(change: Change) -> dict[str, Any]:
    """A change as JSON."""
    values = {"before": change.before, "after": change.after}
    told = {key: _told(value) for key, value in values.items() if value is not ABSENT}
    return {"change": change.kind, "what": change.what, **told}


def _between_named(noun: str, before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> Iterator[Change]:
    """Between objects that have ids: those that came, went and stayed, and the order of those that stayed."""
    old, new = ({part["id"]: part for part in parts} for parts in (before, after))
    for name in dict.fromkeys([*old, *new]):
        what = f"{noun} {name}"
        if name not in new:
            yield Change("removed", what, before=old[name], named=True)
        elif name not in old:
            yield Change("added", what, after=new[name], named=True)
        else:
            yield from _between(name if noun == "step" else f"{noun}.{name}", old[name], new[name])
    stayed = [name for name in old if name in new]
    now = [name for name in new if name in old]
    if stayed != now:
        yield Change("changed", f"order of {noun}s", before=stayed, after=now, named=True)


def _between(what: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for key in dict.fromkeys([*old, *new]):
            yield from _between(f"{what}.{key}", old.get(key, ABSENT), new.get(key, ABSENT))
    elif before is ABSENT:
        yield Change("added", what, after=after)
    elif after is ABSENT:
        yield Change("removed", what, before=before)
    elif _written(before) != _written(after):
        yield Change("changed", what, before=before, after=after)


def _document(definition: WorkflowDef) -> dict[str, Any]:
    document = definition.model_dump(mode="json", exclude_defaults=True)
    for trigger in document.get("triggers", ()):
        for kind in ("webhook", "http"):
            if "secret" in trigger.get(kind, {}):
                trigger[kind]["secret"] = _Secret(trigger[kind]["secret"])
    return document


def _written(value: Any) -> str:
    """A value so that what is written differently differs: 1, 1.0 and true are the same to Python."""
    return json.dumps(value, ensure_ascii=False, default=repr)


def _told(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _said(value: Any) -> str:
    """A value as people read it: a plain word without quotes, everything else as JSON."""
    told = _told(value)
    if value.__class__ is _Secret:
        return str(value)
    bare = isinstance(told, str) and _BARE.fullmatch(told) and not _is_json(told)
    return told if bare else one_line(json_text(told))


def _is_json(text: str) -> bool:
    """Whether a text would be taken for another value without its quotes: `1.0`, `true`."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
