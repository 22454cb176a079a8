"""The workflow definition: the JSON document that people's Python compiles to and the engine runs.

One class per JSON object, fields in the order of the canonical form. Reading is generous (both duration
spellings, a missing `type`) and rejects anything unknown; writing has exactly one form.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from dagnats.model.duration import format_duration, parse_duration
from dagnats.model.identifier import NAME, TASK_TYPE, TASK_TYPE_LENGTH
from dagnats.model.json import compact, pretty

MAX_STEPS = 10_000
MAX_BYTES = 1024 * 1024
SCHEMA_FILE = "workflow.schema.json"
SCHEMA_REFERENCE = f"./{SCHEMA_FILE}"

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|μs|ms|s|m|h|d|w))+)$"},
                {"type": "integer", "minimum": 0, "description": "nanoseconds"},
            ],
            "description": "A duration: '500ms', '30s', '1h30m', '7d'; or an integer of nanoseconds.",
        }
    ),
]
WorkflowName = Annotated[str, StringConstraints(pattern=NAME)]
StepId = Annotated[str, StringConstraints(pattern=NAME)]
TaskType = Annotated[str, StringConstraints(pattern=TASK_TYPE, max_length=TASK_TYPE_LENGTH)]
Strategy = Literal["fixed", "linear", "exponential"]

ZERO = timedelta(0)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, strict=True)


class RetryPolicy(_Part):
    """When and how often a failed step is tried again.

    The delay before retry k (k = 1, 2, …) is `initial_delay` (fixed), `initial_delay · k` (linear) or
    `initial_delay · multiplier^(k-1)` (exponential), then jitter, then `max_delay`; never below 1 ms.
    """

    max_attempts: int = Field(ge=0, le=100_000, description="Retries after the first execution.")
    strategy: Strategy = Field(default="fixed", description="How the delay grows from retry to retry.")
    initial_delay: Duration = Field(default=ZERO, description="The delay before the first retry.")
    max_delay: Duration = Field(default=ZERO, description="No delay is longer than this; 0 means no cap.")
    multiplier: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False, description="Exponential only.")] = 2.0
    jitter: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="Share of the delay that is spread.")
    ] = 0.0


class StepDef(_Part):
    """One node of a workflow."""

    id: StepId = Field(description="Unique in the workflow.")
    task: TaskType = Field(description="The task type workers serve.")
    depends_on: tuple[StepId, ...] = Field(
        default=(), strict=False, description="Steps that must be done before this one starts."
    )
    type: Literal["normal"] = Field(default="normal", description="How the step is run.")
    timeout: Duration = Field(
        default=ZERO, description="Per attempt, from the moment a worker starts it; 0 means none."
    )
    queue_timeout: Duration = Field(
        default=ZERO, description="Longest wait in the queue before a worker starts it; 0 means none."
    )
    heartbeat_timeout: Duration = Field(default=ZERO, description="Longest silence of a running attempt; 0 means none.")
    retry: RetryPolicy | None = Field(default=None, description="Overrides `default_retry`.")
    retries: int = Field(default=0, ge=0, le=100_000, description="Legacy: this many retries, 5 s apart.")
    on_failure: StepId | None = Field(default=None, description="The step that runs when this one has failed for good.")
    compensate: StepId | None = Field(
        default=None, description="The step that undoes this one when the run fails later."
    )


class WorkflowDef(_Part):
    """A whole workflow. Immutable; `identity` names its content."""

    model_config = ConfigDict(title="DagNats workflow")

    name: WorkflowName = Field(description="The name runs are started by.")
    version: str = Field(default="1", max_length=128, description="A label for people; identity is the content.")
    steps: tuple[StepDef, ...] = Field(min_length=1, max_length=MAX_STEPS, strict=False, description="At least one.")
    default_retry: RetryPolicy | None = Field(default=None, description="For steps without `retry`.")
    timeout: Duration = Field(default=ZERO, description="The deadline of a whole run; 0 means none.")

    @property
    def auxiliary(self) -> frozenset[str]:
        """Steps that only run for another one: named by some `on_failure` or `compensate`."""
        named = (target for step in self.steps for target in (step.on_failure, step.compensate))
        return frozenset(target for target in named if target is not None)

    def content(self) -> dict[str, Any]:
        """The canonical value: keys in this page's order, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def to_json(self) -> bytes:
        """The canonical artefact, as `dagnats build` writes it."""
        return pretty({"$schema": SCHEMA_REFERENCE, **self.content()})

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the content, in hex. A run is pinned to it; a new `$schema` or layout does not change it."""
        return hashlib.sha256(compact(self.content())).hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of everything the loader accepts."""
    schema = WorkflowDef.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        for value in part.get("properties", {}).values():
            value.pop("title", None)
            if value.get("default") == "PT0S":  # pydantic writes a timedelta's default its own way
                value["default"] = format_duration(ZERO)
    properties: dict[str, Any] = schema["properties"]
    accepted: dict[str, Any] = {
        "$schema": {"type": "string", "description": "Which schema an editor checks this file with."},
        **properties,
        "aux_steps": {
            "type": "object",
            "additionalProperties": {"type": "boolean"},
            "description": "Accepted and recomputed from `on_failure` and `compensate`.",
        },
    }
    schema["properties"] = accepted
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
