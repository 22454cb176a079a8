"""Handlers for the task types that are configured. To a worker they are handlers as any other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec  # at run time too: a handler's annotations are looked at

from dagnats.handling.context import TaskContext  # the same
from dagnats.handling.handler import Handler
from dagnats.handling.verdict import InWords
from dagnats.model.duration import format_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from dagnats.config.worker import WorkerSettings


class AttemptTimeout(InWords):
    """A command or a server took longer than it may."""


def foreign_handlers(
    workers: Mapping[str, WorkerSettings], origin: Callable[[str], str] = lambda task: ""
) -> list[Handler[..., Any]]:
    """A handler for each configured task type.

    Args:
        workers: What serves it, by task type.
        origin: Where a task type is configured, for messages.
    """
    return [_handler(task, worker, origin(task) or "dagnats.yaml") for task, worker in workers.items()]


def _handler(task: str, worker: WorkerSettings, source: str) -> Handler[..., Any]:
    call = _call(worker)

    async def foreign(data: msgspec.Raw, context: TaskContext) -> msgspec.Raw:
        timeout = asyncio.timeout(worker.limit.total_seconds())
        try:
            async with timeout:
                return await call(bytes(data), context)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise AttemptTimeout(f"no result within the worker's timeout of {format_duration(worker.limit)}") from None

    foreign.__name__ = foreign.__qualname__ = f"worker.{task}"
    made: Handler[..., Any] = Handler(task, foreign)
    made.source = source
    return made


def _call(worker: WorkerSettings) -> Callable[[bytes, TaskContext], Awaitable[msgspec.Raw]]:
    if worker.http is not None:
        from dagnats.runtime.foreign.request import Requester  # httpx is loaded where a URL is configured

        return Requester(worker).request
    from dagnats.runtime.foreign.command import execute

    async def run(data: bytes, context: TaskContext) -> msgspec.Raw:
        return await execute(worker, data, context)

    return run
