"""A quick yes: whether a value fits a JSON Schema, for schemas that say no more than most do.

Every start of a run and every end of one is held against a schema. `jsonschema` knows all of JSON Schema, and takes
some ten microseconds for each part of a value; what follows knows little, and says yes to nearly everything in one.
What it does not say yes to, `jsonschema` looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Fits = Callable[[Any], bool]

# As they are read from JSON. `jsonschema` takes 1.0 for an integer too: that is for it to say.
_TYPES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "null": frozenset({type(None)}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}
_REMARKS = {"title", "description", "default", "examples", "format"}


class _Unknown(Exception):
    """The schema says something that we do not know."""


def quick_check(schema: Any) -> Fits:
    """Gives whether a value certainly fits; one that says no may be wrong."""
    try:
        return _check(schema)
    except (_Unknown, RecursionError):
        return lambda _: False


def _check(schema: Any) -> Fits:
    """Raises _Unknown."""
    if not isinstance(schema, dict):
        raise _Unknown
    said = {key: value for key, value in cast("dict[str, Any]", schema).items() if key not in _REMARKS}
    match said:
        case {"type": str(kind), **rest}:
            return _of_type(kind, rest)
        case {"anyOf": [*options], **rest} if not rest:
            checks = [_check(option) for option in options]
            return lambda value: any(check(value) for check in checks)
        case {**rest} if not rest:
            return lambda _: True
        case _:
            raise _Unknown


def _of_type(kind: str, rest: dict[str, Any]) -> Fits:
    types = _TYPES.get(kind, frozenset())
    match rest:
        case {**more} if not more:
            return lambda value: type(value) in types
        case {"items": schema, **more} if kind == "array" and not more:
            check = _check(schema)
            return lambda value: type(value) is list and all(map(check, cast("list[Any]", value)))
        case _ if kind == "object" and rest.keys() <= {"properties", "required", "additionalProperties"}:
            return _of_object(rest)
        case _:
            raise _Unknown


def _of_object(rest: Mapping[str, Any]) -> Fits:
    checks = {name: _check(schema) for name, schema in rest.get("properties", {}).items()}
    required: frozenset[str] = frozenset(rest.get("required", ()))
    more: Any = rest.get("additionalProperties", True)
    other: Fits = (lambda _: more) if isinstance(more, bool) else _check(more)

    def fits(value: Any) -> bool:
        if type(value) is not dict:
            return False
        members = cast("dict[str, Any]", value)
        return required <= members.keys() and all(checks.get(name, other)(each) for name, each in members.items())

    return fits
