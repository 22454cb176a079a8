"""JSON Schemas that a definition carries: of a run's input and output, of an approval's answer."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from dagnats.model.finding import shown
from dagnats.model.reading import members
from dagnats.model.scalar import by_key, is_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Location = tuple[int | str, ...]

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

# Where JSON Schema keeps schemas inside schemas.
_ONE = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")


def _inside(schema: dict[str, Any]) -> Iterator[tuple[Location, Any]]:
    """The schemas directly inside `schema`, with their places in it."""
    yield from (((key,), schema[key]) for key in _ONE if key in schema)
    for key in _LIST:
        parts = schema.get(key)
        if isinstance(parts, list):
            yield from (((key, at), part) for at, part in enumerate(cast("list[Any]", parts)))
    for key in _NAMED:
        members = schema.get(key)
        if isinstance(members, dict):
            yield from (((key, name), part) for name, part in cast("dict[str, Any]", members).items())


def _canonical(schema: Any) -> Any:
    if not isinstance(schema, dict | bool):
        raise PydanticCustomError("type", "is not a JSON Schema: write an object, true or false")
    if not is_json(cast("Any", schema)):
        raise PydanticCustomError("json", "holds something that JSON cannot say")
    copy = by_key(schema)
    waiting: list[tuple[str, Any]] = [("", copy)]
    for name, part in waiting:  # grows while it is read
        if isinstance(part, dict):
            said = members(part)
            if said.get("title") in _generated_titles(name):
                del said["title"]
            waiting += ((str(place[-1]) if len(place) == 2 else "", inner) for place, inner in _inside(said))
    return copy


def _generated_titles(name: str) -> tuple[str, ...]:
    """The titles pydantic gives a definition or a property of this name, by itself: no reader learns from them."""
    return (name, name.title().replace("_", " ").strip()) if name else ()


PayloadSchema = Annotated[
    Any,
    AfterValidator(_canonical),
    WithJsonSchema({"allOf": [{"$ref": DRAFT}, {"properties": {"$schema": {"const": DRAFT}}}]}),
]
"""A JSON Schema: keys sorted, titles that only repeat a name left out."""


def schema_problems(schema: Any) -> tuple[tuple[Location, str], ...]:
    """What keeps a JSON value from being a schema that can be used: each place in it, and what is wrong there."""
    return _problems(json.dumps(schema))


@lru_cache(maxsize=32)  # a millisecond and more each; workflows share schemas, and are built again and again
def _problems(text: str) -> tuple[tuple[Location, str], ...]:
    schema = json.loads(text)
    try:
        shape = [(tuple(error.absolute_path), f"this is no JSON Schema: {_words(error)}") for error in _errors(schema)]
        return tuple(shape or _use_problems(schema))
    except RecursionError:
        return (((), "this is nested too deep"),)


def _errors(schema: Any) -> Iterator[ValidationError]:
    from jsonschema import Draft202012Validator  # 0.15 s: only for definitions that have a schema

    validator: Any = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    yield from validator.iter_errors(schema)


def _words(error: ValidationError) -> str:
    """What jsonschema says, in a line; for the commonest mistake, what would be right."""
    if error.validator == "anyOf":  # the meta-schema has one choice only: `type` is a name or a list of names
        return f"{shown(error.instance)} is no type; there are {', '.join(_TYPES)}"
    message = error.message
    return message if len(message) <= 200 else f"{message[:100]} … {message[-99:]}"


def _use_problems(schema: Any) -> Iterator[tuple[Location, str]]:
    """What the meta-schema cannot see: another draft, broken patterns, references to nowhere."""
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if members(schema).get("$schema", DRAFT) != DRAFT:
        yield ("$schema",), f"this names another draft; write {DRAFT}, or leave it out"
        return
    resolver = REGISTRY.with_resource("", DRAFT202012.create_resource(schema)).resolver()
    waiting: list[tuple[Location, Any, Any]] = [((), schema, resolver)]
    for location, part, outer in waiting:  # grows while it is read
        said = members(part)  # true and false have nothing inside
        inner = outer.in_subresource(DRAFT202012.create_resource(said))
        yield from _pattern_problems(location, said)
        for key in ("$ref", "$dynamicRef"):
            try:
                inner.lookup(said.get(key, "#"))
            except (Unresolvable, ValueError):  # ValueError: no URL at all
                yield (*location, key), "this refers to nothing in this schema, and nothing is loaded from elsewhere"
        waiting += (((*location, *place), within, inner) for place, within in _inside(said))


def _pattern_problems(location: Location, schema: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    patterns = [(("pattern",), schema["pattern"])] if "pattern" in schema else []
    patterns += [(("patternProperties", text), text) for text in schema.get("patternProperties", ())]
    for place, text in patterns:
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            yield (*location, *place), f"this is no regular expression: {error}"
