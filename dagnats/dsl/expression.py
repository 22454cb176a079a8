"""Expressions over what a run will know: conditions (`skip_if`) and matches of events.

Nothing is computed when they are written; they become part of the definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.step import Step

Scalar = str | int | float | bool | None
"""What the right side of a condition may be."""

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_PARENTHESES = "combine conditions with `&`, `|` and `~`, each comparison in parentheses: (a == 1) & (b == 2)"


class Expr:
    """A value that a run will have, and the way into it: `lint.output["issues"][0]["line"]`."""

    def __init__(self, *path: str | int) -> None:
        self._path = path

    def __getitem__(self, key: str | int) -> Self:
        if isinstance(key, bool) or not isinstance(key, str | int):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"a key is a text and an index a whole number, not {key!r}")
        return self._at((*self._path, key))

    def _at(self, path: tuple[str | int, ...]) -> Self:
        return type(self)(*path)

    @property
    def dotted(self) -> str:
        """The path as a definition writes it: dots between keys, a backslash before a dot inside a key."""
        return ".".join(str(part).replace("\\", "\\\\").replace(".", "\\.") for part in self._path)

    def __bool__(self) -> bool:
        raise TypeError(f"a run's value is not known yet; compare it, and {_PARENTHESES}")

    def __and__(self, other: object) -> Any:
        raise TypeError(_PARENTHESES)

    __rand__ = __or__ = __ror__ = __and__

    def __invert__(self) -> Any:
        raise TypeError(_PARENTHESES)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.dotted!r}>"

    # Without these, Python would try indexes for ever, or find every expression equal to every other one.
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None
    __hash__: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]  # as in list


class Input(Expr):
    """The run's input: `wf.input["customer"]["id"]`. What events are matched with."""

    @property
    def reference(self) -> str:
        """The value as the right side of a match."""
        return f"input.{self.dotted}"


class Output(Expr):
    """A step's output: `lint.output["issues"]`. Compared, it is a condition."""

    def __init__(self, step: Step[Any, Any], *path: str | int) -> None:
        super().__init__(*path)
        self.step = step

    def _at(self, path: tuple[str | int, ...]) -> Self:
        return type(self)(self.step, *path)

    def __eq__(self, other: Scalar) -> Condition:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._compared("==", other)

    def __ne__(self, other: Scalar) -> Condition:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._compared("!=", other)

    def __lt__(self, other: Scalar) -> Condition:
        return self._compared("<", other)

    def __le__(self, other: Scalar) -> Condition:
        return self._compared("<=", other)

    def __gt__(self, other: Scalar) -> Condition:
        return self._compared(">", other)

    def __ge__(self, other: Scalar) -> Condition:
        return self._compared(">=", other)

    def _compared(self, op: str, value: Any) -> Any:
        if isinstance(value, Body):
            return NotImplemented  # Python asks the event's side next
        if not isinstance(value, Scalar):
            raise TypeError(f"an output is compared with a text, a number, True, False or None, not {value!r}")
        return Comparison(self, op, value)


class _Combining:
    """What all conditions can do."""

    def __and__(self, other: Condition) -> Condition:
        return _joined("all", self, other)

    def __or__(self, other: Condition) -> Condition:
        return _joined("any", self, other)

    def __bool__(self) -> bool:
        raise TypeError(f"a condition has no answer before the run; {_PARENTHESES}")


@dataclass(frozen=True, eq=False)
class Comparison(_Combining):
    """One output, compared with one value.

    A value that is missing or of another type answers no, to a comparison and to its opposite: the step runs.
    """

    output: Output
    op: str
    value: Scalar

    def __invert__(self) -> Condition:
        return Comparison(self.output, _OPPOSITE[self.op], self.value)

    def outputs(self) -> Iterator[Output]:
        """Every output that is asked about."""
        yield self.output

    def document(self) -> dict[str, Any]:
        """The condition as the definition writes it."""
        return {"step_id": self.output.step.id, "field": self.output.dotted, "op": self.op, "value": self.value}


@dataclass(frozen=True, eq=False)
class Joined(_Combining):
    """Several conditions: all of them, or any."""

    kind: Literal["all", "any"]
    parts: tuple[Condition, ...]

    def __invert__(self) -> Condition:
        return Joined("any" if self.kind == "all" else "all", tuple(~part for part in self.parts))

    def outputs(self) -> Iterator[Output]:
        """Every output that is asked about."""
        for part in self.parts:
            yield from part.outputs()

    def document(self) -> dict[str, Any]:
        """The condition as the definition writes it."""
        return {self.kind: [part.document() for part in self.parts]}


Condition = Comparison | Joined
"""A question about outputs. Combine it with `&`, `|` and `~`."""


def _joined(kind: Literal["all", "any"], *parts: object) -> Condition:
    flat: list[Condition] = []
    for part in parts:
        if not isinstance(part, Condition):
            raise TypeError(f"{part!r} is no condition; {_PARENTHESES}")
        flat += part.parts if isinstance(part, Joined) and part.kind == kind else (part,)
    return Joined(kind, tuple(flat))


@dataclass(frozen=True)
class Match:
    """Which events count. Made by comparing `wf.event[…]`.

    Attributes:
        left: Dot path into the event's body.
        op: `eq`, `ne`, `lt`, `le`, `gt`, `ge` or `in`.
        right: `input.<path>`, `step.<id>.output.<path>`, or `{"value": …}`.
        output: The step's output that `right` names, when it was said by an expression.
    """

    left: str
    op: str
    right: Any
    output: Output | None = field(default=None, compare=False, repr=False)

    def __bool__(self) -> bool:
        raise TypeError("a match has no answer before the event; an event is matched by one comparison")

    def document(self) -> dict[str, Any]:
        """The match as the definition writes it."""
        return {"left": self.left, "op": self.op, "right": self.right}


class Body(Expr):
    """The body of an event that a run may wait for. Compared, it is a match: `wf.event["id"] == wf.input["id"]`."""

    def __eq__(self, other: Any) -> Match:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._matched("eq", other)

    def __ne__(self, other: Any) -> Match:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._matched("ne", other)

    def __lt__(self, other: Any) -> Match:
        return self._matched("lt", other)

    def __le__(self, other: Any) -> Match:
        return self._matched("le", other)

    def __gt__(self, other: Any) -> Match:
        return self._matched("gt", other)

    def __ge__(self, other: Any) -> Match:
        return self._matched("ge", other)

    def is_in(self, values: Any) -> Match:
        """Whether it is an element of an array: a list, or one that the run has."""
        return self._matched("in", values)

    def _matched(self, op: str, other: Any) -> Match:
        if isinstance(other, Input):
            return Match(self.dotted, op, other.reference)
        if isinstance(other, Output):
            return Match(self.dotted, op, f"step.{other.step.id}.output.{other.dotted}", other)
        if isinstance(other, Expr):
            raise TypeError("an event is compared with what the run has, not with another part of the event")
        return Match(self.dotted, op, {"value": other})
