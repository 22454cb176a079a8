"""A step being said: chainable settings, checked when the workflow is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, Unpack, cast, overload

from dagnats.dsl.duration import duration_text
from dagnats.dsl.expression import Condition, Output
from dagnats.dsl.retry import RetryFields, RetryValue, retry_document
from dagnats.dsl.said import Said, text_map
from dagnats.dsl.shape import Shape
from dagnats.errors import DefinitionError
from dagnats.handling.codec import type_name
from dagnats.handling.handler import Handler

if TYPE_CHECKING:
    from dagnats.dsl.builder import Builder

I_contra = TypeVar("I_contra", contravariant=True)
O_co = TypeVar("O_co", covariant=True)
S = TypeVar("S", bound="Step[Any, Any]")


class Step(Said, Generic[I_contra, O_co]):
    """One step of a workflow. Every setter returns the step, so that settings chain."""

    type: ClassVar[str] = "normal"

    def __init__(self, workflow: Builder, step_id: str, serves: Handler[..., Any] | str = "") -> None:
        super().__init__()
        self.id = step_id
        self.handler, self.task = _served(serves)
        self._workflow = workflow
        self._after: list[StepRef] = []
        self._references: dict[str, StepRef] = {}
        self._condition: Condition | None = None

    def __repr__(self) -> str:
        return f"<step {self.id!r} of workflow {self._workflow.name!r}>"

    @property
    def output(self) -> Output:
        """What the step will return, for conditions: `lint.output["issues"] == 0`."""
        return Output(self)

    # -- order ---------------------------------------------------------------------------------------------

    def after(self, *steps: StepRef) -> Self:
        """Start only when all of these are done. A step object, or the id of a step declared anywhere."""
        for step in steps:
            expect_step(step)
        self._after += steps
        return self._mark("depends_on")

    @overload
    def __rshift__(self, other: S) -> S: ...
    @overload
    def __rshift__(self, other: Iterable[Step[Any, Any]]) -> Group: ...

    def __rshift__(self, other: Any) -> Any:
        """`a >> b`: b runs after a, and is the result. `a >> [b, c]`: both do."""
        return Group([self]) >> other

    def __rrshift__(self, other: StepRef | Iterable[StepRef]) -> Self:
        """`[a, b] >> c`: c runs after both."""
        return self.after(*several(other))

    def skip_if(self, condition: Condition) -> Self:
        """Do not run when this is true of what earlier steps returned; steps after this one then receive null."""
        if not isinstance(condition, Condition):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"a condition such as `lint.output['issues'] == 0` is expected, not {condition!r}")
        self._condition = condition
        return self._mark("skip_if")

    # -- time ----------------------------------------------------------------------------------------------

    def with_timeout(self, timeout: timedelta | str) -> Self:
        """Limit each attempt, counted from the moment a worker starts it."""
        return self._set("timeout", duration_text(timeout))

    def with_queue_timeout(self, timeout: timedelta | str) -> Self:
        """Limit how long each attempt waits in the queue before a worker starts it."""
        return self._set("queue_timeout", duration_text(timeout))

    def with_heartbeat_timeout(self, timeout: timedelta | str) -> Self:
        """Limit how long a running attempt may be silent."""
        return self._set("heartbeat_timeout", duration_text(timeout))

    # -- failure -------------------------------------------------------------------------------------------

    @overload
    def with_retry(self, policy: RetryValue, /) -> Self: ...
    @overload
    def with_retry(self, /, *, max_attempts: int, **fields: Unpack[RetryFields]) -> Self: ...

    def with_retry(self, policy: RetryValue | None = None, /, **fields: Any) -> Self:
        """Try a failed attempt again: a policy value, or its fields. `max_attempts` counts retries."""
        return self._set("retry", retry_document(policy, fields))

    def with_retries(self, count: int) -> Self:
        """Try a failed attempt again this many times, 5 s apart: the old form of `with_retry`."""
        return self._set("retries", count)

    def with_on_failure(self, step: StepRef) -> Self:
        """Run this step when ours failed for good; when it completes, the run goes on without ours."""
        return self._refer("on_failure", step)

    def with_compensation(self, step: StepRef) -> Self:
        """Run this step to undo ours, when the run fails after ours has completed."""
        return self._refer("compensate", step)

    # -- workers -------------------------------------------------------------------------------------------

    def with_worker_group(self, group: str) -> Self:
        """Only workers of this group get the step's tasks."""
        return self._set("worker_group", group)

    def with_rate_limit(self, limit: int, period: timedelta | str) -> Self:
        """Start at most `limit` tasks of this type per `period`, over all runs."""
        return self._set("rate_limit", {"limit": limit, "period": duration_text(period)})

    def with_keyed_rate_limit(self, key: str, limit: int, period: timedelta | str, units: int = 1) -> Self:
        """The same for each value of `key`, a dot path into the step's input. A task uses `units`."""
        settings = {"key": key, "limit": limit, "period": duration_text(period), "units": units}
        return self._set("keyed_rate_limit", settings)

    def with_task_concurrency(self, limit: int) -> Self:
        """Have at most this many tasks of this type in flight, over all runs."""
        return self._set("max_task_concurrency", limit)

    def with_metadata(self, metadata: Mapping[str, str] | None = None, /, **more: str) -> Self:
        """Texts that reach the worker with each task."""
        return self._set("metadata", text_map({} if metadata is None else metadata, more))

    def with_priority(self, priority: int) -> Self:
        """The step's place among queued tasks of its type, -9 to 9; higher ones start first."""
        return self._set("priority", priority)

    def with_capabilities(self, *capabilities: str) -> Self:
        """What a worker must be allowed to do: `"control-plane"`."""
        return self._set("required_capabilities", list(capabilities))

    # -- for the build -------------------------------------------------------------------------------------

    def takes(self) -> Shape | None:
        """What the step's input must be; None when that is not known."""
        handler = self.handler
        try:
            if handler is None or not handler.takes_input or handler.unwrap_trigger:  # an envelope fits it as well
                return None
            return Shape(type_name(handler.input_type), handler.input_codec.schema("reading"))
        except DefinitionError:  # told where the handlers are checked
            return None

    def gives(self) -> Shape | None:
        """What the step's output is; None when that is not known."""
        handler = self.handler
        try:
            # One that takes the context and returns nothing may say by `ctx.complete(…)` what it gives.
            if handler is not None and handler.output_type in (None, type(None)) and handler.takes_context:
                return None
            return handler and Shape(type_name(handler.output_type), handler.output_codec.schema("writing"))
        except DefinitionError:
            return None

    def continues(self) -> Shape | None:
        """What a loop gives to its next iteration; None when that is not known, or this is no loop."""
        return None

    def _refer(self, key: str, step: StepRef) -> Self:
        expect_step(step)
        self._references[key] = step
        return self._mark(key)


