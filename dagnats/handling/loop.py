"""What a handler of an agent loop returns when it is not done."""

from __future__ import annotations

import types
from typing import Any, Generic, Never, TypeVar, Union, get_args, get_origin, overload

T_co = TypeVar("T_co", covariant=True)
_NOTHING: Any = object()


class Continue(Generic[T_co]):
    """Returned by the handler of an agent loop: run me again.

    Attributes:
        has_value: Whether a value was given.
        value: The input of the next iteration. Without one the input stays as it is.
    """

    __slots__ = ("has_value", "value")

    @overload
    def __init__(self: Continue[Never]) -> None: ...
    @overload
    def __init__(self, value: T_co) -> None: ...

    def __init__(self, value: Any = _NOTHING) -> None:
        self.has_value = value is not _NOTHING
        self.value: Any = value if self.has_value else None

    def __repr__(self) -> str:
        return f"Continue({self.value!r})" if self.has_value else "Continue()"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Continue):
            return NotImplemented
        return (self.has_value, self.value) == (other.has_value, other.value)

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # its value may be anything


def without_continue(declared: Any) -> tuple[Any, Any]:
    """A return annotation in two parts: what ends a loop, and what goes into the next iteration.

    Returns:
        The result type, and the type in `Continue[…]`; the latter is None when there is no `Continue`.
    """
    members = get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)
    turns = [member for member in members if (get_origin(member) or member) is Continue]
    if not turns:
        return declared, None
    results = tuple(member for member in members if member not in turns)
    values = tuple(argument for turn in turns for argument in get_args(turn) or (Any,))
    return Union[results] if results else Any, Union[values]  # noqa: UP007  # their number is not known
