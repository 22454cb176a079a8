"""The worker: pulls tasks, as many as there is room for, and drains at its end. `workbench` runs them."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dagnats.errors import ConflictError, DagnatsError
from dagnats.handling.handler import Handler
from dagnats.model.identifier import GROUP
from dagnats.runtime.desk import Caller, Desk
from dagnats.runtime.lifespan import Lifespan, opened
from dagnats.runtime.patience import persist
from dagnats.runtime.slots import Slots
from dagnats.runtime.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.model.task import Task
    from dagnats.runtime.ports import Connection, TaskFeed

DEFAULT_CONCURRENCY = 64
DEFAULT_ACK_WAIT = timedelta(seconds=10)
DEFAULT_GRACE = timedelta(seconds=30)
DEFAULT_CANCEL_GRACE = timedelta(seconds=10)
_SPARE_THREADS = 256  # made only when sync handlers do not end though they were told to


Queue = tuple[Handler[..., Any], "TaskFeed"]


@runtime_checkable
class HasHandlers(Protocol):
    """A workflow, seen from here: it brings handlers."""

    @property
    def handlers(self) -> Iterable[Handler[..., Any]]: ...


class HasConnection(Caller, Protocol):
    """A client, seen from here."""

    @property
    def connection(self) -> Connection: ...


class Worker:
    """Serves the task types of its handlers.

    Args:
        client: An open client; the worker shares its connection.
        serves: Workflows (all their handlers) and handlers.
        concurrency: Async handlers at a time; sync ones run in at most 32 threads.
        worker_id: How it is named in histories; made up when left out.
        ack_wait: How long a worker may be silent before its tasks go to another one. The first worker of a task
            type sets it for all of them.
        group: The workers it belongs to: it gets the tasks of steps for this group only. "" gets those of the steps
            that name none.
        grace: How long running handlers may go on after `stop`.
        cancel_grace: How long a handler may clean up when its run was cancelled, its step's time is over, or the
            worker's patience is. One that is still there then is left alone, with a warning.
        lifespan: Gives a context manager, async or not, that is entered before the first task and left after the last
            one: what it gives is every context's `resources`.

    Raises:
        ConflictError: Two handlers serve one task type.
        ValueError: `concurrency` is below 1, or `group` is no name of a group.
        DagnatsError: A handler has `process=True`, which no worker runs yet.
        DefinitionError: A handler's types cannot be carried as JSON.
    """

    def __init__(
        self,
        client: HasConnection,
        serves: Iterable[HasHandlers | Handler[..., Any]],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        worker_id: str = "",
        ack_wait: timedelta = DEFAULT_ACK_WAIT,
        grace: timedelta = DEFAULT_GRACE,
        cancel_grace: timedelta = DEFAULT_CANCEL_GRACE,
        group: str = "",
        lifespan: Lifespan | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency!r}; it is at least 1")
        if group and re.fullmatch(GROUP, group) is None:
            raise ValueError(f"group {group!r} is not valid: letters, digits, '_' and '-', at most 64 characters")
        self.group = group
        self._is_named = bool(worker_id)
        self.worker_id = worker_id or f"worker-{secrets.token_hex(8)}"
        self._client = client
        self._connection = client.connection
        self._lifespan = lifespan
        self._handlers = _by_task_type(serves)
        self._concurrency = concurrency
        self._ack_wait_s = ack_wait.total_seconds()
        self._grace_s = grace.total_seconds()
        self._cancel_grace_s = cancel_grace.total_seconds()
        self._stopping = asyncio.Event()
        threads = min(32, (os.cpu_count() or 1) + 4)
        self._async_slots = Slots(concurrency)
        # As many as there are threads: a task that waits for one would use up its step's timeout.
        self._sync_slots = Slots(min(concurrency, threads))
        self._threads = ThreadPoolExecutor(threads + _SPARE_THREADS, thread_name_prefix="dagnats-handler")

    @property
    def task_types(self) -> tuple[str, ...]:
        """What it serves."""
        return tuple(self._handlers)

    def stop(self) -> None:
        """Stop pulling and let `run` return when the running handlers are done. May be called again."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, then drain: running handlers finish, or after the grace their tasks go back.

        Raises:
            ConflictError: Another task type's workers cover the same subjects.
        """
        async with opened(self._lifespan) as resources:
            await self._run(partial(Desk, self._connection.ports, self._client, resources))

    async def _run(self, desk: Callable[[Task], Desk]) -> None:
        bench = Workbench(self._connection.ports, self.worker_id, self._threads, self._cancel_grace_s, desk=desk)
        # Before the first task comes: a cancellation is said once.
        stop_listening = self._connection.feeds.cancellations(bench.cancel)
        queues: list[Queue] = []
        try:
            for task_type, handler in self._handlers.items():
                queues.append((handler, await self._open(task_type)))
            await self._work(queues, bench)
        finally:
            try:
                for _, feed in queues:
                    await feed.close()
                await bench.clear()
            finally:
                stop_listening()
                self._threads.shutdown(wait=False, cancel_futures=True)

    async def _open(self, task_type: str) -> TaskFeed:
        feeds = self._connection.feeds
        return await persist(
            lambda: feeds.tasks(task_type, ack_wait_s=self._ack_wait_s, most=self._concurrency, group=self.group)
        )

    async def _work(self, queues: list[Queue], bench: Workbench) -> None:
        pulls = [
            asyncio.create_task(self._serve(handler, feed, bench), name=f"worker: {handler.task}")
            for handler, feed in queues
        ]
        ack_wait_s = min((feed.ack_wait_s for _, feed in queues), default=self._ack_wait_s)
        if self._is_named:  # it may have been here before, and have tasks that wait for it
            bench.sticky.set()
        pulls.append(asyncio.create_task(self._take_own(queues, bench), name="worker: own tasks"))
        keeper = asyncio.create_task(self._keep(queues, bench, ack_wait_s / 3), name="worker: keep")
        stopping = asyncio.create_task(self._stopping.wait(), name="worker: stop")
        try:
            done, _ = await asyncio.wait([stopping, keeper, *pulls], return_when=asyncio.FIRST_COMPLETED)
            for task in [each for each in (keeper, *pulls) if each in done]:
                task.result()  # a pull never ends by itself: this raises what ended it
            await _cancelled(pulls)
            for _, feed in queues:
                await feed.close()
            await bench.drain(self._grace_s)
        finally:
            await _cancelled([*pulls, keeper, stopping])

    async def _serve(self, handler: Handler[..., Any], feed: TaskFeed, bench: Workbench) -> None:
        """Pull what there is room for, and start it."""
        slots = self._slots(handler)
        while True:
            for delivery in await feed.take(await slots.room()):
                bench.take(handler, delivery, slots)

    async def _take_own(self, queues: list[Queue], bench: Workbench) -> None:
        """Take the tasks that are for this worker alone, from when there may be any: most workers never have some."""
        await bench.sticky.wait()
        for _, feed in [] if self.group else queues:
            await persist(lambda feed=feed: feed.open_own(self.worker_id))
        await asyncio.Event().wait()

    async def _keep(self, queues: list[Queue], bench: Workbench, every_s: float) -> None:
        """Tell the server, three times per ack wait, that the held tasks are being worked on.

        Tasks that arrived and find no free slot, because another task type was quicker, go back: somebody else may
        have room.
        """
        while True:
            await asyncio.sleep(every_s)
            bench.keep()
            for handler, feed in queues:
                if not self._slots(handler).free:
                    feed.hand_back()

    def _slots(self, handler: Handler[..., Any]) -> Slots:
        return self._async_slots if handler.is_async else self._sync_slots


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _by_task_type(serves: Iterable[HasHandlers | Handler[..., Any]]) -> dict[str, Handler[..., Any]]:
    found: dict[str, Handler[..., Any]] = {}
    for entry in serves:
        for handler in [entry] if isinstance(entry, Handler) else entry.handlers:
            _ = handler.input_codec, handler.output_codec  # types that cannot be carried are told now, not per task
            if handler.process:  # in a thread it would block the others, which its author wanted to prevent
                raise DagnatsError(
                    f"handler {handler.task!r} at {handler.source}: process=True is not run yet",
                    hint="leave it out: the handler then runs in a thread",
                )
            first = found.setdefault(handler.task, handler)
            if first is not handler:
                raise ConflictError(
                    f"two handlers serve task type {handler.task!r}: {first.source} and {handler.source}",
                    hint="give one of them another task type",
                )
    return found
