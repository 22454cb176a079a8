"""Steps that a worker runs once: `wf.task` and `@wf.step`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.function import CallableStep, StepSettings
from dagnats.dsl.served import AsyncOther, AsyncStart, AsyncTyped, SyncOther, SyncStart, SyncTyped
from dagnats.dsl.step import Step

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741  # input and output, as in Step[I, O]
O = TypeVar("O")  # noqa: E741


class FunctionStep(CallableStep[P, R]):
    """What `@wf.step` makes of a function."""


class TaskBuilder(Builder):
    """Adds steps of type `normal`."""

    @overload
    def task(self, step_id: str, handler: AsyncStart[O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: AsyncTyped[I, O]) -> Step[I, O]: ...
    @overload
    def task(self, step_id: str, handler: AsyncOther[O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: SyncStart[O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: SyncTyped[I, O]) -> Step[I, O]: ...
    @overload
    def task(self, step_id: str, handler: SyncOther[O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: str) -> Step[Any, Any]: ...

    def task(self, step_id: str, handler: Any) -> Step[Any, Any]:
        """Add a step run by a worker: a handler, or just a task type served elsewhere, in any language."""
        return self._add(Step[Any, Any](self, step_id, handler))

    @overload
    def step(self, function: Callable[P, R], /) -> FunctionStep[P, R]: ...
    @overload
    def step(self, /, **settings: Unpack[StepSettings]) -> Callable[[Callable[P, R]], FunctionStep[P, R]]: ...

    def step(self, function: Any = None, /, **settings: Any) -> Any:
        """Make a function a step of this workflow, bare or called with settings.

        The step's id is the function's name and its task type `<workflow>.<function>`, unless `id` and `task`
        say otherwise. The result is a step and still callable.
        """
        return self._decorate(FunctionStep, function, settings)
