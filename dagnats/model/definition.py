"""The workflow definition: the JSON document that people's Python compiles to and the engine runs.

One class per JSON object, fields in the order of the canonical form. Reading is generous (both duration
spellings, a missing `type`) and rejects anything unknown; writing has exactly one form.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from dagnats.model.condition import CancelOn
from dagnats.model.json import compact, pretty
from dagnats.model.payload_schema import PayloadSchema
from dagnats.model.policy import Concurrency, Priority, RetryPolicy, Singleton
from dagnats.model.scalar import EXTENSION, SPELT, ZERO, DotPath, Duration, Part, TextMap, WorkflowName
from dagnats.model.step import AnyStep
from dagnats.model.trigger import Trigger

MAX_STEPS = 10_000
MAX_BYTES = 1024 * 1024
SCHEMA_FILE = "workflow.schema.json"
SCHEMA_REFERENCE = f"./{SCHEMA_FILE}"

Dialect = Literal["native", "go"]
Cause = Literal["failure", "cancel", "timeout"]


def _causes(given: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """Each once, in one order: a set has one spelling."""
    every: tuple[Cause, ...] = ("failure", "cancel", "timeout")
    return tuple(cause for cause in every if cause in given)


class WorkflowDef(Part, frozen=True):
    """A whole workflow. Immutable; `identity` names its content."""

    name: WorkflowName = Field(description="The name runs are started by.")
    version: Annotated[str, SPELT] = Field(
        default="1", max_length=128, description="A label for people; identity is the content."
    )
    steps: tuple[AnyStep, ...] = Field(min_length=1, max_length=MAX_STEPS, strict=False, description="At least one.")
    default_retry: RetryPolicy | None = Field(default=None, description="For steps without `retry`.")
    concurrency: Concurrency | None = Field(default=None, description="How much may go on at the same time.")
    timeout: Duration = Field(default=ZERO, description="The deadline of a whole run; 0 means none.")
    input_schema: PayloadSchema | None = Field(
        default=None, description="JSON Schema (draft 2020-12) of the run's input, checked before a run starts."
    )
    output_schema: PayloadSchema | None = Field(
        default=None, description="JSON Schema (draft 2020-12) of the run's output, checked when it completes."
    )
    idempotency_key: DotPath | None = Field(
        default=None, description="Dot path into the run's input: starts with the same value give one run."
    )
    priority: Priority | None = Field(default=None, description="The order of pending runs.")
    sticky: Literal["", "soft", "hard"] = Field(
        default="", description="Whether the tasks of a run prefer (`soft`) or need (`hard`) one worker."
    )
    singleton: Singleton | None = Field(default=None, description="One active run, or one for each value of a key.")
    cancel_on: tuple[CancelOn, ...] = Field(
        default=(), max_length=5, strict=False, description="Events that cancel the run."
    )
    failure_mode: Annotated[Literal["fail_fast", "drain"], EXTENSION] = Field(
        default="fail_fast", description="`drain` lets independent branches finish before the run fails."
    )
    compensate_on: Annotated[tuple[Cause, ...], AfterValidator(_causes), EXTENSION] = Field(
        default=("failure", "timeout"), strict=False, description="What makes completed steps be undone."
    )
    labels: Annotated[TextMap, EXTENSION] = Field(default={}, description="Copied to each run; lists filter by them.")
    triggers: tuple[Trigger, ...] = Field(
        default=(), max_length=500, strict=False, description="What starts runs, registered with the workflow."
    )

    @property
    def auxiliary(self) -> frozenset[str]:
        """Steps that only run for another one: named by some `on_failure` or `compensate`."""
        named = (target for step in self.steps for target in (step.on_failure, step.compensate))
        return frozenset(target for target in named if target is not None)

    def content(self) -> dict[str, Any]:
        """The canonical value the identity is taken of: without triggers, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"triggers"})

    def to_json(self, dialect: Dialect = "native") -> bytes:
        """The artefact, as `dagnats build` writes it.

        Args:
            dialect: `native` is the canonical form. `go` is what the Go engine reads: integers of nanoseconds,
                `aux_steps`, no `$schema`.

        Raises:
            DefinitionError: For `go`: the definition uses extensions; each one is named.
        """
        if dialect == "go":
            from dagnats.model.dialect import go_value

            return pretty(go_value(self))
        return pretty({"$schema": SCHEMA_REFERENCE, **self.model_dump(mode="json", exclude_defaults=True)})

    @cached_property
    def stored(self) -> bytes:
        """The content as a version of the workflow is stored: found out once, not for each child that is started."""
        return compact(self.content())

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the content, in hex. A run is pinned to it; a new `$schema` or layout does not change it."""
        return hashlib.sha256(self.stored).hexdigest()
