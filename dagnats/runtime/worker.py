"""The worker: pulls tasks, as many as there is room for, and drains at its end. `workbench` runs them."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, runtime_checkable

import dagnats
from dagnats.errors import ConflictError
from dagnats.handling.handler import Handler
from dagnats.handling.trigger_type import TriggerType
from dagnats.model.identifier import GROUP, near
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.desk import Caller, Desk
from dagnats.runtime.lifespan import Lifespan, opened
from dagnats.runtime.patience import persist
from dagnats.runtime.pool import ProcessPool
from dagnats.runtime.presence import Presence
from dagnats.runtime.slots import Share, Slots
from dagnats.runtime.telemetry.exporter import telemetry
from dagnats.runtime.triggers.provider import Provider
from dagnats.runtime.watchman import Watchman
from dagnats.runtime.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dagnats.model.task import Task
    from dagnats.runtime.ports import Connection, TaskFeed

DEFAULT_CONCURRENCY = 64
DEFAULT_ACK_WAIT = timedelta(seconds=10)
DEFAULT_GRACE = timedelta(seconds=30)
DEFAULT_CANCEL_GRACE = timedelta(seconds=10)
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_ID_LENGTH = 128
_SHORTEST_ACK_WAIT_S = 0.1  # tasks are kept three times in this time
_SPARE_THREADS = 256  # made only when sync handlers do not end though they were told to


class Queue(NamedTuple):
    """A task type that is served."""

    handler: Handler[..., Any]
    feed: TaskFeed
    slots: Slots


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
        client: An open client; the worker shares its connection, and has one more to keep its tasks with.
        serves: Workflows (all their handlers) and handlers.
        concurrency: Async handlers at a time; sync ones run in at most 32 threads.
        worker_id: How it is named in histories and in the directory; made up when left out.
        ack_wait: How long a worker may be silent before its tasks go to another one. The first worker of a task
            type sets it for all of them.
        grace: How long running handlers may go on after `stop`.
        cancel_grace: How long a handler may clean up when its run was cancelled, its step's time is over, or the
            worker's patience is. One that is still there then is left alone, with a warning; its process, if it has
            one, is killed.
        group: The workers it belongs to: it gets the tasks of steps for this group only. "" gets those of the steps
            that name none.
        lifespan: Gives a context manager, async or not, that is entered before the first task and left after the last
            one: what it gives is every context's `resources`.
        limits: How many tasks of a type at a time, within `concurrency`.
        processes: How many handlers with `process=True` at a time; as many as there are processors when left out.
        metadata: Shown with the worker in the directory.
        trigger_types: What it watches for workflows with `external` triggers. Of several workers that provide a type,
            one at a time does.

    Raises:
        ConflictError: Two handlers serve one task type, or two trigger types have one name.
        ValueError: An argument is out of its range, or names what is not served.
        TypeError: What is to be served is neither workflow nor handler, or no list of them; or a duration is none.
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
        limits: Mapping[str, int] | None = None,
        processes: int | None = None,
        metadata: Mapping[str, str] | None = None,
        trigger_types: Iterable[TriggerType[Any]] = (),
    ) -> None:
        _expect_positive(concurrency, "concurrency")
        if processes is not None:
            _expect_positive(processes, "processes")
        if group and re.fullmatch(GROUP, group) is None:
            raise ValueError(f"group {group!r} is not valid: letters, digits, '_' and '-', at most 64 characters")
        if worker_id and (len(worker_id) > _ID_LENGTH or _ID.fullmatch(worker_id) is None):
            raise ValueError(
                f"worker_id {worker_id!r} is not valid: letters, digits, '_' and '-', in parts joined by single dots,"
                f" at most {_ID_LENGTH} characters"
            )
        self.group = group
        self._is_named = bool(worker_id)
        self.worker_id = worker_id or f"worker-{secrets.token_hex(8)}"
        self._client = client
        self._connection = client.connection
        self._lifespan = lifespan
        self._handlers = _by_task_type(serves)
        self._concurrency = concurrency
        self._limits = _checked(limits or {}, self._handlers)
        self._metadata = dict(metadata or {})
        self._ack_wait_s = _seconds(ack_wait, "ack_wait", least_s=_SHORTEST_ACK_WAIT_S)
        self._grace_s = _seconds(grace, "grace")
        self._cancel_grace_s = _seconds(cancel_grace, "cancel_grace")
        self._providers = {
            name: Provider(self._connection.ports, client, each, worker_id=self.worker_id, grace_s=self._cancel_grace_s)
            for name, each in _by_name(trigger_types).items()
        }
        self._stopping = asyncio.Event()
        threads = min(32, (os.cpu_count() or 1) + 4)
        processes = min(concurrency, processes or os.cpu_count() or 1)
        self._async_slots = Slots(concurrency)
        # As many as there are threads, or processes: a task that waits for one would use up its step's timeout.
        self._sync_slots = Slots(min(concurrency, threads))
        self._process_slots = Slots(processes)
        self._threads = ThreadPoolExecutor(threads + _SPARE_THREADS, thread_name_prefix="dagnats-handler")
        self._pool = ProcessPool(processes)

    @property
    def task_types(self) -> tuple[str, ...]:
        """What it serves."""
        return tuple(self._handlers)

    @property
    def trigger_types(self) -> tuple[str, ...]:
        """What it watches, when it is its turn."""
        return tuple(self._providers)

    def stop(self) -> None:
        """Stop pulling and let `run` return when the running handlers are done. May be called again."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, then drain: running handlers finish, or after the grace their tasks go back.

        Raises:
            ConflictError: Another task type's workers cover the same subjects, or triggers run with another version of
                a trigger type.
        """
        async with telemetry(self._connection.ports), opened(self._lifespan) as resources:
            await self._run(partial(Desk, self._connection.ports, self._client, resources))

    async def _run(self, desk: Callable[[Task], Desk]) -> None:
        bench = Workbench(
            self._connection.ports, self.worker_id, self._threads, self._pool, self._cancel_grace_s, desk=desk
        )
        # Before the first task comes: a cancellation is said once.
        stop_listening = self._connection.feeds.cancellations(bench.cancel)
        queues: list[Queue] = []
        try:
            for provider in self._providers.values():
                await provider.check()
            for handler in self._handlers.values():
                queues.append(await self._open(handler))
            await self._work(queues, bench)
        finally:
            stop_listening()
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._pool.close()
            await _closed(queues)  # where one could not be opened

    async def _open(self, handler: Handler[..., Any]) -> Queue:
        feeds = self._connection.feeds
        slots = self._slots(handler)
        feed = await persist(
            lambda: feeds.tasks(handler.task, ack_wait_s=self._ack_wait_s, most=slots.free, group=self.group)
        )
        return Queue(handler, feed, slots)

    async def _work(self, queues: list[Queue], bench: Workbench) -> None:
        pulls = [asyncio.create_task(_serve(queue, bench), name=f"worker: {queue.handler.task}") for queue in queues]
        every_s = min((queue.feed.ack_wait_s for queue in queues), default=self._ack_wait_s) / 3
        watchman = Watchman(bench.handler_of)
        presence = Presence(self._connection.ports, self._entry())
        keeper = self._connection.feeds.keeper(bench.held, every_s=every_s, look=watchman.look)
        others = [
            asyncio.create_task(_give_back(queues, every_s), name="worker: give back"),
            asyncio.create_task(presence.show(), name="worker: presence"),
        ]
        pulls += [
            asyncio.create_task(provider.run(), name=f"worker: trigger type {name}")
            for name, provider in self._providers.items()
        ]
        if self._is_named:  # it may have been here before, and have tasks that wait for it
            bench.sticky.set()
        if not self.group:
            pulls.append(asyncio.create_task(self._take_own(queues, bench), name="worker: own tasks"))
        stopping = asyncio.create_task(self._stopping.wait(), name="worker: stop")
        try:
            done, _ = await asyncio.wait([stopping, *others, *pulls], return_when=asyncio.FIRST_COMPLETED)
            for task in [each for each in (*others, *pulls) if each in done]:
                task.result()  # none of them ends by itself: this raises what ended it
            await _cancelled(pulls)
            await _closed(queues)
            await bench.drain(self._grace_s)
        finally:
            await _cancelled([*pulls, *others, stopping])
            await _closed(queues)
            await bench.clear()
            await keeper.close()  # not before: handlers may still be cleaning up
            await presence.leave()

    async def _take_own(self, queues: list[Queue], bench: Workbench) -> NoReturn:
        """Take the tasks that are for this worker alone, from when there may be any: most workers never have some."""
        await bench.sticky.wait()
        for queue in queues:
            await persist(partial(queue.feed.open_own, self.worker_id))
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    def _slots(self, handler: Handler[..., Any]) -> Slots:
        shared = self._async_slots if handler.is_async else self._sync_slots
        if handler.process:
            shared = self._process_slots
        limit = self._limits.get(handler.task)
        return shared if limit is None else Share(limit, shared)

    def _entry(self) -> WorkerEntry:
        """How it is shown in the directory."""
        return WorkerEntry(
            worker_id=self.worker_id,
            task_types=self.task_types,
            groups=(self.group,) if self.group else (),
            language="python",
            transport="nats",
            max_tasks=self._concurrency,
            metadata=self._metadata,
            pid=os.getpid(),
            hostname=socket.gethostname(),
            version=dagnats.__version__,
        )


async def _serve(queue: Queue, bench: Workbench) -> None:
    """Pull what there is room for, and start it."""
    while True:
        for delivery in await queue.feed.take(await queue.slots.room()):
            bench.take(queue.handler, delivery, queue.slots)


async def _give_back(queues: list[Queue], every_s: float) -> None:
    """Give back tasks that arrived and find no free slot, because another task type was quicker: somebody else may have
    room."""
    while True:
        await asyncio.sleep(every_s)
        for queue in queues:
            if not queue.slots.free:
                queue.feed.hand_back()


async def _closed(queues: list[Queue]) -> None:
    """Pull nothing more."""
    for queue in queues:
        await queue.feed.close()


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _by_task_type(serves: Iterable[HasHandlers | Handler[..., Any]]) -> dict[str, Handler[..., Any]]:
    found: dict[str, Handler[..., Any]] = {}
    if isinstance(serves, Handler | HasHandlers):
        raise TypeError(f"a worker serves a list of workflows and handlers, not one of them: write [{_named(serves)}]")
    for entry in serves:
        for handler in _handlers(entry):
            _ = handler.input_codec, handler.output_codec  # types that cannot be carried are told now, not per task
            first = found.setdefault(handler.task, handler)
            if first is not handler:
                raise ConflictError(
                    f"two handlers serve task type {handler.task!r}: {first.source} and {handler.source}",
                    hint="give one of them another task type",
                )
    return found


def _by_name(trigger_types: Iterable[TriggerType[Any]]) -> dict[str, TriggerType[Any]]:
    found: dict[str, TriggerType[Any]] = {}
    if isinstance(trigger_types, TriggerType):
        raise TypeError(f"trigger_types is a list of them, not one: write [{_named(trigger_types)}]")
    for each in trigger_types:
        if not isinstance(each, TriggerType):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"a worker watches trigger types, not {_named(each)}; decorate it with @trigger_type(…)")
        first = found.setdefault(each.name, each)
        if first is not each:
            raise ConflictError(
                f"two trigger types are called {each.name!r}: {first.source} and {each.source}",
                hint="give one of them another name",
            )
    return found


def _handlers(entry: HasHandlers | Handler[..., Any]) -> Iterable[Handler[..., Any]]:
    if isinstance(entry, Handler):
        return [entry]
    if isinstance(entry, HasHandlers):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        return entry.handlers
    cure = 'decorate it with @handler("…")' if callable(entry) else "give it those"
    raise TypeError(f"a worker serves workflows and handlers, not {_named(entry)}; {cure}")


def _named(entry: object) -> str:
    return str(getattr(entry, "__name__", None) or getattr(entry, "name", None) or repr(entry))


def _checked(limits: Mapping[str, int], handlers: Mapping[str, object]) -> dict[str, int]:
    for task_type, limit in limits.items():
        if task_type not in handlers:
            close = near(task_type, handlers)
            like = f"; did you mean {close[0]!r}?" if close else f": {', '.join(sorted(handlers)) or 'nothing'}"
            raise ValueError(f"there is a limit for {task_type!r}, which this worker does not serve{like}")
        _expect_positive(limit, f"the limit of {task_type!r}")
    return dict(limits)


def _seconds(length: timedelta, what: str, *, least_s: float = 0.0) -> float:
    if not isinstance(length, timedelta):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"{what} is {length!r}; it is a timedelta, such as timedelta(seconds=30)")
    if length.total_seconds() < least_s:
        raise ValueError(f"{what} is {length}; it is at least {least_s:g} s")
    return length.total_seconds()


def _expect_positive(count: int, what: str) -> None:
    if count < 1:
        raise ValueError(f"{what} is {count!r}; it is at least 1")
