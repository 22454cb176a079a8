"""Values held against schemas: every problem, with its place, and why none of several fits."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.payload import payload_problems

_SCHEMA: Any = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "when": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "tags": {"additionalProperties": {"type": "string"}},
    },
    "$defs": {"line": {"oneOf": [{"type": "object", "properties": {"n": {"minimum": 3}}, "required": ["n"]}, False]}},
}


def _found(payload: bytes) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in payload_problems(_SCHEMA, payload)]


def test_a_value_that_fits_has_no_problems() -> None:
    assert _found(b'{"id":"a","when":null,"lines":[{"n":3}]}') == []


def test_all_problems_are_found_in_the_order_of_their_places() -> None:
    assert _found(b'{"when":"x","tags":{"b":1,"a":2},"lines":[{"n":4},{"n":1}]}') == [
        ("$", "'id' is a required property"),
        ("$.lines[1]", "{'n': 1} is not valid under any of the given schemas"),
        ("$.tags.a", "2 is not of type 'string'"),
        ("$.tags.b", "1 is not of type 'string'"),
        ("$.when", "'x' is not valid under any of the given schemas"),
    ]


def test_a_value_that_fits_none_of_several_schemas_is_told_why_for_each() -> None:
    (problem,) = payload_problems(_SCHEMA, b'{"id":"a","when":"x"}')
    assert problem.hint == "'x' is not of type 'integer'; or 'x' is not of type 'null'"
    (problem,) = payload_problems(_SCHEMA, b'{"id":"a","lines":[{"n":1}]}')
    assert problem.hint.startswith("n: 1 is less than the minimum of 3; or ")


def test_why_a_value_fits_none_of_several_schemas_is_told_to_the_bottom() -> None:
    nested = {"anyOf": [{"anyOf": [{"type": "integer"}]}, {"type": "null"}]}
    (problem,) = payload_problems(nested, b'"x"')
    assert problem.hint == "'x' is not of type 'integer'; or 'x' is not of type 'null'"


@pytest.mark.parametrize(("payload", "path"), [(b"", "$"), (b"null", "$"), (b"[]", "$")])
def test_an_absent_value_reads_as_null(payload: bytes, path: str) -> None:
    (problem,) = payload_problems(_SCHEMA, payload)
    assert problem.path == path
    assert problem.message.endswith("is not of type 'object'")


@pytest.mark.parametrize("payload", [b"{", b"1e999", b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_a_problem_and_not_an_exception(payload: bytes) -> None:
    (problem,) = payload_problems(_SCHEMA, payload)
    assert (problem.path, problem.rule) == ("$", "json")


def test_a_value_that_a_schema_of_itself_follows_too_deep_is_a_problem() -> None:
    nested = {"$defs": {"n": {"items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}
    (problem,) = payload_problems(nested, b"[" * 900 + b"]" * 900)
    assert problem.message == "this is nested too deep to be checked"


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    (problem,) = payload_problems({"type": "integer"}, b'"' + b"x" * 1_000 + b'"')
    assert len(problem.message) < 250
    assert problem.message.endswith("is not of type 'integer'")
