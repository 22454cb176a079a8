"""`Workflow`: the builder people type. A value: it connects to nothing and can be built twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from dagnats.dsl.compile import compile_workflow
from dagnats.dsl.duration import duration_text
from dagnats.dsl.retry import RetryValue, retry_document
from dagnats.dsl.source import caller_source
from dagnats.dsl.step import FunctionStep, Step, StepRef
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.handler import Handler, caller_locals

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741  # input and output, as in Step[I, O]
O = TypeVar("O")  # noqa: E741


class Workflow:
    """A named graph of steps.

    Args:
        name: What runs are started by: letters, digits, `_` and `-`.
        version: A label for people. Identity is the content of the definition.
        default_retry: For steps without a retry policy of their own.
        timeout: The deadline of a whole run.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str = "1",
        default_retry: RetryValue | None = None,
        timeout: timedelta | str | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.source = caller_source()
        self._settings: dict[str, Any] = {}
        if default_retry is not None:
            self._settings["default_retry"] = retry_document(default_retry)
        if timeout is not None:
            self._settings["timeout"] = duration_text(timeout)
        self._steps: list[Step[Any, Any]] = []

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}, {len(self._steps)} steps>"

    # The order matters: the first shape that fits a handler gives the step its types.
    @overload
    def task(self, step_id: str, handler: Handler[[], Coroutine[Any, Any, O]]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[TaskContext], Coroutine[Any, Any, O]]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[I], Coroutine[Any, Any, O]]) -> Step[I, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[I, TaskContext], Coroutine[Any, Any, O]]) -> Step[I, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[..., Awaitable[O]]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[], O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[SyncTaskContext], O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[I], O]) -> Step[I, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[[I, SyncTaskContext], O]) -> Step[I, O]: ...
    @overload
    def task(self, step_id: str, handler: Handler[..., O]) -> Step[Any, O]: ...
    @overload
    def task(self, step_id: str, handler: str) -> Step[Any, Any]: ...

    def task(self, step_id: str, handler: Handler[..., Any] | str) -> Step[Any, Any]:
        """Add a step run by a worker: a handler, or just a task type served elsewhere, in any language."""
        if isinstance(handler, str):
            step: Step[Any, Any] = Step(self, step_id, handler, None)
        elif isinstance(handler, Handler):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            step = Step(self, step_id, handler.task, handler)
        else:
            raise TypeError(
                f"a handler or a task type is expected, not {handler!r}; decorate the function with @handler('…')"
            )
        self._steps.append(step)
        return step

    @overload
    def step(self, function: Callable[P, R], /) -> FunctionStep[P, R]: ...

    @overload
    def step(
        self,
        /,
        *,
        id: str | None = None,
        task: str | None = None,
        after: StepRef | tuple[StepRef, ...] | list[StepRef] = (),
        timeout: timedelta | str | None = None,
        queue_timeout: timedelta | str | None = None,
        heartbeat_timeout: timedelta | str | None = None,
        retry: RetryValue | None = None,
        on_failure: StepRef | None = None,
        compensation: StepRef | None = None,
    ) -> Callable[[Callable[P, R]], FunctionStep[P, R]]: ...

    def step(self, function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
        """Make a function a step of this workflow, bare or called with settings.

        The step's id is the function's name and its task type `<workflow>.<function>`, unless `id` and `task`
        say otherwise. The result is a step and still callable.
        """
        if function is not None and not callable(function):
            raise TypeError(f"@wf.step decorates a function, not {function!r}; give its settings by keyword")
        namespace = caller_locals()

        def decorate(decorated: Callable[..., Any]) -> FunctionStep[..., Any]:
            return self._add_function(decorated, namespace, **settings)

        return decorate(function) if function is not None else decorate

    def _add_function(
        self,
        function: Callable[..., Any],
        namespace: dict[str, Any],
        *,
        id: str | None = None,
        task: str | None = None,
        after: StepRef | tuple[StepRef, ...] | list[StepRef] = (),
        timeout: timedelta | str | None = None,
        queue_timeout: timedelta | str | None = None,
        heartbeat_timeout: timedelta | str | None = None,
        retry: RetryValue | None = None,
        on_failure: StepRef | None = None,
        compensation: StepRef | None = None,
    ) -> FunctionStep[..., Any]:
        name = getattr(function, "__name__", "")  # a partial has none; Handler refuses it
        task_type = task or f"{self.name}.{name}"
        step = FunctionStep(self, id or name, task_type, Handler(task_type, function, namespace))
        if after:
            step.after(*([after] if isinstance(after, str | Step) else after))
        if timeout is not None:
            step.with_timeout(timeout)
        if queue_timeout is not None:
            step.with_queue_timeout(queue_timeout)
        if heartbeat_timeout is not None:
            step.with_heartbeat_timeout(heartbeat_timeout)
        if retry is not None:
            step.with_retry(retry)
        if on_failure is not None:
            step.with_on_failure(on_failure)
        if compensation is not None:
            step.with_compensation(compensation)
        self._steps.append(step)
        return step

    @property
    def handlers(self) -> tuple[Handler[..., Any], ...]:
        """The handlers its steps were given, each once."""
        found = {id(step._handler): step._handler for step in self._steps if step._handler is not None}  # pyright: ignore[reportPrivateUsage]  # a step is this class's part
        return tuple(found.values())

    def build(self) -> WorkflowDef:
        """The definition.

        Raises:
            DefinitionError: Something is wrong; `problems` lists everything, with your own file and line.
        """
        return compile_workflow(self)

    def to_json(self) -> bytes:
        """The canonical JSON artefact, as `dagnats build` writes it. Raises DefinitionError like `build`."""
        return self.build().to_json()
