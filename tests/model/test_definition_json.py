"""The JSON artefact: one canonical form, one identity, two spellings of a duration."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any, cast

import pytest
from drawn import valid_documents
from hypothesis import given

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.duration import duration_nanos
from dagnats.model.event import NOTHING
from dagnats.model.json import compact, encode, join_object, pretty
from dagnats.model.scalar import Part

ORDER = {
    "steps": [
        {"compensate": "release", "task": "inventory.reserve", "id": "reserve", "timeout": 30_000_000_000},
        {
            "depends_on": ["reserve"],
            "id": "charge",
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
def test_the_identity_is_of_the_canonical_form_without_its_schema_line_and_triggers(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    written = json.loads(definition.to_json())
    assert next(iter(written)) == "$schema"
    del written["$schema"]
    written.pop("triggers", None)
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
    marked = load_definition({**document, "labels": {**document.get("labels", {}), "new": "label"}})
    retimed = load_definition({**document, "timeout": "7h0m1s"})
    assert len({definition.identity, relabelled.identity, marked.identity, retimed.identity}) == 4


@given(valid_documents())
def test_triggers_do_not_change_the_identity(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    alone = load_definition({key: value for key, value in document.items() if key != "triggers"})
    assert alone.identity == definition.identity
    assert (alone == definition) == (not definition.triggers)


@given(valid_documents())
def test_both_spellings_of_a_duration_load_to_equal_definitions(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    nanos = _in_nanos(definition)
    assert load_definition(nanos) == definition
    assert load_definition(nanos).identity == definition.identity


def _in_nanos(part: Any) -> Any:
    """The JSON value of a definition with every duration as an integer."""
    if isinstance(part, timedelta):
        return duration_nanos(part)
    if isinstance(part, tuple):
        return [_in_nanos(inner) for inner in cast("tuple[Any, ...]", part)]
    if not isinstance(part, Part):
        return part
    members = ((field.alias or name, getattr(part, name), field) for name, field in type(part).model_fields.items())
    return {key: _in_nanos(value) for key, value, field in members if value != field.default}


def test_text_bytes_and_values_load_alike() -> None:
    text = json.dumps(ORDER)
    assert load_definition(text) == load_definition(text.encode()) == load_definition(ORDER)
    assert load_definition(b"\xef\xbb\xbf" + text.encode()) == load_definition(ORDER)


def test_steps_named_by_others_are_auxiliary_whatever_the_document_says() -> None:
    assert load_definition(ORDER).auxiliary == {"release"}


def test_a_definition_cannot_be_changed() -> None:
    definition = load_definition(ORDER)
    with pytest.raises(ValueError, match="frozen"):
        definition.name = "other"  # pyright: ignore[reportAttributeAccessIssue]  (that is the point)


def test_whole_floats_are_written_as_floats() -> None:
    document = {**ORDER, "default_retry": {"max_attempts": 1, "multiplier": 3, "jitter": 1}}
    assert b'"multiplier": 3.0,\n    "jitter": 1.0\n' in load_definition(document).to_json()


def test_maps_are_sorted_and_sets_have_one_order() -> None:
    document = {**ORDER, "labels": {"b": "2", "a": "1"}, "compensate_on": ["timeout", "cancel", "timeout"]}
    assert list(load_definition(document).labels) == ["a", "b"]
    assert load_definition(document).compensate_on == ("cancel", "timeout")
    assert load_definition({**ORDER, "compensate_on": ["timeout", "failure"]}) == load_definition(ORDER)


def test_what_is_meant_alike_is_written_alike() -> None:
    def config(**config: Any) -> Any:
        wait = {"event": "paid", "timeout": "1h", **config}
        step = {"id": "a", "type": "wait_for_event", "config": wait}
        return load_definition({"name": "w", "steps": [step]}).content()["steps"][0]["config"]

    def match(right: Any) -> Any:
        return config(match={"left": "id", "op": "eq", "right": right})["match"]["right"]

    assert match("id") == match("input.id") == "input.id"
    assert match("input") == "input.input"
    assert match({"value": {"b": 1, "a": 2}}) == {"value": {"a": 2, "b": 1}}


def test_an_agent_loop_may_call_its_config_loop() -> None:
    loop = {"max_iterations": 3, "loop_delay": "2s"}
    step = {"id": "a", "task": "t", "type": "agent_loop"}
    by_config, by_loop = (load_definition({"name": "w", "steps": [step | {key: loop}]}) for key in ("config", "loop"))
    assert by_loop == by_config
    assert b'"config"' in by_loop.to_json()


def test_a_multiplier_of_zero_is_none_at_all_where_it_is_not_used() -> None:
    def multiplier(value: float, strategy: str) -> float:
        policy = {"max_attempts": 1, "multiplier": value, "strategy": strategy}
        retry = load_definition({**ORDER, "default_retry": policy}).default_retry
        assert retry is not None
        return retry.multiplier

    assert multiplier(0, "fixed") == multiplier(0.0, "linear") == 2.0
    assert multiplier(0.5, "fixed") == 0.5
    with pytest.raises(DefinitionError, match="0 is not more than 0"):
        multiplier(0, "exponential")


def test_gos_empty_values_are_defaults() -> None:
    respond = {"id": "r", "task": "", "type": "respond", "config": {"status": 0}}
    cron = {"id": "c", "cron": {"expression": "0 9 * * 1", "timezone": ""}}
    definition = load_definition({"name": "w", "steps": [respond], "triggers": [cron], "sticky": "", "timeout": 0})
    assert definition == load_definition(
        {
            "name": "w",
            "steps": [{"id": "r", "type": "respond"}],
            "triggers": [{"id": "c", "cron": {"expression": "0 9 * * 1"}}],
        }
    )


def test_pretty_json_keeps_text_readable_and_refuses_what_json_cannot_say() -> None:
    assert pretty({"é": 1}) == '{\n  "é": 1\n}\n'.encode()
    assert compact({"é": [1, 2.0]}) == '{"é":[1,2.0]}'.encode()
    for write in (pretty, compact):
        with pytest.raises(ValueError):
            write(float("nan"))


def test_payloads_are_joined_without_being_decoded_and_absent_ones_are_null() -> None:
    joined = join_object([("a", encode({"x": 1.0})), ('"q"', encode("")), ("n", NOTHING)])
    assert bytes(joined) == b'{"a":{"x":1.0},"\\"q\\"":"","n":null}'
