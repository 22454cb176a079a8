"""Steps that an agent runs once: `wf.agent` and `@wf.agent`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, Unpack, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.function import CallableStep, StepSettings
from dagnats.dsl.served import AsyncOther, AsyncStart, AsyncTyped, SyncOther, SyncStart, SyncTyped
from dagnats.dsl.step import I_contra, O_co, Step

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741  # input and output, as in AgentStep[I, O]
O = TypeVar("O")  # noqa: E741


class AgentStep(Step[I_contra, O_co], Generic[I_contra, O_co]):
    """A step run like any task, and shown as an agent's."""

    type: ClassVar[str] = "agent"


class FunctionAgent(AgentStep[Any, Any], CallableStep[P, R]):
    """What `@wf.agent` makes of a function."""


class AgentBuilder(Builder):
    """Adds steps of type `agent`."""

    @overload
    def agent(self, step_id: str, handler: AsyncStart[O], /) -> AgentStep[Any, O]: ...
    @overload
    def agent(self, step_id: str, handler: AsyncTyped[I, O], /) -> AgentStep[I, O]: ...
    @overload
    def agent(self, step_id: str, handler: AsyncOther[O], /) -> AgentStep[Any, O]: ...
    @overload
    def agent(self, step_id: str, handler: SyncStart[O], /) -> AgentStep[Any, O]: ...
    @overload
    def agent(self, step_id: str, handler: SyncTyped[I, O], /) -> AgentStep[I, O]: ...
    @overload
    def agent(self, step_id: str, handler: SyncOther[O], /) -> AgentStep[Any, O]: ...
    @overload
    def agent(self, step_id: str, handler: str, /) -> AgentStep[Any, Any]: ...
    @overload
    def agent(self, function: Callable[P, R], /) -> FunctionAgent[P, R]: ...
    @overload
    def agent(self, /, **settings: Unpack[StepSettings]) -> Callable[[Callable[P, R]], FunctionAgent[P, R]]: ...

    def agent(self, first: Any = None, handler: Any = None, /, **settings: Any) -> Any:
        """Add an agent's step: an id and a handler, or as a decorator, bare or called with settings."""
        if isinstance(first, str):
            return self._add(AgentStep[Any, Any](self, first, handler), **settings)
        return self._decorate(FunctionAgent, first, settings)