StepRef = Step[Any, Any] | str
"""How steps refer to each other: the object, or its id."""


class Group(tuple[Step[Any, Any], ...]):
    """Several steps in a chain of `>>`."""

    __slots__ = ()

    @overload
    def __rshift__(self, other: S) -> S: ...
    @overload
    def __rshift__(self, other: Iterable[Step[Any, Any]]) -> Group: ...

    def __rshift__(self, other: Any) -> Any:
        """Every step of `other` runs after every one of these."""
        later = several(other)
        for step in later:
            if not isinstance(step, Step):
                raise TypeError(f"a step or a list of steps is expected after `>>`, not {step!r}")
            step.after(*self)
        return Group(cast("list[Step[Any, Any]]", later)) if later != [other] else other


def several(steps: StepRef | Iterable[StepRef]) -> list[StepRef]:
    """One reference, or all of a list."""
    return [steps] if isinstance(steps, Step | str) else list(steps)


def expect_step(step: object) -> None:
    """Refuse what can be no reference to a step."""
    if not isinstance(step, Step | str):
        raise TypeError(f"a step or the id of a step is expected, not {step!r}")


def _served(serves: object) -> tuple[Handler[..., Any] | None, str]:
    if isinstance(serves, Handler):
        handler = cast("Handler[..., Any]", serves)
        return handler, handler.task
    if isinstance(serves, str):
        return None, serves
    raise TypeError(f"a handler or a task type is expected, not {serves!r}; decorate the function with @handler('…')")
