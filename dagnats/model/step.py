"""A step: one node of a workflow. One class per type; what all types share stands in `StepDef`, once."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Discriminator, Field, Tag

from dagnats.model.condition import Condition
from dagnats.model.config import (
    AgentLoopConfig,
    ApprovalConfig,
    MapConfig,
    PlannerConfig,
    RespondConfig,
    SleepConfig,
    SubWorkflowConfig,
    WaitForEventConfig,
)
from dagnats.model.policy import KeyedRateLimit, RateLimit, RetryPolicy
from dagnats.model.scalar import (
    EXTENSION,
    SPELT,
    ZERO,
    Duration,
    Group,
    NoTaskType,
    Part,
    StepId,
    StepType,
    TaskType,
    TextMap,
)

MAX_RETRIES = 100_000


class StepDef(Part, frozen=True):
    """One node of a workflow: what steps of all types have."""

    id: StepId = Field(description="Unique in the workflow.")
    task: NoTaskType = Field(default="", description="The task type workers serve; the engine runs some types itself.")
    depends_on: tuple[StepId, ...] = Field(
        default=(), strict=False, description="Steps that must be done before this one starts."
    )
    type: StepType = Field(default="normal", description="How the step is run.")
    config: Part | None = Field(default=None, description="What only steps of this type have.")
    timeout: Duration = Field(
        default=ZERO, description="Per attempt, from the moment a worker starts it; 0 means none."
    )
    queue_timeout: Annotated[Duration, EXTENSION] = Field(
        default=ZERO, description="The longest wait in the queue before a worker starts it; 0 means none."
    )
    heartbeat_timeout: Annotated[Duration, EXTENSION] = Field(
        default=ZERO, description="The longest silence of a running attempt; 0 means none."
    )
    retry: RetryPolicy | None = Field(default=None, description="Overrides `default_retry`.")
    retries: int = Field(default=0, ge=0, le=MAX_RETRIES, description="Legacy: this many retries, 5 s apart.")
    skip_if: Condition | None = Field(default=None, description="The step is skipped when this is true.")
    on_failure: StepId | None = Field(default=None, description="The step that runs when this one has failed for good.")
    compensate: StepId | None = Field(
        default=None, description="The step that undoes this one when the run fails later."
    )
    worker_group: Group | None = Field(default=None, description="Only workers of this group get its tasks.")
    rate_limit: RateLimit | None = Field(default=None, description="How often tasks of its type may start.")
    keyed_rate_limit: KeyedRateLimit | None = Field(
        default=None, description="How often tasks of its type may start, for each value of a key."
    )
    max_task_concurrency: int = Field(
        default=0, ge=0, le=1000, description="Tasks of its type in flight over all runs; 0 means no limit."
    )
    metadata: TextMap = Field(default={}, description="Reaches the worker with each task.")
    priority: Annotated[int, EXTENSION] = Field(
        default=0, ge=-9, le=9, description="Order among queued tasks of its type; higher ones first."
    )
    required_capabilities: tuple[Literal["control-plane"], ...] = Field(
        default=(), strict=False, description="What a worker must be allowed to do."
    )


class NormalStep(StepDef, frozen=True):
    """A task a worker runs once."""

    task: TaskType = Field(description="The task type workers serve.")
    type: Literal["normal"] = Field(default="normal", description="How the step is run.")
    config: None = Field(default=None, description="Steps of this type have none.")


class AgentStep(StepDef, frozen=True):
    """A task an agent runs once."""

    task: TaskType = Field(description="The task type workers serve.")
    type: Literal["agent"] = Field(description="How the step is run.")
    config: None = Field(default=None, description="Steps of this type have none.")


class AgentLoopStep(StepDef, frozen=True):
    """A task that runs again until its handler returns a result."""

    task: TaskType = Field(description="The task type workers serve.")
    type: Literal["agent_loop"] = Field(description="How the step is run.")
    config: AgentLoopConfig = Field(description="When the loop ends.")


class MapStep(StepDef, frozen=True):
    """One task for each item of the array its dependency returned."""

    task: TaskType = Field(description="The task type workers serve.")
    type: Literal["map"] = Field(description="How the step is run.")
    config: Annotated[MapConfig, SPELT] = Field(default=MapConfig(), description="How many items, and how.")


class PlannerStep(StepDef, frozen=True):
    """A task that returns steps, which then run."""

    task: TaskType = Field(description="The task type workers serve.")
    type: Literal["planner"] = Field(description="How the step is run.")
    config: PlannerConfig = Field(description="What it may plan.")


class SubWorkflowStep(StepDef, frozen=True):
    """A run of another workflow."""

    type: Literal["sub_workflow"] = Field(description="How the step is run.")
    config: SubWorkflowConfig = Field(description="Which workflow.")


class SleepStep(StepDef, frozen=True):
    """A wait for a time."""

    type: Literal["sleep"] = Field(description="How the step is run.")
    config: SleepConfig = Field(description="Until when.")


class WaitForEventStep(StepDef, frozen=True):
    """A wait for an event."""

    type: Literal["wait_for_event"] = Field(description="How the step is run.")
    config: WaitForEventConfig = Field(description="For which event.")


class ApprovalStep(StepDef, frozen=True):
    """A question to a person."""

    type: Literal["approval"] = Field(description="How the step is run.")
    config: ApprovalConfig = Field(description="What is asked, and how long.")


class RespondStep(StepDef, frozen=True):
    """The response to the HTTP request that started the run."""

    type: Literal["respond"] = Field(description="How the step is run.")
    config: Annotated[RespondConfig, SPELT] = Field(default=RespondConfig(), description="What the response is.")


STEP_CLASSES: dict[str, type[StepDef]] = {
    "normal": NormalStep,
    "agent": AgentStep,
    "agent_loop": AgentLoopStep,
    "map": MapStep,
    "planner": PlannerStep,
    "sub_workflow": SubWorkflowStep,
    "sleep": SleepStep,
    "wait_for_event": WaitForEventStep,
    "approval": ApprovalStep,
    "respond": RespondStep,
}
WORKER_RUN = frozenset({"normal", "agent", "agent_loop", "map", "planner"})
"""Types whose `task` a worker runs; the engine runs the others itself."""


def step_type(step: Any) -> str | None:
    """The type that an object or a built step has; None when there is no such type."""
    kind = (
        cast("dict[str, Any]", step).get("type", "normal")
        if isinstance(step, dict)
        else getattr(step, "type", "normal")
    )
    return kind if isinstance(kind, str) and kind in STEP_CLASSES else None


def _tag(step: Any) -> str | None:
    kind = step_type(step)
    return kind and f"<{kind}>"


AnyStep = Annotated[
    Annotated[NormalStep, Tag("<normal>")]
    | Annotated[AgentStep, Tag("<agent>")]
    | Annotated[AgentLoopStep, Tag("<agent_loop>")]
    | Annotated[MapStep, Tag("<map>")]
    | Annotated[PlannerStep, Tag("<planner>")]
    | Annotated[SubWorkflowStep, Tag("<sub_workflow>")]
    | Annotated[SleepStep, Tag("<sleep>")]
    | Annotated[WaitForEventStep, Tag("<wait_for_event>")]
    | Annotated[ApprovalStep, Tag("<approval>")]
    | Annotated[RespondStep, Tag("<respond>")],
    Discriminator(_tag),
]
