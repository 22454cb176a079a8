"""The smallest values of a definition: durations, names, counts, paths. Each has one pattern and one description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

from dagnats.model.duration import duration_nanos, format_duration, parse_duration
from dagnats.model.identifier import (
    DOT_PATH,
    EVENT,
    GROUP,
    HEADER,
    NAME,
    SCOPED,
    SUBJECT,
    TASK_TYPE,
    TASK_TYPE_LENGTH,
    URL_PATH,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

ZERO = timedelta(0)
INSTANT = timedelta(microseconds=1)  # the shortest duration above zero
MAX_COUNT = 2**31 - 1
MAX_DOT_PATH = 1024
MAX_BITS = 4096  # of a whole number: Python itself writes and reads no more than 4300 digits
_MAX_NANOS = 2**63 - 1  # Go's int64
DURATION_TEXT = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|μs|ms|s|m|h|d|w))+)$"


class Part(BaseModel, frozen=True):
    """An object in a definition. Immutable, strict, and knows all its keys."""

    model_config = ConfigDict(extra="forbid", defer_build=True, strict=True, serialize_by_alias=True)


class Extension:
    """Marks a field the Go engine has not: the Go dialect refuses its use."""


class Spelt:
    """Marks a field whose default the Go engine does not know: the Go dialect always writes it."""


EXTENSION = Extension()
SPELT = Spelt()


def _duration_schema(least: timedelta = ZERO, most: timedelta | None = None) -> dict[str, Any]:
    nanos = _MAX_NANOS if most is None else duration_nanos(most)
    return {
        "anyOf": [
            {"type": "string", "pattern": DURATION_TEXT, "maxLength": 100},
            {"type": "integer", "minimum": duration_nanos(least), "maximum": nanos, "multipleOf": 1_000},
        ]
    }


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_duration_schema()),
]
"""`"500ms"`, `"30s"`, `"1h30m"`, `"7d"`, or an integer of nanoseconds; both spellings load alike."""


@dataclass(frozen=True)
class Within:
    """Bounds of a duration, both included."""

    least: timedelta = INSTANT
    most: timedelta | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return _duration_schema(self.least, self.most)

    def _check(self, value: timedelta) -> timedelta:
        if value < self.least:
            raise PydanticCustomError("range", "is not more than zero")
        if self.most is not None and value > self.most:
            raise PydanticCustomError("range", "is longer than {most}", {"most": format_duration(self.most)})
        return value


WorkflowName = Annotated[
    str,
    StringConstraints(pattern=rf"{NAME}|{SCOPED}"),
    WithJsonSchema({"type": "string", "pattern": NAME}),  # a scoped one is nobody's to write: a run is given it
]
StepId = Annotated[str, StringConstraints(pattern=NAME)]
TaskType = Annotated[str, StringConstraints(pattern=TASK_TYPE, max_length=TASK_TYPE_LENGTH)]
OPTIONAL_TASK_TYPE = rf"^$|{TASK_TYPE}"
NoTaskType = Annotated[str, StringConstraints(pattern=OPTIONAL_TASK_TYPE, max_length=TASK_TYPE_LENGTH)]
"""Engine-run steps need none; Go writes an empty one."""
Group = Annotated[str, StringConstraints(pattern=GROUP)]
EventType = Annotated[str, StringConstraints(pattern=EVENT, max_length=256)]
Subject = Annotated[str, StringConstraints(pattern=SUBJECT, max_length=256)]
DotPath = Annotated[str, StringConstraints(pattern=DOT_PATH, max_length=MAX_DOT_PATH)]
UrlPath = Annotated[str, StringConstraints(pattern=URL_PATH, max_length=1024)]
HeaderName = Annotated[str, StringConstraints(pattern=HEADER, max_length=128)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]


def by_key(value: Any) -> Any:
    """`value` with the keys of all its objects sorted: one canonical form for free-form JSON."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: by_key(members[key]) for key in sorted(members)}
    return [by_key(part) for part in cast("list[Any]", value)] if isinstance(value, list) else value


def is_json(value: Any) -> bool:
    """Whether JSON can say `value` as it is: no tuples, dates, NaN, infinities or halves of surrogate pairs."""
    return all(map(_is_plain, _parts(value)))


def _parts(value: Any) -> Iterator[Any]:
    waiting: list[Any] = [value]
    for part in waiting:  # grows while it is read; a list and not recursion, however deep the value is
        if isinstance(part, dict):
            members = cast("dict[Any, Any]", part)
            waiting += (*members, *members.values())
            yield from (key if isinstance(key, str) else object() for key in members)
        elif isinstance(part, list):
            waiting += cast("list[Any]", part)
        else:
            yield part


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value)
    return value is None or (isinstance(value, int) and value.bit_length() <= MAX_BITS)


def _json(value: Any) -> Any:
    if not is_json(value):
        raise PydanticCustomError("json", "holds something that JSON cannot say")
    return by_key(value)


Json = Annotated[Any, AfterValidator(_json)]
"""Any JSON value; keys are sorted."""
JsonObject = Annotated[dict[str, Any], AfterValidator(_json)]
TextMap = Annotated[dict[str, str], AfterValidator(by_key)]
"""Text by text; keys are sorted."""


def _scalar(value: Any) -> Any:
    if _is_plain(value):
        return value
    if isinstance(value, str | float):
        raise PydanticCustomError("json", "cannot be said in JSON")
    raise PydanticCustomError("type", "is not a text, a number, true, false or null")


Scalar = Annotated[Any, AfterValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]

StepType = Literal[
    "normal",
    "agent",
    "agent_loop",
    "map",
    "planner",
    "sub_workflow",
    "sleep",
    "wait_for_event",
    "approval",
    "respond",
]
