"""The JSON Schema of definitions: what editors complete and check while somebody types.

It describes the shape of all that the loader accepts. What lies between values (unknown steps, cycles, two keys that
exclude each other) is the loader's to find.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from dagnats.model.definition import WorkflowDef
from dagnats.model.duration import format_duration
from dagnats.model.payload_schema import DRAFT
from dagnats.model.step import STEP_CLASSES, WORKER_RUN, StepDef

if TYPE_CHECKING:
    from pydantic_core import core_schema


class _Generator(GenerateJsonSchema):
    """pydantic's, without titles that only repeat a key, and with durations in our spelling."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        written = super().model_schema(schema)
        written.pop("title", None)
        return written


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of everything the loader accepts: the caller's own, to change."""
    return deepcopy(_written())


@cache
def _written() -> dict[str, Any]:
    """It takes pydantic a tenth of a second, and it is the same every time."""
    schema = WorkflowDef.model_json_schema(schema_generator=_Generator)
    parts: dict[str, Any] = schema.pop("$defs")
    classes = {kind: parts.pop(step_class.__name__) for kind, step_class in STEP_CLASSES.items()}
    parts["Step"] = _step(classes)
    parts["Trigger"]["properties"]["workflow_id"] = {
        "type": "string",
        "description": "The workflow's name; it may be left out.",
    }
    properties: dict[str, Any] = schema["properties"]
    properties["steps"]["items"] = {"$ref": "#/$defs/Step"}
    accepted = {
        "$schema": {"type": "string", "description": "Which schema an editor checks this file with."},
        **properties,
        "aux_steps": {
            "type": "object",
            "additionalProperties": {"type": "boolean"},
            "description": "Accepted and recomputed from `on_failure` and `compensate`.",
        },
    }
    return {
        "$schema": DRAFT,
        "title": "DagNats workflow",
        **schema,
        "properties": accepted,
        "$defs": {name: parts[name] for name in sorted(parts)},
    }


def _step(classes: dict[str, Any]) -> dict[str, Any]:
    """One description of all steps, and what each type adds to it: editors follow this better than a choice of ten."""
    step = StepDef.model_json_schema(schema_generator=_Generator)
    del step["$defs"]
    properties: dict[str, Any] = step["properties"]
    properties["config"] = {"description": properties["config"]["description"]}
    properties["loop"] = {"description": "Another name of `config`, for agent loops."}
    step["allOf"] = [{"if": _is(kind), "then": _then(kind, described)} for kind, described in classes.items()]
    return step


def _is(kind: str) -> dict[str, Any]:
    named = {"properties": {"type": {"const": kind}}}
    return named if kind == "normal" else {**named, "required": ["type"]}  # without a type, a step is normal


def _then(kind: str, described: dict[str, Any]) -> dict[str, Any]:
    config = described["properties"]["config"]
    needed = [key for key in described["required"] if key not in ("id", "type")]
    task = {"task": described["properties"]["task"]} if kind in WORKER_RUN else {}
    if kind != "agent_loop":
        return {"properties": {**task, "config": config, "loop": False}, "required": needed}
    either = [{"required": [name], "not": {"required": [other]}} for name, other in _NAMES]
    needed.remove("config")
    return {"properties": {**task, "config": config, "loop": config}, "required": needed, "oneOf": either}


_NAMES = (("config", "loop"), ("loop", "config"))
