"""What tries again and what holds back: retries, rates, limits, priorities, single runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from dagnats.model.scalar import EXTENSION, SPELT, ZERO, Count, DotPath, Duration, Part, Positive, Within, by_key

Strategy = Literal["fixed", "linear", "exponential"]
Offset = Annotated[int, Field(ge=-600, le=600)]

_GROWING = {"properties": {"strategy": {"const": "exponential"}}, "required": ["strategy"]}
_RETRY_SCHEMA: dict[str, Any] = {
    "if": _GROWING,
    "then": {"properties": {"multiplier": {"exclusiveMinimum": 0}}},
}


class RetryPolicy(Part, frozen=True, json_schema_extra=_RETRY_SCHEMA):
    """When and how often a failed step is tried again.

    The delay before retry k (k = 1, 2, …) is `initial_delay` (fixed), `initial_delay · k` (linear) or
    `initial_delay · multiplier^(k-1)` (exponential), then jitter, then `max_delay`; never below 1 ms.
    """

    max_attempts: int = Field(ge=0, le=100_000, description="Retries after the first execution.")
    strategy: Strategy = Field(default="fixed", description="How the delay grows from retry to retry.")
    initial_delay: Duration = Field(default=ZERO, description="The delay before the first retry.")
    max_delay: Duration = Field(default=ZERO, description="No delay is longer than this; 0 means no cap.")
    multiplier: Annotated[
        float,
        Field(gt=0, le=1_000_000, allow_inf_nan=False),
        WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1_000_000}),
        SPELT,
    ] = Field(
        default=2.0,
        description="Exponential only, more than 0: how much longer each delay is than the one before.",
    )
    jitter: Annotated[float, EXTENSION] = Field(
        default=0.0, ge=0, le=1, allow_inf_nan=False, description="Share of the delay that is spread."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_idle_multiplier(cls, value: Any) -> Any:
        """Go writes `"multiplier": 0` into policies that do not use it."""
        if not isinstance(value, dict):
            return value
        policy = cast("dict[str, Any]", value)
        unused = policy.get("strategy") != "exponential" and policy.get("multiplier") == 0
        if unused and not isinstance(policy["multiplier"], bool):
            return {key: part for key, part in policy.items() if key != "multiplier"}
        return policy


class RateLimit(Part, frozen=True):
    """At most `limit` tasks of the step's type start per `period`, over all runs."""

    limit: Positive = Field(description="How many tasks.")
    period: Annotated[Duration, Within()] = Field(description="Per which time.")


class KeyedRateLimit(Part, frozen=True):
    """A rate limit for each value of a key."""

    key: DotPath = Field(description="Dot path into the step's input: each value it has is limited by itself.")
    limit: Positive = Field(description="How many units.")
    period: Annotated[Duration, Within()] = Field(description="Per which time.")
    units: Annotated[Positive, SPELT] = Field(default=1, description="How many units one task uses; at most `limit`.")


class Concurrency(Part, frozen=True):
    """How much of a workflow may go on at the same time; 0 means no limit."""

    max_runs: Count = Field(default=0, description="Runs of the workflow, or of each value of `key`.")
    max_steps: int = Field(default=0, ge=0, le=1000, description="Steps in flight in one run.")
    key: Annotated[DotPath | None, EXTENSION] = Field(
        default=None, description="Dot path into the run's input: `max_runs` then holds for each of its values."
    )


class Priority(Part, frozen=True):
    """The order of pending runs: an offset in seconds, chosen by a value in the run's input."""

    key: DotPath = Field(description="Dot path into the run's input.")
    rules: Annotated[dict[str, Offset], AfterValidator(by_key)] = Field(
        min_length=1, max_length=20, description="Offset in seconds by value, -600 to 600; a higher one starts earlier."
    )
    default_offset: Offset = Field(default=0, description="The offset of every other value.")


class Singleton(Part, frozen=True):
    """One active run at a time."""

    mode: Literal["skip", "cancel"] = Field(
        description="What a new run does to the active one: `skip` lets it go on and does not start, "
        "`cancel` cancels it and starts."
    )
    key: DotPath | None = Field(
        default=None, description="Dot path into the run's input: one active run for each of its values."
    )
