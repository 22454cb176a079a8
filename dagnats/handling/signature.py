"""What a function's signature says: whether it can be a handler, and which types it takes and gives."""

from __future__ import annotations

import inspect
import types
import typing
from typing import TYPE_CHECKING, Any

from dagnats.errors import Problem
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.role import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ASYNC_CONTEXTS = (TaskContext, *ROLES)
_CONTEXTS = (*_ASYNC_CONTEXTS, SyncTaskContext)


class Signature:
    """A function's parameters and annotations.

    An annotation may name what is defined further down, so resolving can be tried again.

    Attributes:
        is_async: Whether it is a coroutine function.
        takes_input: Whether it has an input parameter.
        takes_context: Whether it has a context parameter.
        input_type: The input's annotation; Any when there is none.
        output_type: The return annotation; Any when there is none.
        problems: What is wrong with its shape. Complete once nothing is unresolved.
        unresolved: One problem for each annotation that names nothing known.
        is_resolved: Whether all annotations are; until then the types are not known.
    """

    def __init__(self, function: Callable[..., Any], names: Mapping[str, Any], source: str) -> None:
        self.is_async = inspect.iscoroutinefunction(function)
        self.takes_input = self.takes_context = False
        self.input_type: Any = Any
        self.output_type: Any = Any
        self.problems: list[Problem] = []
        self.unresolved: list[Problem] = []
        self.is_resolved = False
        self._name = getattr(function, "__qualname__", repr(function))
        self._source = source
        self._needed: list[str] = []
        self._hints: dict[str, Any] = {}
        self._names = dict(names)
        if self._can_be_read(function):
            self._function = inspect.unwrap(function)
            self._waiting: dict[str, Any] = dict(getattr(function, "__annotations__", {}))
            self._read_parameters(function)
            self.resolve()

    def resolve(self, names: Mapping[str, Any] | None = None) -> None:
        """Look at the annotations that are not resolved yet; `names` count after all others."""
        if self.is_resolved:
            return
        self.unresolved = []
        for name, annotation in list(self._waiting.items()):
            try:
                self._hints[name] = self._evaluated(annotation, names or {})
                del self._waiting[name]
            except (NameError, TypeError, AttributeError, SyntaxError) as error:
                message = f"has an annotation of {_role(name)} that does not resolve: {error}"
                hint = "is it imported under `if TYPE_CHECKING` only?" if isinstance(error, NameError) else ""
                self.unresolved.append(self._problem("unresolved-annotation", message, hint))
        if not self._waiting:
            self.is_resolved = True
            self._names = {}  # they would keep alive whatever the caller had
            self._read_types()

    def _can_be_read(self, function: Callable[..., Any]) -> bool:
        if not inspect.isfunction(function) or function.__name__ == "<lambda>":
            self._say("handler-kind", "is not a plain function; lambdas, methods and partials have no stable name")
            return False
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            self._say("handler-kind", "is a generator; a handler returns its one result")
            return False
        return True

    def _evaluated(self, annotation: Any, names: Mapping[str, Any]) -> Any:
        """One annotation's type. A failing one must not hide the others, so each is evaluated alone."""
        holder = types.SimpleNamespace(
            __annotations__={"it": annotation}, __type_params__=getattr(self._function, "__type_params__", ())
        )
        known = {**names, **self._function.__globals__}
        return typing.get_type_hints(holder, known, self._names, include_extras=True)["it"]

    def _read_parameters(self, function: Callable[..., Any]) -> None:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                shown = parameter.replace(annotation=parameter.empty)
                self._say("handler-signature", f"takes `{shown}`; write its parameters out")
            elif parameter.default is not parameter.empty:
                continue
            elif parameter.kind is parameter.KEYWORD_ONLY:
                self._say("handler-signature", f"needs the keyword argument {name!r}; give it a default")
            else:
                self._needed.append(name)

    def _read_types(self) -> None:
        contexts = [name for name in self._needed if _class_of(self._hints.get(name)) in _CONTEXTS]
        inputs = [name for name in self._needed if name not in contexts]
        self.takes_context, self.takes_input = bool(contexts), bool(inputs)
        self.problems += self._shape_problems(contexts, inputs)
        if inputs:
            self.input_type = self._hints.get(inputs[0], Any)
        self.output_type = self._hints.get("return", Any)

    def _shape_problems(self, contexts: list[str], inputs: list[str]) -> Iterator[Problem]:
        if len(contexts) > 1 or len(inputs) > 1 or (contexts and self._needed[-1] != contexts[0]):
            message = (
                f"takes ({', '.join(self._needed)}); a handler takes (), (input), (ctx) or (input, ctx),"
                " the context annotated TaskContext and last"
            )
            yield self._problem("handler-signature", message)
        wanted = TaskContext if self.is_async else SyncTaskContext
        fitting = _ASYNC_CONTEXTS if self.is_async else (SyncTaskContext,)
        if contexts and _class_of(self._hints[contexts[0]]) not in fitting:
            kind = "async" if self.is_async else "sync"
            yield self._problem("handler-signature", f"is {kind}: annotate its context {wanted.__name__}")

    def _say(self, rule: str, message: str) -> None:
        self.problems.append(self._problem(rule, message))

    def _problem(self, rule: str, message: str, hint: str = "") -> Problem:
        return Problem("", rule, f"handler {self._name!r} {message}", hint, self._source)


def _class_of(annotation: Any) -> Any:
    """`TaskContext` of `TaskContext[Resources]`."""
    return typing.get_origin(annotation) or annotation


def _role(name: str) -> str:
    return "its result" if name == "return" else f"parameter {name!r}"
