"""`@handler`: a function that serves a task type, with its types read once and its signature kept."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from dagnats.errors import DefinitionError, Problem
from dagnats.handling.codec import Codec, UnsupportedType, codec_for
from dagnats.handling.loop import without_continue
from dagnats.handling.signature import Signature
from dagnats.handling.source import caller_names, source_of
from dagnats.model.envelope import data_within
from dagnats.model.identifier import TASK_TYPE, TASK_TYPE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagnats.handling.context import SyncTaskContext, TaskContext

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_TASK_TYPE = re.compile(TASK_TYPE)


class Handler(Generic[P, R_co]):
    """A function and the task type it serves. Calling it calls the function, so a unit test needs no server.

    Its types may be defined further down in the module. What depends on them raises DefinitionError as long as
    an annotation names nothing known.

    Attributes:
        task: The task type.
        function: The function itself.
        is_async: Whether it runs on the event loop; a sync one runs in a thread, or in a process.
        abort_on: Exception types that make the step fail for good, as `Abort` does.
        process: Whether it runs in a process of its own.
        unwrap_trigger: Whether its input is what a trigger's envelope holds, when it is given one.
        source: `file:line` of the function.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        task: str,
        function: Callable[P, R_co],
        names: Mapping[str, Any] | None = None,
        *,
        abort_on: tuple[type[Exception], ...] = (),
        process: bool = False,
        unwrap_trigger: bool = False,
    ) -> None:
        self.task = task
        self.function = function
        self.source = source_of(function)
        self.abort_on = _exception_types(abort_on)
        self.process = process
        self.unwrap_trigger = unwrap_trigger
        functools.update_wrapper(self, function)
        self._signature = Signature(function, names or {}, self.source)
        self.is_async = self._signature.is_async
        problems = self._signature.problems
        # `<lambda>` spoils a task type that is derived from it: one mistake is one problem.
        if all(problem.rule != "handler-kind" for problem in problems):
            problems = [*_task_type_problems(task, self.source), *problems, *self._process_problems()]
        if problems:
            raise DefinitionError(problems, title=_title(task))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<handler {self.task!r} at {self.source}>"

    def __reduce__(self) -> tuple[Callable[[str, str], Any], tuple[str, str]]:
        """Another process gets the import path: the function is looked up there, under its name."""
        return handler_at, (self.__module__, self.__qualname__)

    @functools.cached_property
    def takes_input(self) -> bool:
        """Whether it has an input parameter."""
        return self._resolved().takes_input

    @functools.cached_property
    def takes_context(self) -> bool:
        """Whether it has a context parameter."""
        return self._resolved().takes_context

    @functools.cached_property
    def input_type(self) -> Any:
        """The input's annotation; Any when there is none."""
        return self._resolved().input_type

    @functools.cached_property
    def output_type(self) -> Any:
        """The return annotation without `Continue`; Any when there is none."""
        return without_continue(self._resolved().output_type)[0]

    @functools.cached_property
    def continue_type(self) -> Any:
        """What a loop's next iteration receives: T of `Continue[T]`. None when it never continues."""
        return without_continue(self._resolved().output_type)[1]

    @functools.cached_property
    def input_codec(self) -> Codec:
        """Reads the input. Raises DefinitionError when the annotation cannot be carried as JSON."""
        return self._codec(self.input_type, "input")

    @functools.cached_property
    def output_codec(self) -> Codec:
        """Writes the result. Raises DefinitionError when the annotation cannot be carried as JSON."""
        return self._codec(self.output_type, "result")

    @functools.cached_property
    def continue_codec(self) -> Codec:
        """Writes what is given to `Continue`. Raises DefinitionError when it cannot be carried as JSON."""
        return self._codec(self.continue_type, "next input")

    def read(self, payload: bytes) -> Any:
        """The input that a task's payload says. Raises CodecError."""
        return self.input_codec.decode(data_within(payload) if self.unwrap_trigger else payload)

    def problems(self, names: Mapping[str, Any] | None = None) -> list[Problem]:
        """What is still wrong, now that everything ought to be defined. `names` are the asker's own."""
        self._signature.resolve(names)
        if not self._signature.is_resolved:
            return self._signature.unresolved
        if self._signature.problems:
            return self._signature.problems
        codecs = ["input_codec", "output_codec", *(["continue_codec"] if self.continue_type is not None else [])]
        return [*self._process_problems(), *(problem for codec in codecs for problem in self._codec_problems(codec))]

    def arguments(self, value: Any, context: TaskContext | SyncTaskContext | None) -> tuple[Any, ...]:
        """The positional arguments of a call with this input and context; each counts when the handler takes it."""
        given = (value,) if self.takes_input else ()
        return (*given, context) if self.takes_context else given

    def _resolved(self) -> Signature:
        self._signature.resolve()
        problems = self._signature.unresolved or self._signature.problems
        if problems:
            raise DefinitionError(problems, title=_title(self.task))
        return self._signature

    def _codec(self, declared: Any, role: str) -> Codec:
        try:
            return codec_for(declared)
        except UnsupportedType as error:
            message = f"handler {self.__name__!r}: its {role} type {error}"
            problem = Problem("", "unsupported-type", message, source=self.source)
            raise DefinitionError([problem], title=_title(self.task)) from None

    def _codec_problems(self, codec: str) -> tuple[Problem, ...]:
        try:
            getattr(self, codec)
        except DefinitionError as error:
            return error.problems
        return ()

    def _process_problems(self) -> Iterator[Problem]:
        """Why it cannot run in another process: only an import path and the input go there."""
        if not self.process:
            return
        reasons = {
            "is async: only a sync handler runs in a process": self.is_async,
            "takes a context: none reaches another process": self._signature.takes_context,
            "is defined in a function: another process cannot import it": "<locals>" in self.__qualname__,
        }
        for reason, applies in reasons.items():
            if applies:
                message = f"handler {self.__name__!r} has process=True, but {reason}"
                yield Problem("", "handler-process", message, source=self.source)


