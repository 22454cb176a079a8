"""The Go dialect: a definition as the Go engine reads it, or every reason why it cannot."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from dagnats.errors import DefinitionError
from dagnats.model.condition import AllOf, AnyOf, Comparison, LiteralValue, Match
from dagnats.model.config import SleepConfig
from dagnats.model.duration import duration_nanos
from dagnats.model.finding import Finding, shown
from dagnats.model.scalar import EXTENSION, SPELT, Part
from dagnats.model.trigger import CronTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.payload_schema import Location

_GO_CRON_PART = r"(\*(/[0-9]+)?|[0-9]+(-[0-9]+)?)"
_GO_CRON = re.compile(rf"{_GO_CRON_PART}(,{_GO_CRON_PART})*( {_GO_CRON_PART}(,{_GO_CRON_PART})*){{4}}")


def go_value(definition: WorkflowDef) -> dict[str, Any]:
    """`definition` with durations in nanoseconds, `aux_steps`, and what Go would not add itself.

    Raises:
        DefinitionError: It uses extensions; each use is named.
    """
    extensions = list(_extensions(definition, ()))
    if extensions:
        title = f"workflow {definition.name!r} uses what the Go engine has not"
        raise DefinitionError([finding.problem() for finding in extensions], name=definition.name, title=title)
    aux = dict.fromkeys(sorted(definition.auxiliary), True)
    return {**_value(definition), **({"aux_steps": aux} if aux else {})}


def _value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return duration_nanos(value)
    if isinstance(value, tuple):
        return [_value(part) for part in cast("tuple[Any, ...]", value)]
    if not isinstance(value, Part):
        return value
    return {key: _value(inner) for key, inner, used in _members(value) if used}


def _members(part: Part) -> Iterator[tuple[str, Any, bool]]:
    """The keys of an object in their order, their values, and whether they are written."""
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        yield field.alias or name, value, value != field.default or SPELT in field.metadata


def _extensions(part: Part, location: Location) -> Iterator[Finding]:
    """Every use of what the Go engine has not, in document order."""
    yield from _wordings(part, location)
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if value == field.default:
            continue
        if EXTENSION in field.metadata:
            yield Finding((*location, name), "extension", f"the Go engine has no `{name}`")
        yield from _inside(value, (*location, name))


def _inside(value: Any, location: Location) -> Iterator[Finding]:
    if isinstance(value, Part):
        yield from _extensions(value, location)
    for at, part in enumerate(cast("tuple[Any, ...]", value) if isinstance(value, tuple) else ()):
        yield from _inside(part, (*location, at))


def _wordings(part: Part, location: Location) -> Iterator[Finding]:
    """What the Go engine has, but not in these words."""
    match part:
        case AnyOf() | AllOf():
            yield Finding(location, "extension", "the Go engine has no conditions of several parts")
        case Comparison(field=path) if re.search(r"[.\\]", path):
            message = f"{shown(path)}: the Go engine asks for keys at the top of an output only"
            yield Finding((*location, "field"), "extension", message)
        case Match(op=op) if op != "eq":
            yield Finding((*location, "op"), "extension", f"{shown(op)}: the Go engine compares with `eq` only")
        case LiteralValue():
            yield Finding(location, "extension", "the Go engine compares with values of the run only")
        case SleepConfig(cron=text) if text is not None and not _GO_CRON.fullmatch(text):
            yield Finding((*location, "cron"), "extension", _CRON.format(shown(text)))
        case CronTrigger(expression=text) if not _GO_CRON.fullmatch(text):
            yield Finding((*location, "expression"), "extension", _CRON.format(shown(text)))
        case _:
            pass


_CRON = "{}: the Go engine knows numbers, `*`, `*/n`, ranges and lists only"
