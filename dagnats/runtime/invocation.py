"""Calls a handler for one attempt: input decoded, output encoded, whatever goes wrong told as the step's failure."""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from dagnats.errors import Abort, DagnatsError, RefusedError, Retry
from dagnats.handling.codec import CodecError, codec_for, type_name
from dagnats.handling.context import Stop, SyncTaskContext, TaskContext
from dagnats.handling.loop import Continue
from dagnats.handling.verdict import InWords, Paused
from dagnats.model.event import Failure, FailureType
from dagnats.model.json import DEEPEST_PAYLOAD, TooDeep, carriable, shallow
from dagnats.model.task import Task
from dagnats.runtime.blob import SHORTEST_REFERENCE, BlobLost, has_reference, resolved
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from dagnats.handling.codec import Codec
    from dagnats.handling.handler import Handler
    from dagnats.handling.operation import Operations
    from dagnats.handling.verdict import Verdict
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.worker")


class AttemptFailed(Exception):
    """An attempt failed, in the terms the engine decides by."""

    def __init__(self, error: str, failure_type: FailureType = "retriable", *, retry_after_ms: int = 0) -> None:
        super().__init__(error)
        self.failure = Failure(error=carriable(error), failure_type=failure_type, retry_after_ms=retry_after_ms)


class Again(NamedTuple):
    """A handler asks for another turn.

    Attributes:
        input: What it will receive, as JSON; b"" for the same as in this one.
    """

    input: bytes


class Rest(NamedTuple):
    """A handler lets its step rest.

    Attributes:
        delay_ms: For so long.
    """

    delay_ms: int


async def invoke(
    handler: Handler[..., Any],
    task: Task,
    stop: Stop,
    worker_id: str,
    threads: ThreadPoolExecutor,
    operations: Operations | None = None,
) -> bytes | Again | Rest:
    """The handler's output as JSON. Raises AttemptFailed; CancelledError when our task was cancelled.

    Args:
        operations: What its context asks; None when it takes none.
    """
    arguments = _arguments(handler, task, stop, worker_id, operations)
    try:
        if handler.is_async:
            result = await handler.function(*arguments)
        else:
            here = copy_context()  # what is current, such as a span, is current in the thread, too
            call = asyncio.get_running_loop().run_in_executor(
                threads, lambda: here.run(_called, handler.function, arguments)
            )
            result, raised = await call
            if raised is not None:
                raise raised
    except KeyboardInterrupt:
        raise
    except Paused as paused:
        return Rest(int(paused.delay.total_seconds() * 1_000))
    except BaseException as error:  # handlers may raise anything, SystemExit included
        if isinstance(error, asyncio.CancelledError) and _cancelled():
            raise
        log.debug("attempt failed", exc_info=error)
        raise _failed(handler, error) from error
    if operations is not None and operations.verdict is not None:
        return _judged(handler, operations.verdict, result)
    return _written(handler, result)


def perform(handler: Handler[..., Any], data: bytes) -> bytes | Again:
    """A sync handler's output for an input, both as JSON, called here and now. Raises AttemptFailed."""
    given = Task(run_id="", step_id="", input=msgspec.Raw(data))
    arguments = handler.arguments(_decode(handler, given) if handler.takes_input else None, None)
    try:
        result = handler.function(*arguments)
    except BaseException as error:
        raise _failed(handler, error) from error
    return _written(handler, result)


def _written(handler: Handler[..., Any], result: object) -> bytes | Again:
    """What a handler gave, as the engine reads it."""
    if isinstance(result, Continue):
        return _again(handler, cast("Continue[Any]", result))
    return _encode(result, handler.output_codec, handler.output_type, "the result")


def _judged(handler: Handler[..., Any], verdict: Verdict, result: object) -> bytes | Again:
    """What a handler gave that has said by a call how its attempt ends."""
    if result is not None:
        gave = type_name(type(result))
        raise AttemptFailed(
            f"the handler has ended its attempt by a call ({verdict.kind}) and returned {gave} as well", "non_retriable"
        )
    match verdict.kind:
        case "completed":
            # A handler that returns nothing has not said what it completes with.
            declared: Any = handler.output_type
            if declared in (None, type(None)):
                declared = cast("Any", type(verdict.value))
            return _encode(verdict.value, codec_for(declared), declared, "what complete was given")
        case "continued":
            return _again(handler, verdict.value)
        case kind:
            error = verdict.error if isinstance(verdict.error, str) else said(verdict.error)
            raise AttemptFailed(error, kind, retry_after_ms=int(verdict.after.total_seconds() * 1_000))


def _again(handler: Handler[..., Any], asked: Continue[Any]) -> Again:
    if not asked.has_value:
        return Again(b"")
    declared = Any if handler.continue_type is None else handler.continue_type
    codec = codec_for(Any) if handler.continue_type is None else handler.continue_codec
    return Again(_encode(asked.value, codec, declared, "what Continue gives to the next turn"))