def handler(
    task: str, *, abort_on: tuple[type[Exception], ...] = (), process: bool = False, unwrap_trigger: bool = False
) -> Callable[[Callable[P, R]], Handler[P, R]]:
    """Make a function serve task type `task`.

    The function takes `()`, `(input)`, `(ctx)` or `(input, ctx)`; `ctx` is annotated `TaskContext` (async) or
    `SyncTaskContext` (sync). Further parameters need defaults. Nothing is registered: a worker serves the
    handlers it is given.

    Args:
        task: The task type.
        abort_on: Exception types after which trying again cannot help.
        process: Run it in a process of its own, for work that would block Python. It must be sync, take no
            context, and be importable by its name.
        unwrap_trigger: Take the `data` out of a trigger's envelope (`{"trigger": …, "data": …}`), so that runs that a
            trigger started look like those that were started by hand. Any other input stays as it is.

    Raises:
        DefinitionError: The task type is not valid, or the function has another shape. An annotation that does
            not resolve yet is told by the build, or by the worker.
        TypeError: `task` is no string, or `abort_on` no tuple of exception types.
    """
    if not isinstance(task, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"a task type is expected, not {task!r}; write @handler('…')")
    names = caller_names()

    def decorate(function: Callable[P, R]) -> Handler[P, R]:
        return Handler(task, function, names, abort_on=abort_on, process=process, unwrap_trigger=unwrap_trigger)

    return decorate


def handler_at(module: str, name: str) -> Any:
    """The handler that a module has under `name`; a step made by a decorator holds one."""
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return getattr(value, "handler", value)


def _exception_types(given: Any) -> tuple[type[Exception], ...]:
    kinds: tuple[Any, ...] = cast("tuple[Any, ...]", given) if isinstance(given, tuple) else (None,)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise TypeError(f"abort_on is a tuple of exception types, such as (ValueError,), not {given!r}")
    return cast("tuple[type[Exception], ...]", given)


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
