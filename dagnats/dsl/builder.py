"""What all parts of `Workflow` share: a name, and the steps said so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dagnats.dsl.function import CallableStep, apply_settings
from dagnats.dsl.said import Said
from dagnats.dsl.step import Step
from dagnats.handling.handler import Handler
from dagnats.handling.source import caller_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

S = TypeVar("S", bound=Step[Any, Any])


class Builder(Said):
    """Collects steps. The methods that make them are told by kind, one file each."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._steps: list[Step[Any, Any]] = []

    def _add(self, step: S, **settings: Any) -> S:
        if settings:
            names = ", ".join(settings)
            raise TypeError(f"{names}: only decorators take settings; chain setters, such as .with_timeout(…)")
        self._steps.append(step)
        return step

    def _decorate(self, kind: type[CallableStep[..., Any]], function: Any, settings: dict[str, Any]) -> Any:
        """A decorator with settings, or, given a function, its result."""
        if function is not None and not callable(function):
            raise TypeError(f"a function is decorated, not {function!r}; give the settings of its step by keyword")
        names = caller_names()

        def decorate(decorated: Callable[..., Any]) -> Any:
            return self._add_function(kind, decorated, names, **settings)

        return decorate(function) if function is not None else decorate

    def _add_function(
        self,
        kind: type[CallableStep[..., Any]],
        function: Callable[..., Any],
        names: Mapping[str, Any],
        *,
        id: str | None = None,
        task: str | None = None,
        abort_on: tuple[type[Exception], ...] = (),
        process: bool = False,
        **settings: Any,
    ) -> Step[Any, Any]:
        name = getattr(function, "__name__", "")  # a partial has none; Handler refuses it
        handler = Handler(task or f"{self.name}.{name}", function, names, abort_on=abort_on, process=process)
        step = kind(self, id or name, handler)
        apply_settings(step, settings)
        return self._add(step)