def _encode(value: Any, codec: Codec, declared: Any, what: str) -> bytes:
    try:
        return shallow(codec.encode(value), DEEPEST_PAYLOAD)
    except CodecError as error:
        raise AttemptFailed(f"{what} does not fit {type_name(declared)}: {error}", "non_retriable") from None
    except TooDeep as error:
        raise AttemptFailed(f"{what} cannot be carried: {error}", "non_retriable") from None
    except (Exception, SystemExit) as error:  # a serializer in the user's types may raise anything
        raise AttemptFailed(f"writing {what} failed: {said(error)}", "non_retriable") from error


def lacks_input(handler: Handler[..., Any], task: Task) -> bool:
    """Whether the handler takes an input of which part is kept elsewhere."""
    return handler.takes_input and len(task.input) >= SHORTEST_REFERENCE and has_reference(bytes(task.input))


async def with_whole_input(ports: Ports, task: Task) -> Task:
    """The task with all of its input in its place. Raises AttemptFailed."""
    data = bytes(task.input)
    if not has_reference(data):
        return task
    try:
        full = await persist(lambda: resolved(ports, data, what="the input"))
    except BlobLost as lost:  # a replica that is behind may have it later: the step's retries say how often we look
        raise AttemptFailed(f"the input cannot be read: {lost}") from None
    except RefusedError as refused:
        raise AttemptFailed(str(refused), "non_retriable") from None
    return msgspec.structs.replace(task, input=msgspec.Raw(full))


def _arguments(
    handler: Handler[..., Any], task: Task, stop: Stop, worker_id: str, operations: Operations | None
) -> tuple[Any, ...]:
    value = _decode(handler, task) if handler.takes_input else None
    context = _context(handler, task, stop, worker_id, operations) if handler.takes_context else None
    return handler.arguments(value, context)


def _decode(handler: Handler[..., Any], task: Task) -> Any:
    try:
        return handler.read(bytes(task.input))
    except CodecError as error:
        expected = type_name(handler.input_type)
        raise AttemptFailed(f"the input does not fit {expected}: {error}", "non_retriable") from None
    except (Exception, SystemExit) as error:  # a validator in the user's types may raise anything
        raise AttemptFailed(f"reading the input failed: {said(error)}", "non_retriable") from error


def _context(
    handler: Handler[..., Any], task: Task, stop: Stop, worker_id: str, operations: Operations | None
) -> TaskContext | SyncTaskContext:
    kind = TaskContext if handler.is_async else SyncTaskContext
    return kind(
        run_id=task.run_id,
        step_id=task.step_id,
        workflow=task.workflow_name,
        task=handler.task,
        attempt=task.tries or task.attempt or 1,
        worker_id=worker_id,
        stop=stop,
        iteration=task.iteration,
        previous=_previous(task),
        operations=operations,
    )


def _previous(task: Task) -> Any:
    try:
        return msgspec.json.decode(task.previous) if task.previous else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # what no handler gave to `Continue` here
        return None


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Call in a thread. What is raised comes back as a value: a future cannot carry StopIteration."""
    try:
        return function(*arguments), None
    except BaseException as error:  # noqa: BLE001  # handlers may raise anything
        return None, RuntimeError(f"StopIteration: {error}") if isinstance(error, StopIteration) else error


def _cancelled() -> bool:
    """Whether it was the worker that cancelled the handler."""
    return asyncio.current_task().cancelling() > 0  # pyright: ignore[reportOptionalMemberAccess]  # we are a task


def _failed(handler: Handler[..., Any], error: BaseException) -> AttemptFailed:
    """What a handler raised, as its attempt's failure."""
    match error:
        case Abort():
            return AttemptFailed(_text(error), "non_retriable")
        case Retry():
            after_ms = max(int(error.after.total_seconds() * 1_000), 0)
            return AttemptFailed(_text(error), "retry_after", retry_after_ms=after_ms)
        case asyncio.CancelledError():
            return AttemptFailed("the handler cancelled itself")
        case _:
            return AttemptFailed(said(error), "non_retriable" if isinstance(error, handler.abort_on) else "retriable")


def said(error: BaseException) -> str:
    """An exception as a step's error: its kind, unless it means nothing to people, and its text."""
    text = _text(error)
    if isinstance(error, InWords) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    """An exception's text, whatever its author did to it, as text that JSON can carry; with the cure, if it has one."""
    hint = f"; {error.hint}" if isinstance(error, DagnatsError) and error.hint else ""
    try:
        return carriable(f"{error!s}{hint}")
    except (Exception, SystemExit):  # noqa: BLE001  # a user's __str__ may raise anything
        return "(its text cannot be read: __str__ raised)"
