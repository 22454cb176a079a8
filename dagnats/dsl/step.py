"""A step being said: chainable settings, checked when the workflow is built."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Self, TypeVar, overload

from dagnats.dsl.duration import duration_text
from dagnats.dsl.retry import Exponential, Fixed, Linear, RetryValue, retry_document
from dagnats.dsl.source import caller_source

if TYPE_CHECKING:
    from dagnats.dsl.workflow import Workflow
    from dagnats.handling.handler import Handler

P = ParamSpec("P")
R = TypeVar("R")
I_contra = TypeVar("I_contra", contravariant=True)
O_co = TypeVar("O_co", covariant=True)

_STRATEGIES = {"fixed": Fixed, "linear": Linear, "exponential": Exponential}


class Step(Generic[I_contra, O_co]):
    """One step of a workflow. Every setter returns the step, so that settings chain."""

    def __init__(self, workflow: Workflow, step_id: str, task: str, handler: Handler[..., Any] | None) -> None:
        self.id = step_id
        self.task = task
        self._workflow = workflow
        self._handler = handler
        self._after: list[StepRef] = []
        self._settings: dict[str, Any] = {}
        self._references: dict[str, StepRef] = {}
        self._created = caller_source()
        self._sources: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<step {self.id!r} of workflow {self._workflow.name!r}>"

    def after(self, *steps: StepRef) -> Self:
        """Start only when all of these are done. A step object, or the id of a step declared anywhere."""
        for step in steps:
            _expect_step(step)
        self._after += steps
        return self._said("depends_on")

    def with_timeout(self, timeout: timedelta | str) -> Self:
        """Limit each attempt, counted from the moment a worker starts it."""
        self._settings["timeout"] = duration_text(timeout)
        return self._said("timeout")

    def with_queue_timeout(self, timeout: timedelta | str) -> Self:
        """Limit how long each attempt waits in the queue before a worker starts it."""
        self._settings["queue_timeout"] = duration_text(timeout)
        return self._said("queue_timeout")

    def with_heartbeat_timeout(self, timeout: timedelta | str) -> Self:
        """Limit how long a running attempt may be silent."""
        self._settings["heartbeat_timeout"] = duration_text(timeout)
        return self._said("heartbeat_timeout")

    @overload
    def with_retry(self, policy: RetryValue, /) -> Self: ...

    @overload
    def with_retry(
        self,
        /,
        *,
        max_attempts: int,
        strategy: Literal["fixed", "linear", "exponential"] = "exponential",
        initial_delay: timedelta | str = "1s",
        max_delay: timedelta | str | None = None,
        multiplier: float = 2.0,
        jitter: float = 0.0,
    ) -> Self: ...

    def with_retry(self, policy: RetryValue | None = None, /, **settings: Any) -> Self:
        """Try a failed attempt again: a policy value, or its fields. `max_attempts` counts retries."""
        if policy is None:
            policy = _policy(settings)
        elif settings:
            raise TypeError("with_retry takes a policy or its fields, not both")
        self._settings["retry"] = retry_document(policy)
        return self._said("retry")

    def with_on_failure(self, step: StepRef) -> Self:
        """Run this step when ours failed for good; when it completes, the run goes on without ours."""
        return self._refer("on_failure", step)

    def with_compensation(self, step: StepRef) -> Self:
        """Run this step to undo ours, when the run fails after ours has completed."""
        return self._refer("compensate", step)

    def _refer(self, key: str, step: StepRef) -> Self:
        _expect_step(step)
        self._references[key] = step
        return self._said(key)

    def _said(self, key: str) -> Self:
        self._sources[key] = caller_source()
        return self


class FunctionStep(Step[Any, Any], Generic[P, R]):
    """A step made from a function by `@wf.step`: a step, and still the function."""

    def __init__(self, workflow: Workflow, step_id: str, task: str, handler: Handler[P, R]) -> None:
        super().__init__(workflow, step_id, task, handler)
        self._function: Callable[P, R] = handler.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)


StepRef = Step[Any, Any] | str
"""How steps refer to each other: the object, or its id."""


def _expect_step(step: object) -> None:
    if not isinstance(step, Step | str):
        raise TypeError(f"a step or the id of a step is expected, not {step!r}")


def _policy(settings: dict[str, Any]) -> RetryValue:
    strategy = settings.pop("strategy", "exponential")
    if strategy not in _STRATEGIES:
        raise TypeError(f"strategy is one of {', '.join(map(repr, _STRATEGIES))}, not {strategy!r}")
    if strategy != "exponential" and settings.pop("multiplier", 2.0) != 2.0:
        raise TypeError(f"only the exponential strategy has a multiplier, not {strategy!r}")
    return _STRATEGIES[strategy](**settings)
