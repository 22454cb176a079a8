"""One step of a graph, with everything a decision about it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.policy import RetryPolicy
from dagnats.model.step import WORKER_RUN

if TYPE_CHECKING:
    from dagnats.model.condition import AllOf, AnyOf, Comparison
    from dagnats.model.scalar import Part, StepType
    from dagnats.model.step import StepDef

LEGACY_DELAY = parse_duration("5s")  # `retries: n` means n retries, 5 s apart


class Limits(NamedTuple):
    """What holds tasks of a step back, over all runs; zeros for what does not.

    Attributes:
        concurrency: How many tasks of the type may be in flight.
        rate: How many may start in `period_ns`.
        period_ns: See `rate`.
        key: Dot path into the step's input: the units below are counted for each of its values; "" for none.
        keyed_rate: How many units may start in `keyed_period_ns`.
        keyed_period_ns: See `keyed_rate`.
        units: How many of them one task uses.
    """

    concurrency: int = 0
    rate: int = 0
    period_ns: int = 0
    key: str = ""
    keyed_rate: int = 0
    keyed_period_ns: int = 0
    units: int = 0


UNLIMITED = Limits()


class Node:
    """A step.

    Attributes:
        id: The step's id in the definition, or the generated one's.
        type: How it is run.
        task: Its task type.
        group: The workers that get its tasks; "" for all of the type.
        config: What only steps of its type have.
        auxiliary: Whether it only runs for another step.
        worker_run: Whether workers run it. A map's items are; that the map itself is not, its state says.
        place: Its place in the definition, or in the plan.
        needs: The steps it depends on, in the definition's order.
        dependents: The steps that depend on it, in the definition's order.
        rank: Its place in one topological order; a step's dependencies have lower ranks.
        timeout_ns: Per attempt, from its start; 0 for none.
        queue_timeout_ns: Per attempt, from its queueing to its start; 0 for none.
        heartbeat_timeout_ns: The longest silence of a running attempt; 0 for none.
        retry: Its own policy, or the workflow's, or the legacy one; None when a failure is final.
        on_failure: The step to run when it failed for good, or "".
        compensate: The step that undoes it, or "".
        skip_if: When it is skipped; None for never.
        limits: What holds its tasks back.
        priority: Among waiting tasks of its type; higher ones first.
        metadata: For its workers.
        capabilities: What its workers must be allowed to do.
    """

    __slots__ = (
        "auxiliary",
        "capabilities",
        "compensate",
        "config",
        "dependents",
        "group",
        "heartbeat_timeout_ns",
        "id",
        "limits",
        "metadata",
        "needs",
        "on_failure",
        "place",
        "priority",
        "queue_timeout_ns",
        "rank",
        "retry",
        "skip_if",
        "task",
        "timeout_ns",
        "type",
        "worker_run",
    )

    def __init__(
        self, step: StepDef, default_retry: RetryPolicy | None, *, place: int, auxiliary: bool = False
    ) -> None:
        self.id: str = step.id
        self.type: StepType = step.type
        self.task: str = step.task
        self.worker_run = step.type in WORKER_RUN
        self.place = place
        self.group: str = step.worker_group or ""
        self.config: Part | None = step.config
        self.auxiliary = auxiliary
        self.needs: tuple[str, ...] = step.depends_on
        self.dependents: list[str] = []
        self.rank = 0
        self.timeout_ns = duration_nanos(step.timeout)
        self.queue_timeout_ns = duration_nanos(step.queue_timeout)
        self.heartbeat_timeout_ns = duration_nanos(step.heartbeat_timeout)
        self.retry: RetryPolicy | None = step.retry or default_retry or _legacy(step.retries)
        self.on_failure: str = step.on_failure or ""
        self.compensate: str = step.compensate or ""
        self.skip_if: Comparison | AnyOf | AllOf | None = step.skip_if
        self.limits = _limits(step)
        self.priority: int = step.priority
        self.metadata: dict[str, str] = step.metadata
        self.capabilities: tuple[str, ...] = step.required_capabilities


def _legacy(retries: int) -> RetryPolicy | None:
    if not retries:
        return None
    return RetryPolicy(max_attempts=retries, initial_delay=LEGACY_DELAY, max_delay=LEGACY_DELAY)


def _limits(step: StepDef) -> Limits:
    rate, keyed = step.rate_limit, step.keyed_rate_limit
    if rate is None and keyed is None and not step.max_task_concurrency:
        return UNLIMITED
    return Limits(
        concurrency=step.max_task_concurrency,
        rate=rate.limit if rate is not None else 0,
        period_ns=duration_nanos(rate.period) if rate is not None else 0,
        key=keyed.key if keyed is not None else "",
        keyed_rate=keyed.limit if keyed is not None else 0,
        keyed_period_ns=duration_nanos(keyed.period) if keyed is not None else 0,
        units=keyed.units if keyed is not None else 0,
    )
