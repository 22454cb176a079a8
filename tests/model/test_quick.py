"""The quick yes to values: it comes for what most schemas say, and never where jsonschema says no."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dagnats.model.quick import quick_check

ORDER = {
    "title": "Order",
    "type": "object",
    "properties": {"id": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
    "required": ["id"],
}


FITTING: list[tuple[Any, Any]] = [
    ({}, [1]),
    ({"type": "string", "title": "Name"}, "Ada"),
    ({"type": "number"}, 1),
    ({"type": "array"}, [1, "a"]),
    ({"type": "array", "items": {"type": "null"}}, [None]),
    ({"type": "object"}, {"a": 1}),
    ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": "b"}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, None),
    (ORDER, {"id": "o-1", "lines": [1, 2], "note": "anything"}),
]


@pytest.mark.parametrize(("schema", "value"), FITTING)
def test_it_comes_for_what_most_schemas_say(schema: Any, value: Any) -> None:
    assert quick_check(schema)(value)


UNFIT: list[tuple[Any, Any]] = [
    ({"type": "string"}, 1),
    ({"type": "integer"}, True),
    ({"type": "array", "items": {"type": "string"}}, ["a", 1]),
    ({"type": "array", "items": {"type": "string"}}, "ab"),
    ({"type": "object", "additionalProperties": False}, {"a": 1}),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1),
    (ORDER, {"lines": []}),
    (ORDER, {"id": "o-1", "lines": ["1"]}),
    (ORDER, []),
]


@pytest.mark.parametrize(("schema", "value"), UNFIT)
def test_it_does_not_come_for_what_does_not_fit(schema: Any, value: Any) -> None:
    assert not quick_check(schema)(value)


UNKNOWN: list[Any] = [
    True,
    {"type": ["string", "null"]},
    {"type": "string", "maxLength": 9},
    {"type": "array", "items": {"type": "string"}, "minItems": 1},
    {"anyOf": [{}], "type": "string"},
    {"anyOf": [{}], "minimum": 1},
    {"$ref": "#/$defs/name", "$defs": {"name": {}}},
]


@pytest.mark.parametrize("schema", UNKNOWN)
def test_a_schema_that_says_more_is_left_to_jsonschema(schema: Any) -> None:
    assert not quick_check(schema)("Ada")


def test_a_schema_that_is_nested_too_deep_is_left_to_jsonschema() -> None:
    schema: dict[str, Any] = {}
    for _ in range(2_000):
        schema = {"type": "array", "items": schema}
    assert not quick_check(schema)([])


_VALUES: list[Any] = [
    *(None, True, 0, 1, 1.0, 1.5, "", "a"),
    *([], [1], [1.0, True], ["a", None], [[]]),
    *({}, {"id": "a"}, {"id": 1}, {"a": "b"}, {"a": None}, {"id": "a", "lines": [1]}, {"id": "a", "lines": [1.5]}),
]


@pytest.mark.parametrize("schema", [schema for schema, _ in (*FITTING, *UNFIT)])
def test_it_never_comes_where_jsonschema_says_no(schema: Any) -> None:
    thorough: Any = Draft202012Validator(schema)
    fits = quick_check(schema)
    assert [value for value in _VALUES if fits(value) and not thorough.is_valid(value)] == []
