"""Questions about JSON values: whether a step is skipped, whether an event is the awaited one.

Numbers are compared as numbers, texts as texts; values of different kinds are merely different.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never, cast

from dagnats.model.condition import AllOf, AnyOf, Comparison
from dagnats.runtime.core.path import Missing, decoded, value_at

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from dagnats.model.condition import Comparator, Operator


def holds(condition: Comparison | AnyOf | AllOf, output: Callable[[str], msgspec.Raw]) -> bool:
    """Whether a condition is true.

    Args:
        output: Gives the output of a step; empty when it has none.
    """
    match condition:
        case AnyOf():
            return any(holds(part, output) for part in condition.any)
        case AllOf():
            return all(holds(part, output) for part in condition.all)
        case Comparison():
            return _compares(condition, output(condition.step_id))
        case _:
            assert_never(condition)


def _compares(comparison: Comparison, output: msgspec.Raw) -> bool:
    """False when the value is missing or of another kind, even for `!=`: then the step runs."""
    if not output:
        return False
    try:
        value = value_at(decoded(output), comparison.field)
    except Missing:
        return False
    if _kind(value) != _kind(comparison.value) or _kind(value) == "other":
        return False
    return _ordered(comparison.op, value, comparison.value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "truth"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return "other"


def _ordered(op: Comparator, value: Any, other: Any) -> bool:
    if op == "==":
        return value == other
    if op == "!=":
        return value != other
    if _kind(value) not in ("number", "text"):
        return False
    match op:
        case "<":
            return value < other
        case ">":
            return value > other
        case "<=":
            return value <= other
        case ">=":
            return value >= other
        case _:
            assert_never(op)


_COMPARATOR: dict[Operator, Comparator] = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def matches(value: Any, op: Operator, right: Any) -> bool:
    """Whether a value of an event's body stands to `right` as `op` says."""
    if op == "in":
        return isinstance(right, list) and any(_same(value, one) for one in right)  # pyright: ignore[reportUnknownVariableType]
    if op == "eq":
        return _same(value, right)
    if op == "ne":
        return not _same(value, right)
    return _kind(value) == _kind(right) and _ordered(_COMPARATOR[op], value, right)


def _same(value: Any, other: Any) -> bool:
    """Equal as JSON: `true` is no 1, and 1 is 1.0, at any depth. No recursion: events may be nested deeply."""
    todo: list[tuple[Any, Any]] = [(value, other)]
    for one, two in todo:  # grows while it is read
        if isinstance(one, dict) and isinstance(two, dict):
            members, others = cast("dict[str, Any]", one), cast("dict[str, Any]", two)
            if members.keys() != others.keys():
                return False
            todo += [(member, others[key]) for key, member in members.items()]
        elif isinstance(one, list) and isinstance(two, list):
            items, more = cast("list[Any]", one), cast("list[Any]", two)
            if len(items) != len(more):
                return False
            todo += zip(items, more, strict=True)
        elif _kind(one) != _kind(two) or one != two:
            return False
    return True
