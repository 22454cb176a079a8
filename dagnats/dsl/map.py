"""Steps that run one task for each item of a list: `wf.map` and `@wf.map`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.function import CallableStep, StepSettings
from dagnats.dsl.served import AsyncOther, AsyncStart, AsyncTyped, SyncOther, SyncStart, SyncTyped
from dagnats.dsl.shape import Shape
from dagnats.dsl.step import I_contra, O_co, Step, StepRef

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741  # one item and its result
O = TypeVar("O")  # noqa: E741


class MapStep(Step[I_contra, O_co], Generic[I_contra, O_co]):
    """A step whose handler gets each item of the list that its one dependency returned. Gives a list, in order."""

    type: ClassVar[str] = "map"

    def with_over(self, step: StepRef) -> Self:
        """The step whose list it is: the same as `after`."""
        return self.after(step)

    def with_max_items(self, count: int) -> Self:
        """Fail the step when the list is longer; 1000 unless said."""
        return self._set("config.max_items", count)

    def with_max_parallel(self, count: int) -> Self:
        """Have at most this many items in flight."""
        return self._set("config.max_parallel", count)

    def with_on_item_failure(self, policy: Literal["fail", "collect"]) -> Self:
        """`"fail"`: one failed item fails the step. `"collect"`: its error takes the item's place in the list."""
        return self._set("config.on_item_failure", policy)

    def takes(self) -> Shape | None:
        item = super().takes()
        return item and item.listed()

    def gives(self) -> Shape | None:
        result = super().gives()
        if self._settings.get("config", {}).get("on_item_failure") == "collect":
            result = Shape("…", {})
        return result and result.listed()


class FunctionMap(MapStep[Any, Any], CallableStep[P, R]):
    """What `@wf.map` makes of a function."""


class MapSettings(StepSettings, total=False):
    """What `@wf.map` takes."""

    over: StepRef
    max_items: int
    max_parallel: int
    on_item_failure: Literal["fail", "collect"]


class MapBuilder(Builder):
    """Adds steps of type `map`."""

    @overload
    def map(self, step_id: str, handler: AsyncStart[O], /, *, over: StepRef = ...) -> MapStep[Any, list[O]]: ...
    @overload
    def map(self, step_id: str, handler: AsyncTyped[I, O], /, *, over: StepRef = ...) -> MapStep[list[I], list[O]]: ...
    @overload
    def map(self, step_id: str, handler: AsyncOther[O], /, *, over: StepRef = ...) -> MapStep[Any, list[O]]: ...
    @overload
    def map(self, step_id: str, handler: SyncStart[O], /, *, over: StepRef = ...) -> MapStep[Any, list[O]]: ...
    @overload
    def map(self, step_id: str, handler: SyncTyped[I, O], /, *, over: StepRef = ...) -> MapStep[list[I], list[O]]: ...
    @overload
    def map(self, step_id: str, handler: SyncOther[O], /, *, over: StepRef = ...) -> MapStep[Any, list[O]]: ...
    @overload
    def map(self, step_id: str, handler: str, /, *, over: StepRef = ...) -> MapStep[Any, Any]: ...
    @overload
    def map(self, function: Callable[P, R], /) -> FunctionMap[P, R]: ...
    @overload
    def map(self, /, **settings: Unpack[MapSettings]) -> Callable[[Callable[P, R]], FunctionMap[P, R]]: ...

    def map(self, first: Any = None, handler: Any = None, /, **settings: Any) -> Any:
        """Add a map over the list of one step: an id and a handler, or as a decorator, bare or called.

        `over` names the step whose list it is; `after` says the same.
        """
        if isinstance(first, str):
            step = MapStep[Any, Any](self, first, handler)
            if "over" in settings:
                step.with_over(settings.pop("over"))
            return self._add(step, **settings)
        return self._decorate(FunctionMap, first, settings)
