"""Steps whose handler returns more steps: `wf.planner` and `@wf.planner`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, ParamSpec, Self, TypeVar, Unpack, cast, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.function import CallableStep, StepSettings
from dagnats.dsl.served import AsyncOther, AsyncStart, AsyncTyped, SyncOther, SyncStart, SyncTyped
from dagnats.dsl.shape import Shape
from dagnats.dsl.step import I_contra, O_co, Step
from dagnats.handling.handler import Handler

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741  # the input; nobody knows what the planned steps give
O = TypeVar("O")  # noqa: E741


class PlannerStep(Step[I_contra, O_co], Generic[I_contra, O_co]):
    """A step that is done when the steps it planned are; its output is theirs. `max_steps` is needed."""

    type: ClassVar[str] = "planner"

    def with_max_steps(self, count: int) -> Self:
        """How many steps it may plan, 1 to 100."""
        return self._set("config.max_steps", count)

    def with_max_depth(self, depth: int) -> Self:
        """How long a chain of planned steps may be."""
        return self._set("config.max_depth", depth)

    def with_allowed_tasks(self, *tasks: str | Handler[..., Any]) -> Self:
        """Which task types planned steps may ask for: any, unless said."""
        return self._set("config.allowed_tasks", [_task_type(task) for task in tasks])

    def gives(self) -> Shape | None:
        return None


class FunctionPlanner(PlannerStep[Any, Any], CallableStep[P, R]):
    """What `@wf.planner` makes of a function."""


class PlannerSettings(StepSettings, total=False):
    """What `@wf.planner` takes."""

    max_steps: int
    max_depth: int
    allowed_tasks: Iterable[str | Handler[..., Any]]


class PlannerBuilder(Builder):
    """Adds steps of type `planner`."""

    @overload
    def planner(self, step_id: str, handler: AsyncStart[Any], /) -> PlannerStep[Any, Any]: ...
    @overload
    def planner(self, step_id: str, handler: AsyncTyped[I, Any], /) -> PlannerStep[I, Any]: ...
    @overload
    def planner(self, step_id: str, handler: AsyncOther[Any], /) -> PlannerStep[Any, Any]: ...
    @overload
    def planner(self, step_id: str, handler: SyncStart[Any], /) -> PlannerStep[Any, Any]: ...
    @overload
    def planner(self, step_id: str, handler: SyncTyped[I, Any], /) -> PlannerStep[I, Any]: ...
    @overload
    def planner(self, step_id: str, handler: SyncOther[Any] | str, /) -> PlannerStep[Any, Any]: ...
    @overload
    def planner(self, function: Callable[P, R], /) -> FunctionPlanner[P, R]: ...
    @overload
    def planner(self, /, **settings: Unpack[PlannerSettings]) -> Callable[[Callable[P, R]], FunctionPlanner[P, R]]: ...

    def planner(self, first: Any = None, handler: Any = None, /, **settings: Any) -> Any:
        """Add a planner: an id and a handler, or as a decorator, bare or called with settings.

        The handler returns `{"steps": […]}`: steps as a definition writes them.
        """
        if isinstance(first, str):
            return self._add(PlannerStep[Any, Any](self, first, handler), **settings)
        return self._decorate(FunctionPlanner, first, settings)


def _task_type(task: object) -> str:
    if isinstance(task, Handler):
        return cast("Handler[..., Any]", task).task
    if isinstance(task, str):
        return task
    raise TypeError(f"a task type or a handler is expected, not {task!r}")
