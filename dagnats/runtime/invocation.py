"""Calls a handler for one attempt: input decoded, time limited, whatever goes wrong told as the step's failure."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dagnats.errors import Abort, Retry
from dagnats.handling.codec import CodecError, type_name
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.model.duration import format_duration
from dagnats.model.event import Failure, FailureType

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from dagnats.handling.handler import Handler
    from dagnats.model.task import Task

log = logging.getLogger("dagnats.worker")


class AttemptFailed(Exception):
    """An attempt failed, in the terms the engine decides by."""

    def __init__(
        self, error: str, failure_type: FailureType = "retriable", *, retry_after_ms: int = 0, detail: str = ""
    ) -> None:
        super().__init__(error)
        self.failure = Failure(error=error, failure_type=failure_type, retry_after_ms=retry_after_ms, detail=detail)


async def invoke(handler: Handler[..., Any], task: Task, worker_id: str, threads: ThreadPoolExecutor) -> bytes:
    """The handler's output as JSON. Raises AttemptFailed."""
    value = _decode(handler, task) if handler.takes_input else None
    result = await _run(handler, handler.arguments(value, _context(handler, task, worker_id)), task.timeout_ms, threads)
    try:
        return handler.output_codec.encode(result)
    except CodecError as error:
        expected = type_name(handler.output_type)
        raise AttemptFailed(f"the result does not fit {expected}: {error}", "non_retriable") from None
    except Exception as error:  # a serializer in the user's types may raise anything
        raise AttemptFailed(f"writing the result failed: {said(error)}", "non_retriable") from error


def _decode(handler: Handler[..., Any], task: Task) -> Any:
    try:
        return handler.input_codec.decode(bytes(task.input))
    except CodecError as error:
        expected = type_name(handler.input_type)
        raise AttemptFailed(f"the input does not fit {expected}: {error}", "non_retriable") from None
    except Exception as error:  # a validator in the user's types may raise anything
        raise AttemptFailed(f"reading the input failed: {said(error)}", "non_retriable") from error


def _context(handler: Handler[..., Any], task: Task, worker_id: str) -> TaskContext | SyncTaskContext:
    kind = TaskContext if handler.is_async else SyncTaskContext
    return kind(
        run_id=task.run_id,
        step_id=task.step_id,
        workflow=task.workflow_name,
        task=handler.task,
        attempt=task.attempt or 1,
        worker_id=worker_id,
    )


async def _run(
    handler: Handler[..., Any], arguments: tuple[Any, ...], timeout_ms: int, threads: ThreadPoolExecutor
) -> Any:
    limit = asyncio.timeout(timeout_ms / 1_000 if timeout_ms else None)
    try:
        async with limit:
            if handler.is_async:
                return await handler.function(*arguments)
            loop = asyncio.get_running_loop()
            result, raised = await loop.run_in_executor(threads, _called, handler.function, arguments)
            if raised is not None:
                raise raised
            return result
    except TimeoutError as error:
        if limit.expired():
            limit_text = format_duration(timedelta(milliseconds=timeout_ms))
            raise AttemptFailed(f"no result within the step's timeout of {limit_text}", detail="timeout") from None
        raise AttemptFailed(said(error)) from error
    except asyncio.CancelledError as error:
        if asyncio.current_task().cancelling():  # pyright: ignore[reportOptionalMemberAccess]  # we are a task
            raise
        raise AttemptFailed("the handler cancelled itself") from error
    except Abort as error:
        raise AttemptFailed(_text(error), "non_retriable") from error
    except Retry as error:
        after_ms = max(int(error.after.total_seconds() * 1_000), 0)
        raise AttemptFailed(_text(error), "retry_after", retry_after_ms=after_ms) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # handlers may raise anything, SystemExit included
        log.debug("attempt failed", exc_info=error)
        raise AttemptFailed(said(error)) from error


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Call in a thread. What is raised comes back as a value: a future cannot carry StopIteration."""
    try:
        return function(*arguments), None
    except BaseException as error:  # noqa: BLE001  # handlers may raise anything
        return None, RuntimeError(f"StopIteration: {error}") if isinstance(error, StopIteration) else error


def said(error: BaseException) -> str:
    """An exception as a step's error: its kind and its text."""
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    """An exception's text, whatever its author did to it, as text that JSON can carry."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # a user's __str__ may raise anything
        text = "(its text cannot be read: __str__ raised)"
    return text.encode("utf-8", "backslashreplace").decode()
