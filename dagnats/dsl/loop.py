"""Steps that run again until their handler returns a result: `wf.agent_loop` and `@wf.agent_loop`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.duration import duration_text
from dagnats.dsl.function import CallableStep, StepSettings
from dagnats.dsl.served import AsyncOther, AsyncStart, AsyncTyped, SyncOther, SyncStart, SyncTyped
from dagnats.dsl.shape import Shape
from dagnats.dsl.step import I_contra, O_co, Step
from dagnats.errors import DefinitionError
from dagnats.handling.codec import type_name
from dagnats.handling.loop import Continue

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741  # input and output, as in AgentLoopStep[I, O]
O = TypeVar("O")  # noqa: E741


class AgentLoopStep(Step[I_contra, O_co], Generic[I_contra, O_co]):
    """A step whose handler runs again each time it returns `Continue`. `max_iterations` is needed."""

    type: ClassVar[str] = "agent_loop"

    def with_max_iterations(self, count: int) -> Self:
        """Fail the step when the handler has run this many times without a result."""
        return self._set("config.max_iterations", count)

    def with_max_duration(self, duration: timedelta | str) -> Self:
        """Fail the step when all iterations together take longer."""
        return self._set("config.max_duration", duration_text(duration))

    def with_loop_delay(self, delay: timedelta | str) -> Self:
        """Wait this long between two iterations."""
        return self._set("config.loop_delay", duration_text(delay))

    def with_budget_warn_at(self, budget: int) -> Self:
        """Told to the handler: where to begin to save."""
        return self._set("config.budget_warn_at", budget)

    def with_budget_force_at(self, budget: int) -> Self:
        """Told to the handler: where to come to an end."""
        return self._set("config.budget_force_at", budget)

    def continues(self) -> Shape | None:
        handler = self.handler
        try:
            if handler is None or handler.continue_type in (None, type(None)):  # `Continue()` keeps the input
                return None
            return Shape(type_name(handler.continue_type), handler.continue_codec.schema("writing"))
        except DefinitionError:  # told where the handlers are checked
            return None


class FunctionLoop(AgentLoopStep[Any, Any], CallableStep[P, R]):
    """What `@wf.agent_loop` makes of a function."""


class LoopSettings(StepSettings, total=False):
    """What `@wf.agent_loop` takes."""

    max_iterations: int
    max_duration: timedelta | str
    loop_delay: timedelta | str
    budget_warn_at: int
    budget_force_at: int


class LoopBuilder(Builder):
    """Adds steps of type `agent_loop`."""

    @overload
    def agent_loop(self, step_id: str, handler: AsyncStart[O | Continue[Any]], /) -> AgentLoopStep[Any, O]: ...
    @overload
    def agent_loop(self, step_id: str, handler: AsyncTyped[I, O | Continue[Any]], /) -> AgentLoopStep[I, O]: ...
    @overload
    def agent_loop(self, step_id: str, handler: AsyncOther[O | Continue[Any]], /) -> AgentLoopStep[Any, O]: ...
    @overload
    def agent_loop(self, step_id: str, handler: SyncStart[O | Continue[Any]], /) -> AgentLoopStep[Any, O]: ...
    @overload
    def agent_loop(self, step_id: str, handler: SyncTyped[I, O | Continue[Any]], /) -> AgentLoopStep[I, O]: ...
    @overload
    def agent_loop(self, step_id: str, handler: SyncOther[O | Continue[Any]], /) -> AgentLoopStep[Any, O]: ...
    @overload
    def agent_loop(self, step_id: str, handler: str, /) -> AgentLoopStep[Any, Any]: ...
    @overload
    def agent_loop(self, function: Callable[P, R], /) -> FunctionLoop[P, R]: ...
    @overload
    def agent_loop(self, /, **settings: Unpack[LoopSettings]) -> Callable[[Callable[P, R]], FunctionLoop[P, R]]: ...

    def agent_loop(self, first: Any = None, handler: Any = None, /, **settings: Any) -> Any:
        """Add a loop: an id and a handler, or as a decorator, bare or called with settings.

        A handler that returns `Continue(value)` runs again and receives `value`; anything else is the step's
        result.
        """
        if isinstance(first, str):
            return self._add(AgentLoopStep[Any, Any](self, first, handler), **settings)
        return self._decorate(FunctionLoop, first, settings)
