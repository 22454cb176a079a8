"""The generated JSON Schema: whole, described, and itself valid."""

from __future__ import annotations

from typing import Any, cast

from jsonschema import Draft202012Validator
from syrupy.assertion import SnapshotAssertion

from dagnats.model.definition import WorkflowDef
from dagnats.model.json import pretty
from dagnats.model.schema import json_schema
from dagnats.model.step import StepDef


def test_the_schema_names_every_key_the_loader_accepts(snapshot: SnapshotAssertion) -> None:
    schema = json_schema()
    assert list(schema["properties"]) == ["$schema", *WorkflowDef.model_fields, "aux_steps"]
    assert list(schema["$defs"]["Step"]["properties"]) == [*StepDef.model_fields, "loop"]
    assert schema["additionalProperties"] is False
    assert pretty(schema).decode() == snapshot


def test_the_schema_is_a_valid_schema() -> None:
    validator: Any = Draft202012Validator
    validator.check_schema(json_schema())


def test_every_key_is_described_for_editors() -> None:
    schema = json_schema()
    for name, part in {"": schema, **schema["$defs"]}.items():
        assert part["description"]
        for key, described in cast("dict[str, Any]", part["properties"]).items():
            assert described.get("description"), f"{name}.{key}"


def test_every_object_is_closed() -> None:
    assert {part["additionalProperties"] for part in json_schema()["$defs"].values()} == {False}


def test_a_call_gives_a_schema_of_its_own() -> None:
    json_schema()["properties"].clear()
    assert json_schema()["properties"]
