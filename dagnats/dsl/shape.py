"""What goes over an edge: a type's name for people, and its JSON Schema for the check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Schema = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Shape:
    """A type.

    Attributes:
        name: As its author wrote it, near enough: `list[Order]`.
        schema: With all its definitions. `{}` accepts everything, and promises nothing.
    """

    name: str
    schema: Schema

    def listed(self) -> Shape:
        """A list of these."""
        return Shape(f"list[{self.name}]", _around(self.schema, lambda schema: {"items": schema, "type": "array"}))

    def optional(self) -> Shape:
        """One of these, or null."""
        return Shape(f"{self.name} | None", _around(self.schema, lambda schema: {"anyOf": [schema, {"type": "null"}]}))


def object_of(members: Mapping[str, Schema]) -> Schema:
    """An object with exactly these members."""
    properties, definitions = _bundled(members)
    schema = {"properties": properties, "required": sorted(members), "type": "object"}
    return _with_definitions(schema, definitions)


def all_of(schemas: list[Schema]) -> Schema:
    """What fits every one of `schemas`; there is at least one."""
    if len(schemas) == 1:
        return schemas[0]
    parts, definitions = _bundled({str(at): schema for at, schema in enumerate(schemas)})
    return _with_definitions({"allOf": list(parts.values())}, definitions)


def _around(schema: Schema, build: Callable[[Schema], Schema]) -> Schema:
    inside = {key: value for key, value in schema.items() if key != "$defs"}
    return _with_definitions(build(inside), schema.get("$defs", {}))


def _with_definitions(schema: Schema, definitions: Schema) -> Schema:
    return {"$defs": definitions, **schema} if definitions else schema


def _bundled(schemas: Mapping[str, Schema]) -> tuple[dict[str, Schema], Schema]:
    """`schemas` with one set of definitions for all; different ones of one name are told apart by a number."""
    definitions: Schema = {}
    members: dict[str, Schema] = {}
    for key, schema in schemas.items():
        own: Schema = schema.get("$defs", {})
        names = {name: _free_name(name, own, definitions) for name in own}
        definitions |= {names[name]: _renamed(part, names) for name, part in own.items()}
        members[key] = _renamed({word: part for word, part in schema.items() if word != "$defs"}, names)
    return members, dict(sorted(definitions.items()))


def _free_name(name: str, own: Schema, taken: Schema) -> str:
    free, number = name, 1
    while free in taken and taken[free] != own[name]:
        number += 1
        free = f"{name}_{number}"
    return free


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(part, names) for part in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("dict[str, Any]", schema)
    renamed = {key: _renamed(part, names) for key, part in members.items()}
    reference = members.get("$ref")
    if isinstance(reference, str):
        name = reference.removeprefix("#/$defs/")
        renamed["$ref"] = f"#/$defs/{names.get(name, name)}"
    return renamed
