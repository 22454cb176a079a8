"""`@handler`: a function that serves a task type, with its types read once and its signature kept."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from dagnats.errors import DefinitionError, Problem
from dagnats.handling.codec import Codec, UnsupportedType, codec_for
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.model.identifier import TASK_TYPE, TASK_TYPE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_CONTEXTS = (TaskContext, SyncTaskContext)
_TASK_TYPE = re.compile(TASK_TYPE)


class Handler(Generic[P, R_co]):
    """A function and the task type it serves. Calling it calls the function, so a unit test needs no server.

    Attributes:
        task: The task type.
        function: The function itself.
        is_async: Whether it runs on the event loop; a sync one runs in a thread.
        takes_input: Whether it has an input parameter.
        takes_context: Whether it has a context parameter.
        input_type: The input's annotation; Any when there is none.
        output_type: The return annotation; Any when there is none.
        source: `file:line` of the function.
    """

    __name__: str

    def __init__(self, task: str, function: Callable[P, R_co], namespace: dict[str, Any] | None = None) -> None:
        self.task = task
        self.function = function
        self.source = source_of(function)
        functools.update_wrapper(self, function)
        signature = _Signature(function, namespace or {}, self.source)
        problems = signature.problems
        # `<lambda>` spoils a task type that is derived from it: one mistake is one problem.
        if all(problem.rule != "handler-kind" for problem in problems):
            problems = [*_task_type_problems(task, self.source), *problems]
        if problems:
            raise DefinitionError(problems, title=_title(task))
        self.is_async = signature.is_async
        self.takes_input = signature.takes_input
        self.takes_context = signature.takes_context
        self.input_type: Any = signature.input_type
        self.output_type: Any = signature.output_type

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<handler {self.task!r} at {self.source}>"

    @functools.cached_property
    def input_codec(self) -> Codec:
        """Reads the input. Raises DefinitionError when the annotation cannot be carried as JSON."""
        return self._codec(self.input_type, "input")

    @functools.cached_property
    def output_codec(self) -> Codec:
        """Writes the result. Raises DefinitionError when the annotation cannot be carried as JSON."""
        return self._codec(self.output_type, "result")

    def _codec(self, declared: Any, role: str) -> Codec:
        try:
            return codec_for(declared)
        except UnsupportedType as error:
            message = f"handler {self.__name__!r}: its {role} type {error}"
            problem = Problem("", "unsupported-type", message, source=self.source)
            raise DefinitionError([problem], title=_title(self.task)) from None

    def arguments(self, value: Any, context: TaskContext | SyncTaskContext) -> tuple[Any, ...]:
        """The positional arguments of a call with this input and context."""
        given = (value,) if self.takes_input else ()
        return (*given, context) if self.takes_context else given


def handler(task: str) -> Callable[[Callable[P, R]], Handler[P, R]]:
    """Make a function serve task type `task`.

    The function takes `()`, `(input)`, `(ctx)` or `(input, ctx)`; `ctx` is annotated `TaskContext` (async) or
    `SyncTaskContext` (sync). Further parameters need defaults. Nothing is registered: a worker serves the
    handlers it is given.

    Raises:
        DefinitionError: The task type is not valid, the function has another shape, or an annotation does not
            resolve.
        TypeError: `task` is no string.
    """
    if not isinstance(task, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"a task type is expected, not {task!r}; write @handler('…')")
    namespace = caller_locals()

    def decorate(function: Callable[P, R]) -> Handler[P, R]:
        return Handler(task, function, namespace)

    return decorate


def caller_locals() -> dict[str, Any]:
    """The local names where the decorator is written, so that types defined in a function resolve."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]  # the documented way to a caller's names
    return dict(frame.f_locals)


def source_of(function: Callable[..., Any]) -> str:
    """`file:line` of a function, or "" when it has no Python source."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _title(task: str) -> str:
    return f"handler {task!r} cannot be used"


def _task_type_problems(task: str, source: str) -> Iterator[Problem]:
    """What the build would say of a step with this task type; a worker builds nothing."""
    if len(task) > TASK_TYPE_LENGTH or not _TASK_TYPE.fullmatch(task):
        message = (
            f"task type {task!r} is not valid: letters, digits, '_' and '-', in parts joined by single dots,"
            f" at most {TASK_TYPE_LENGTH} characters"
        )
        yield Problem("", "identifier", message, source=source)


class _Signature:
    """What a function's signature says; `problems` is all that is wrong with it."""

    def __init__(self, function: Callable[..., Any], namespace: dict[str, Any], source: str) -> None:
        self.is_async = inspect.iscoroutinefunction(function)
        self.takes_input = self.takes_context = False
        self.input_type: Any = Any
        self.output_type: Any = Any
        self._name = getattr(function, "__qualname__", repr(function))
        self._source = source
        self.problems: list[Problem] = []
        if not inspect.isfunction(function) or function.__name__ == "<lambda>":
            self._say("handler-kind", "is not a plain function; lambdas, methods and partials have no stable name")
        elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            self._say("handler-kind", "is a generator; a handler returns its one result")
        else:
            hints = self._hints(function, namespace)
            self._parameters(function, hints)
            self.output_type = hints.get("return", Any)

    def _say(self, rule: str, message: str) -> None:
        self.problems.append(Problem("", rule, f"handler {self._name!r} {message}", source=self._source))

    def _hints(self, function: Callable[..., Any], namespace: dict[str, Any]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(function, localns=namespace, include_extras=True)
        except (NameError, TypeError, AttributeError, SyntaxError) as error:
            self._say("unresolved-annotation", f"has an annotation that does not resolve: {error}")
            return {}

    def _parameters(self, function: Callable[..., Any], hints: dict[str, Any]) -> None:
        needed: list[str] = []
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self._say(
                    "handler-signature",
                    f"takes `{parameter.replace(annotation=parameter.empty)}`; write its parameters out",
                )
            elif parameter.default is parameter.empty:
                if parameter.kind is parameter.KEYWORD_ONLY:
                    self._say("handler-signature", f"needs the keyword argument {name!r}; give it a default")
                else:
                    needed.append(name)
        contexts = [name for name in needed if hints.get(name) in _CONTEXTS]
        inputs = [name for name in needed if name not in contexts]
        self.takes_context = bool(contexts)
        self.takes_input = bool(inputs)
        if len(contexts) > 1 or len(inputs) > 1 or (contexts and needed[-1] != contexts[0]):
            shown = ", ".join(needed)
            self._say(
                "handler-signature",
                f"takes ({shown}); a handler takes (), (input), (ctx) or (input, ctx), the context annotated"
                " TaskContext and last",
            )
        if contexts:
            wanted = TaskContext if self.is_async else SyncTaskContext
            if hints[contexts[0]] is not wanted:
                kind = "async" if self.is_async else "sync"
                self._say("handler-signature", f"is {kind}: annotate its context {wanted.__name__}")
        if inputs:
            self.input_type = hints.get(inputs[0], Any)
