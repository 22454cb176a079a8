"""Schemas inside definitions: checked as a whole, kept in one canonical form."""

from __future__ import annotations

from typing import Any

import pytest
from drawn import JSON_VALUES
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.check import check, load_definition
from dagnats.model.payload_schema import schema_problems

SCHEMA = "https://json-schema.org/draft/2020-12/schema"


def _canonical(schema: Any) -> Any:
    return load_definition({"name": "w", "steps": [{"id": "a", "task": "t"}], "input_schema": schema}).content()[
        "input_schema"
    ]


USABLE: list[Any] = [
    True,
    False,
    {},
    {"$schema": SCHEMA, "type": "object"},
    {"$ref": SCHEMA},
    {"$ref": "#"},
    {"$defs": {"a/b": {}}, "$ref": "#/$defs/a~1b"},
    {"$defs": {"tree": {"$anchor": "tree", "items": {"$ref": "#tree"}}}, "$ref": "#tree"},
    {"$id": "https://a.example/x", "$ref": "y", "$defs": {"y": {"$id": "y"}}},
    {"$defs": {"t": {"$dynamicAnchor": "t"}}, "$dynamicRef": "#t"},
    {"pattern": "^(a|b)$", "patternProperties": {"^x-": True}},
    {"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}},
    {"const": {"$ref": "#/nowhere", "type": "text"}, "default": {"pattern": "("}, "x-mine": {"$ref": "#/no"}},
    {"allOf": [{"not": {"enum": [1]}}], "prefixItems": [{}], "if": {}, "then": False},
]


@pytest.mark.parametrize("schema", USABLE)
def test_a_usable_schema_has_no_problems(schema: Any) -> None:
    assert schema_problems(schema) == ()


@pytest.mark.parametrize(
    ("location", "words", "schema"),
    [
        (("$schema",), "another draft", {"$schema": "http://json-schema.org/draft-07/schema#"}),
        (("type",), '"text" is no type; there are array, boolean', {"type": "text"}),
        (("allOf", 0, "required"), "is not of type 'array'", {"allOf": [{"required": "id"}]}),
        (("properties", "a", "minimum"), "is not of type 'number'", {"properties": {"a": {"minimum": "1"}}}),
        (("$ref",), "refers to nothing", {"$ref": "#/$defs/none"}),
        (("properties", "a", "$ref"), "refers to nothing", {"properties": {"a": {"$ref": "other.json"}}}),
        (("oneOf", 1, "$ref"), "refers to nothing", {"oneOf": [True, {"$ref": "#/none"}]}),
        (("items", "$dynamicRef"), "refers to nothing", {"items": {"$dynamicRef": "#none"}}),
        (("$ref",), "refers to nothing", {"$ref": "http://["}),
        (("not", "pattern"), "is no regular expression", {"not": {"pattern": "("}}),
        (("patternProperties", "*"), "is no regular expression", {"patternProperties": {"*": {}}}),
        (("enum",), " … ", {"enum": "x" * 500}),
    ],
)
def test_what_makes_a_schema_unusable_is_told_with_its_place(location: Any, words: str, schema: Any) -> None:
    ((place, message),) = schema_problems(schema)
    assert place == location
    assert words in message
    assert len(message) < 300


def test_all_that_is_wrong_with_a_schema_is_told_at_once() -> None:
    schema = {"properties": {"a": {"$ref": "#/x"}, "b": {"pattern": "["}, "c": {"$ref": "#/y"}}}
    assert [place[1] for place, _ in schema_problems(schema)] == ["a", "b", "c"]


def test_a_schema_that_is_nested_too_deep_to_be_checked_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"not": schema}
    assert schema_problems(schema) == (((), "this is nested too deep"),)


@given(JSON_VALUES | st.dictionaries(st.sampled_from(["$ref", "$id", "pattern", "$schema", "items"]), JSON_VALUES))
def test_no_value_makes_anything_but_problems(value: Any) -> None:
    problems = check({"name": "w", "steps": [{"id": "a", "task": "t"}], "input_schema": value})
    assert {problem.rule for problem in problems} <= {"schema", "type"}


def test_keys_are_sorted_and_lists_keep_their_order() -> None:
    schema = {"type": "object", "required": ["b", "a"], "properties": {"b": {}, "a": {"enum": [{"z": 1, "y": 2}]}}}
    assert list(_canonical(schema)) == ["properties", "required", "type"]
    assert list(_canonical(schema)["properties"]) == ["a", "b"]
    assert list(_canonical(schema)["properties"]["a"]["enum"][0]) == ["y", "z"]
    assert _canonical(schema)["required"] == ["b", "a"]


def test_titles_that_only_repeat_a_name_are_left_out_and_others_stay() -> None:
    schema: dict[str, Any] = {
        "title": "Order",
        "$defs": {"Item": {"title": "Item", "properties": {"unit_price": {"title": "Unit Price"}}}},
        "properties": {
            "id": {"title": "Id"},
            "note": {"title": "What to engrave"},
            "title": {"type": "string", "title": "Title"},
            "any": {"anyOf": [{"title": "Any"}]},
        },
        "default": {"properties": {"id": {"title": "Id"}}},
    }
    assert _canonical(schema) == {
        "title": "Order",
        "$defs": {"Item": {"properties": {"unit_price": {}}}},
        "properties": {
            "id": {},
            "note": {"title": "What to engrave"},
            "title": {"type": "string"},
            "any": {"anyOf": [{"title": "Any"}]},
        },
        "default": {"properties": {"id": {"title": "Id"}}},
    }
    assert schema["properties"]["id"] == {"title": "Id"}  # the document itself is left alone
