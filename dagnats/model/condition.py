"""Questions a definition asks: of a step's output (`skip_if`), and of an event's body (`match`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from dagnats.model.identifier import REFERENCE
from dagnats.model.scalar import (
    ZERO,
    DotPath,
    Duration,
    EventType,
    Json,
    Part,
    Scalar,
    StepId,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Comparator = Literal["==", "!=", "<", ">", "<=", ">="]
Operator = Literal["eq", "ne", "lt", "le", "gt", "ge", "in"]


class Comparison(Part, frozen=True):
    """One value in the output of a dependency, compared. False when the value is missing or of another type."""

    step_id: StepId = Field(description="Whose output; one of the step's dependencies.")
    field: DotPath = Field(description="Dot path into that output.")
    op: Comparator = Field(description="How to compare.")
    value: Scalar = Field(description="With what: a text, a number, true, false or null.")


class AnyOf(Part, frozen=True):
    """True when one of the conditions is."""

    any: tuple[Condition, ...] = Field(strict=False, min_length=1, description="At least one of these.")


class AllOf(Part, frozen=True):
    """True when all of the conditions are."""

    all: tuple[Condition, ...] = Field(strict=False, min_length=1, description="All of these.")


def _kind(value: Any) -> str:
    """Which kind of condition an object or a built condition is."""
    if isinstance(value, dict):
        return "<any>" if "any" in value else "<all>" if "all" in value else "<comparison>"
    return {AnyOf: "<any>", AllOf: "<all>"}.get(cast("type[Any]", type(value)), "<comparison>")


Condition = Annotated[
    Annotated[Comparison, Tag("<comparison>")] | Annotated[AnyOf, Tag("<any>")] | Annotated[AllOf, Tag("<all>")],
    Discriminator(_kind),
]


def comparisons(condition: Comparison | AnyOf | AllOf) -> Iterator[Comparison]:
    """Every comparison in `condition`."""
    if isinstance(condition, Comparison):
        yield condition
        return
    for part in condition.any if isinstance(condition, AnyOf) else condition.all:
        yield from comparisons(part)


class LiteralValue(Part, frozen=True):
    """A value that stands in the definition itself."""

    value: Json = Field(description="Any JSON value.")


def _reference(value: Any) -> str:
    """`value` with its root spelt out: a bare path means the run's input."""
    text = value if isinstance(value, str) else ""
    if not text.startswith(("step.", "input.")):
        text = f"input.{text}"
    if re.fullmatch(REFERENCE, text) is None:
        raise PydanticCustomError(
            "match-right",
            "is no reference; write `input.<path>`, `step.<id>.output.<path>` or {literal}",
            {"literal": '{"value": …}'},
        )
    return text


def _side(value: Any) -> str:
    return "<literal>" if isinstance(value, dict | LiteralValue) else "<reference>"


Right = Annotated[
    Annotated[str, BeforeValidator(_reference), Tag("<reference>")] | Annotated[LiteralValue, Tag("<literal>")],
    Discriminator(_side),
]


class Match(Part, frozen=True):
    """Which events count: a value in the event's body, compared with one the run has."""

    left: DotPath = Field(description="Dot path into the event's body.")
    op: Operator = Field(description="How to compare; `in` asks for membership of an array.")
    right: Right = Field(
        description='`input.<path>` (of the run\'s input), `step.<id>.output.<path>`, or a literal `{"value": …}`; '
        "a bare path means `input.<path>`."
    )


class CancelOn(Part, frozen=True):
    """An event that cancels the run."""

    event: EventType = Field(description="The event's type.")
    match: Match | None = Field(default=None, description="Only events of which this is true.")
    timeout: Duration = Field(
        default=ZERO, description="How long from the run's start such an event counts; 0: always."
    )
