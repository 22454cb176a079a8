"""What each type of step can be told beyond what all steps know: its `config`."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from dagnats.model.condition import Match
from dagnats.model.identifier import TASK_TYPE
from dagnats.model.payload_schema import PayloadSchema
from dagnats.model.scalar import (
    EXTENSION,
    SPELT,
    ZERO,
    Count,
    DotPath,
    Duration,
    EventType,
    HeaderName,
    Part,
    Positive,
    TaskType,
    TextMap,
    Within,
    by_key,
)

LONGEST_SLEEP = timedelta(days=365)
LONGEST_APPROVAL = timedelta(hours=168)


def _cron(text: str) -> str:
    if not _is_cron(text):
        raise PydanticCustomError(
            "cron",
            "is not a cron expression: write minute, hour, day of month, month and day of week, as in '0 9 * * 1-5'",
        )
    return text


@lru_cache(maxsize=256)
def _is_cron(text: str) -> bool:
    from croniter import croniter  # 0.1 s: only for definitions that have a schedule

    return len(text) <= 256 and len(text.split()) == 5 and croniter.is_valid(text)


def _zone(name: str) -> str:
    """`name` when the time zone database has it; Go writes `""` for UTC."""
    if name in ("", "UTC"):
        return "UTC"
    if not _is_zone(name):
        raise PydanticCustomError("timezone", "is no IANA time zone, such as 'Europe/Berlin'")
    return name


@lru_cache(maxsize=256)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no relative path, the name of a folder
        return False
    return True


Cron = Annotated[str, AfterValidator(_cron), WithJsonSchema({"type": "string", "maxLength": 256})]
Timezone = Annotated[str, AfterValidator(_zone)]


class AgentLoopConfig(Part, frozen=True):
    """An agent that runs again until it returns a result."""

    max_iterations: Positive = Field(description="How many times the handler may run before the step fails.")
    max_duration: Duration = Field(default=ZERO, description="How long all iterations may take; 0 means no limit.")
    loop_delay: Duration = Field(default=ZERO, description="The pause between two iterations.")
    budget_warn_at: Count = Field(default=0, description="Told to the handler: where to begin to save; 0 means never.")
    budget_force_at: Count = Field(
        default=0, description="Told to the handler: where to come to an end; 0 means never."
    )


class MapConfig(Part, frozen=True):
    """One task for each item of the array that the step's one dependency returned."""

    max_items: Annotated[int, SPELT] = Field(default=1000, ge=1, le=10_000, description="More items fail the step.")
    max_parallel: Annotated[int, EXTENSION] = Field(
        default=0, ge=0, le=10_000, description="Items in flight at a time; 0 means all."
    )
    on_item_failure: Annotated[Literal["fail", "collect"], EXTENSION] = Field(
        default="fail",
        description="`fail`: one failed item fails the step. `collect`: its error takes its place in the output.",
    )


class PlannerConfig(Part, frozen=True):
    """A handler that returns steps, which then run."""

    max_steps: int = Field(ge=1, le=100, description="How many steps it may return.")
    max_depth: int = Field(default=0, ge=0, le=10, description="How long a chain of them may be; 0 means no limit.")
    allowed_tasks: tuple[TaskType, ...] = Field(
        default=(), strict=False, description="The task types they may ask for; empty means any."
    )


class SubWorkflowConfig(Part, frozen=True):
    """A run of another workflow."""

    workflow: Annotated[str, StringConstraints(pattern=TASK_TYPE, max_length=256)] = Field(
        description="The workflow's name."
    )
    detach: bool = Field(default=False, description="Complete at once, and let the child go on by itself.")


_ONE_WAY: dict[str, Any] = {
    "oneOf": [
        {"required": ["duration"], "properties": {"duration": {"type": ["string", "integer"]}}},
        {"required": ["cron"], "properties": {"cron": {"type": "string"}}},
        {"required": ["until_input_path"], "properties": {"until_input_path": {"type": "string"}}},
    ],
    "if": {"required": ["timezone"]},
    "then": {"required": ["cron"], "properties": {"cron": {"type": "string"}}},
}


class SleepConfig(Part, frozen=True, json_schema_extra=_ONE_WAY):
    """A wait for a time. Exactly one of `duration`, `cron` and `until_input_path`."""

    duration: Annotated[Duration, Within(most=LONGEST_SLEEP)] | None = Field(
        default=None, description="How long; at most 365 days."
    )
    cron: Cron | None = Field(default=None, description="Until the next minute this matches.")
    timezone: Annotated[Timezone, EXTENSION] = Field(default="UTC", description="The IANA time zone of `cron`.")
    until_input_path: DotPath | None = Field(
        default=None,
        description="Until the time at this dot path of the run's input: RFC 3339, or milliseconds from now.",
    )


class WaitForEventConfig(Part, frozen=True):
    """A wait for an event that belongs to this run."""

    event: EventType = Field(description="The event's type.")
    match: Match = Field(description="Which events of this type count.")
    timeout: Annotated[Duration, Within()] = Field(
        description='How long; then the step completes with `{"timeout": true}`.'
    )
    lookback: Annotated[Duration, EXTENSION] = Field(
        default=ZERO, description="How old an event may be that came before the step started; 0: only new ones."
    )


class ApprovalConfig(Part, frozen=True):
    """A question to a person."""

    timeout: Annotated[Duration, Within(most=LONGEST_APPROVAL)] = Field(
        description="How long; at most 168 h. Then the step fails."
    )
    subject: EventType = Field(description="The NATS subject that is told about the question.")
    description: str = Field(default="", description="The question, for people.")
    metadata: TextMap = Field(default={}, description="Passed on with the question.")
    form: Annotated[PayloadSchema | None, EXTENSION] = Field(default=None, description="JSON Schema of the answer.")


def _status(value: Any) -> Any:
    return 200 if type(value) is int and value == 0 else value  # Go's zero value


class RespondConfig(Part, frozen=True):
    """The response to the HTTP request that started the run."""

    status: Annotated[
        int,
        BeforeValidator(_status),
        Field(ge=200, le=599),
        WithJsonSchema({"type": "integer", "anyOf": [{"minimum": 200, "maximum": 599}, {"const": 0}]}),
    ] = Field(default=200, description="The status code; 0 means 200.")
    headers: Annotated[dict[HeaderName, str], AfterValidator(by_key)] = Field(
        default={}, description="Response headers."
    )
    body_from: DotPath | None = Field(
        default=None, description="Dot path into the step's input; without it, the whole input is the body."
    )
    content_type: str = Field(default="application/json", description="The body's media type.")
