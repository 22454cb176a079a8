"""The JSON artefact: one canonical form, one identity, two spellings of a duration."""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

import pytest
from documents import valid_documents
from hypothesis import given
from syrupy.assertion import SnapshotAssertion

from dagnats.model.check import load_definition
from dagnats.model.definition import WorkflowDef, json_schema
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.event import NOTHING
from dagnats.model.json import compact, encode, join_object, pretty

DURATION_KEYS = {"timeout", "queue_timeout", "heartbeat_timeout", "initial_delay", "max_delay"}

ORDER = {
    "steps": [
        {"compensate": "release", "task": "inventory.reserve", "id": "reserve", "timeout": 30_000_000_000},
        {
            "depends_on": ["reserve"],
            "id": "charge",
            "heartbeat_timeout": "10s",
            "queue_timeout": "300s",
            "timeout": 60_000_000_000,
            "task": "payment.charge",
            "retry": {"multiplier": 2, "strategy": "exponential", "max_attempts": 3, "initial_delay": "1000ms"},
            "type": "normal",
            "on_failure": None,
        },
        {"id": "release", "task": "inventory.release", "retries": 0},
    ],
    "version": "1",
    "name": "order",
    "timeout": "10m0s",
    "aux_steps": {"nonsense": True},
}


def test_the_canonical_form_has_one_order_no_defaults_and_gos_durations() -> None:
    assert load_definition(ORDER).to_json() == (
        b"""{
  "$schema": "./workflow.schema.json",
  "name": "order",
  "steps": [
    {
      "id": "reserve",
      "task": "inventory.reserve",
      "timeout": "30s",
      "compensate": "release"
    },
    {
      "id": "charge",
      "task": "payment.charge",
      "depends_on": [
        "reserve"
      ],
      "timeout": "1m",
      "queue_timeout": "5m",
      "heartbeat_timeout": "10s",
      "retry": {
        "max_attempts": 3,
        "strategy": "exponential",
        "initial_delay": "1s"
      }
    },
    {
      "id": "release",
      "task": "inventory.release"
    }
  ],
  "timeout": "10m"
}
"""
    )


@given(valid_documents())
def test_the_canonical_form_is_a_fixpoint(document: dict[str, Any]) -> None:
    written = load_definition(json.dumps(document)).to_json()
    again = load_definition(written)
    assert again.to_json() == written
    assert again == load_definition(document)


@given(valid_documents())
def test_the_canonical_form_is_the_identitys_content_with_a_schema_line(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    written = json.loads(definition.to_json())
    assert next(iter(written)) == "$schema"
    del written["$schema"]
    text = json.dumps(written, separators=(",", ":"), ensure_ascii=False)
    assert definition.identity == hashlib.sha256(text.encode()).hexdigest()


@given(valid_documents())
def test_schema_key_order_and_layout_do_not_change_the_identity(document: dict[str, Any]) -> None:
    identity = load_definition(document).identity
    other: dict[str, Any] = {"$schema": "https://elsewhere.example/schema.json"}
    other |= {key: document[key] for key in reversed(document) if key != "$schema"}
    assert load_definition(json.dumps(other, indent=7)).identity == identity


@given(valid_documents())
def test_version_and_content_change_the_identity(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    relabelled = load_definition({**document, "version": definition.version + "x"})
    renamed = load_definition({**document, "name": definition.name[:100] + "x"})
    assert len({definition.identity, relabelled.identity, renamed.identity}) == 3


@given(valid_documents())
def test_both_spellings_of_a_duration_load_to_equal_definitions(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    nanos = _in_nanos(definition.content())
    assert load_definition(nanos) == definition
    assert load_definition(nanos).identity == definition.identity


def _in_nanos(content: Any) -> Any:
    """The JSON value with every duration as an integer."""
    if isinstance(content, list):
        return [_in_nanos(part) for part in cast("list[Any]", content)]
    if not isinstance(content, dict):
        return content
    return {
        key: duration_nanos(parse_duration(part)) if key in DURATION_KEYS else _in_nanos(part)
        for key, part in cast("dict[str, Any]", content).items()
    }


def test_text_bytes_and_values_load_alike() -> None:
    text = json.dumps(ORDER)
    assert load_definition(text) == load_definition(text.encode()) == load_definition(ORDER)
    assert load_definition(b"\xef\xbb\xbf" + text.encode()) == load_definition(ORDER)


def test_steps_named_by_others_are_auxiliary_whatever_the_document_says() -> None:
    assert load_definition(ORDER).auxiliary == {"release"}


def test_a_definition_cannot_be_changed() -> None:
    definition = load_definition(ORDER)
    with pytest.raises(ValueError, match="frozen"):
        definition.name = "other"


def test_whole_floats_are_written_as_floats() -> None:
    document = {**ORDER, "default_retry": {"max_attempts": 1, "multiplier": 3, "jitter": 1}}
    assert b'"multiplier": 3.0,\n    "jitter": 1.0\n' in load_definition(document).to_json()


def test_the_schema_names_every_key_the_loader_accepts(snapshot: SnapshotAssertion) -> None:
    schema = json_schema()
    assert list(schema["properties"]) == ["$schema", *WorkflowDef.model_fields, "aux_steps"]
    assert schema["additionalProperties"] is False
    assert pretty(schema).decode() == snapshot


def test_pretty_json_keeps_text_readable_and_refuses_what_json_cannot_say() -> None:
    assert pretty({"é": 1}) == '{\n  "é": 1\n}\n'.encode()
    assert compact({"é": [1, 2.0]}) == '{"é":[1,2.0]}'.encode()
    for write in (pretty, compact):
        with pytest.raises(ValueError):
            write(float("nan"))


def test_payloads_are_joined_without_being_decoded_and_absent_ones_are_null() -> None:
    joined = join_object([("a", encode({"x": 1.0})), ('"q"', encode("")), ("n", NOTHING)])
    assert bytes(joined) == b'{"a":{"x":1.0},"\\"q\\"":"","n":null}'
