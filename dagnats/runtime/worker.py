"""The worker: pulls tasks, runs handlers side by side, stores each result before it lets go of the task.

    pull → decode → run → result into the log → acknowledge

Nothing a handler or a message does can stop it: whatever goes wrong becomes the step's failure.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from dagnats.errors import Abort, ConflictError, DecodeError, RefusedError, Retry
from dagnats.handling.codec import CodecError, type_name
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.handler import Handler
from dagnats.model.duration import format_duration
from dagnats.model.event import (
    Failure,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepStarted,
    decode_event,
    encode_event,
    event_type,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import encode
from dagnats.model.task import Task, decode_task
from dagnats.runtime.burial import bury
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.ports import Connection, TaskDelivery, TaskFeed

log = logging.getLogger("dagnats.worker")

DEFAULT_CONCURRENCY = 64
DEFAULT_ACK_WAIT = timedelta(seconds=10)
DEFAULT_GRACE = timedelta(seconds=30)
START_AFTER_S = 0.05  # attempts that end sooner carry their start in the result: one event fewer
SHORT_TIMEOUT_MS = 1_000  # attempts with less time than this announce themselves at once
MOST_DELIVERIES = 4  # from here on the attempt fails unrun: it keeps taking its workers down


@runtime_checkable
class HasHandlers(Protocol):
    """A workflow, seen from here: it brings handlers."""

    @property
    def handlers(self) -> Iterable[Handler[..., Any]]: ...


class HasConnection(Protocol):
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
        grace: How long running handlers may go on after `stop`.

    Raises:
        ConflictError: Two handlers serve one task type.
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
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency!r}; it is at least 1")
        self.worker_id = worker_id or f"worker-{secrets.token_hex(8)}"
        self._connection = client.connection
        self._handlers = _by_task_type(serves)
        self._concurrency = concurrency
        self._ack_wait_s = ack_wait.total_seconds()
        self._grace_s = grace.total_seconds()
        self._stopping = asyncio.Event()
        threads = min(32, (os.cpu_count() or 1) + 4)
        self._async_slots = _Slots(concurrency)
        # As many as there are threads: a task that waits for one would use up its step's timeout.
        self._sync_slots = _Slots(min(concurrency, threads))
        self._held: set[TaskDelivery] = set()
        self._attempts: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dagnats-handler")

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
        feeds = [(handler, await self._open(task_type)) for task_type, handler in self._handlers.items()]
        pulls = [
            asyncio.create_task(self._serve(handler, feed), name=f"worker: {handler.task}") for handler, feed in feeds
        ]
        ack_wait_s = min((feed.ack_wait_s for _, feed in feeds), default=self._ack_wait_s)
        keeper = asyncio.create_task(self._keep(feeds, ack_wait_s / 3), name="worker: keep")
        stopping = asyncio.create_task(self._stopping.wait(), name="worker: stop")
        try:
            done, _ = await asyncio.wait([stopping, keeper, *pulls], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a pull never ends by itself: this raises what ended it
            await self._close(pulls, feeds)
            await self._drain()
        finally:
            await self._close(pulls, feeds)
            await self._abandon()
            keeper.cancel()
            stopping.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _open(self, task_type: str) -> TaskFeed:
        return await self._connection.feeds.tasks(task_type, ack_wait_s=self._ack_wait_s, most=self._concurrency)

    # -- pulling ---------------------------------------------------------------------------------------------

    async def _serve(self, handler: Handler[..., Any], feed: TaskFeed) -> None:
        """Pull what there is room for, and start it."""
        slots = self._slots(handler)
        while True:
            for delivery in await feed.take(await slots.room()):
                self._held.add(delivery)
                work = self._attempt(handler, delivery, slots.claim())
                attempt = asyncio.create_task(work, name=f"attempt of {handler.task}")
                self._attempts.add(attempt)
                attempt.add_done_callback(self._ended)

    def _slots(self, handler: Handler[..., Any]) -> _Slots:
        return self._async_slots if handler.is_async else self._sync_slots

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            log.error("an attempt ended without a result; its task will be delivered again", exc_info=error)

    async def _keep(self, feeds: list[tuple[Handler[..., Any], TaskFeed]], every_s: float) -> None:
        """Tell the server, three times per ack wait, that the held tasks are being worked on.

        Tasks that arrived and find no free slot, because another task type was quicker, go back: somebody else may
        have room.
        """
        while True:
            await asyncio.sleep(every_s)
            for delivery in list(self._held):
                delivery.keep()
            for handler, feed in feeds:
                if not self._slots(handler).free:
                    feed.hand_back()

    async def _close(self, pulls: list[asyncio.Task[None]], feeds: list[tuple[Handler[..., Any], TaskFeed]]) -> None:
        for pull in pulls:
            pull.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)
        for _, feed in feeds:
            await feed.close()

    async def _drain(self) -> None:
        if self._attempts:
            log.info("waiting for %d running tasks", len(self._attempts))
            await asyncio.wait(self._attempts, timeout=self._grace_s)

    async def _abandon(self) -> None:
        for attempt in list(self._attempts):
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    # -- one attempt -----------------------------------------------------------------------------------------

    async def _attempt(
        self, handler: Handler[..., Any], delivery: TaskDelivery, place: asyncio.Future[None] | None
    ) -> None:
        """Run one task from its bytes to its acknowledgement."""
        slots = self._slots(handler)
        running = place is None
        try:
            if place is not None:  # several task types pulled for the same room
                await place
                running = True
            try:
                task = decode_task(delivery.data)
                if task.run_id != delivery.run_id:
                    raise DecodeError(f"a task of run {task.run_id!r} in the queue of run {delivery.run_id!r}")
            except DecodeError as error:
                await self._bury(handler, delivery, error)
            else:
                await self._report(await self._result(handler, task, delivery), task)
            delivery.acknowledge()
        except asyncio.CancelledError:
            delivery.hand_back()
            raise
        finally:
            if running:
                slots.release()
            self._held.discard(delivery)

    async def _bury(self, handler: Handler[..., Any], delivery: TaskDelivery, error: DecodeError) -> None:
        """Put a task nobody can run into the dead letters, with its bytes, and go on."""
        log.error("a task of %s goes to the dead letters: %s", handler.task, error)
        headers = {
            "Dagnats-Dlq-Run-Id": delivery.run_id,
            "Dagnats-Dlq-Task": handler.task,
            "Dagnats-Dlq-Error": str(error),
            "Dagnats-Dlq-Delivery-Count": str(delivery.deliveries),
            "Dagnats-Dlq-Consumer": "TASK_QUEUES",
        }
        digest = hashlib.sha256(delivery.data).hexdigest()[:16]
        subject = f"{handler.task}.{delivery.run_id}.unmarshal-failed"
        letter_id = f"dlq:task:{handler.task}:{delivery.run_id}:{digest}"
        await bury(self._connection.ports.dead_letters, subject, delivery.data, headers, id=letter_id)

    async def _result(
        self, handler: Handler[..., Any], task: Task, delivery: TaskDelivery
    ) -> StepCompleted | StepFailed:
        """The event that says what became of the attempt."""
        lost = await self._lost_workers(task) if delivery.deliveries >= MOST_DELIVERIES else 0
        if lost >= MOST_DELIVERIES - 1:
            given_up = f"given up: {lost} workers were lost while they ran this attempt"
            return self._failed(task, Failure(error=given_up, detail="worker_lost"))
        at_once = delivery.deliveries > 1 or 0 < task.timeout_ms < SHORT_TIMEOUT_MS
        start = _Start(self, task, at_once=at_once)
        try:
            await start.begin()
            output = await self._call(handler, task)
        except _Failed as failed:
            return self._failed(task, failed.failure, started_at=start.unsent)
        except asyncio.CancelledError:
            if not start.unsent:
                self._release(task)
            raise
        except Exception as error:  # a mistake of ours must not hide as a task that comes again and again
            log.exception("an attempt of %s ended unexpectedly", handler.task)
            return self._failed(task, Failure(error=f"the worker failed: {_said(error)}"), started_at=start.unsent)
        finally:
            await start.end()
        return StepCompleted(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self.worker_id,
            timestamp=_now(),
            trace_parent=task.traceparent,
            payload=msgspec.Raw(output),
            started_at=start.unsent,
        )

    async def _lost_workers(self, task: Task) -> int:
        """How many workers began this attempt and neither answered it nor gave it back."""
        count = 0
        for entry in await persist(lambda: self._connection.ports.log.read(task.run_id)):
            with suppress(DecodeError):
                event = decode_event(entry.data)
                if not isinstance(event, StepStarted | StepReleased):
                    continue
                if (event.step_id, event.attempt_number) == (task.step_id, task.attempt):
                    count += 1 if isinstance(event, StepStarted) else -1
        return count

    def _release(self, task: Task) -> None:
        """Say that the attempt goes back unfinished. Sent, not waited for: the worker is on its way out."""
        event = StepReleased(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self.worker_id,
            timestamp=_now(),
            trace_parent=task.traceparent,
        )
        self._send(event)

    def _failed(self, task: Task, failure: Failure, *, started_at: str = "") -> StepFailed:
        return StepFailed(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self.worker_id,
            timestamp=_now(),
            trace_parent=task.traceparent,
            payload=encode(failure),
            started_at=started_at,
        )

    async def _report(self, event: StepCompleted | StepFailed, task: Task) -> None:
        """Store the result; one the log will not take becomes a failure that says so."""
        try:
            await self._append(event)
        except RefusedError as error:
            failure = Failure(error=f"the result could not be stored: {error}", failure_type="non_retriable")
            await self._append(self._failed(task, failure))

    async def _append(self, event: StepStarted | StepCompleted | StepFailed) -> None:
        await self._send(event)

    def _send(self, event: StepStarted | StepReleased | StepCompleted | StepFailed) -> Awaitable[object]:
        # The id that Go workers use: one event of each type per attempt.
        event_id = f"{event.run_id}.{event.step_id}.{event_type(event)}.{event.attempt_number}"
        if isinstance(event, StepStarted | StepReleased):
            event_id += f".{secrets.token_hex(4)}"  # every delivery that runs begins, and may go back, on its own
        return self._connection.ports.log.append(event.run_id, encode_event(event), id=event_id)

    async def announce(self, task: Task) -> None:
        """Say that the attempt has begun."""
        await self._append(
            StepStarted(
                run_id=task.run_id,
                step_id=task.step_id,
                attempt_number=task.attempt,
                worker_id=self.worker_id,
                timestamp=_now(),
                trace_parent=task.traceparent,
            )
        )

    # -- the handler -----------------------------------------------------------------------------------------

    async def _call(self, handler: Handler[..., Any], task: Task) -> bytes:
        """The handler's output as JSON, or _Failed."""
        value = self._decode(handler, task) if handler.takes_input else None
        result = await self._run(handler, handler.arguments(value, self._context(handler, task)), task.timeout_ms)
        try:
            return handler.output_codec.encode(result)
        except CodecError as error:
            expected = type_name(handler.output_type)
            raise _Failed(f"the result does not fit {expected}: {error}", "non_retriable") from None
        except Exception as error:  # a serializer in the user's types may raise anything
            raise _Failed(f"writing the result failed: {_said(error)}", "non_retriable") from error

    @staticmethod
    def _decode(handler: Handler[..., Any], task: Task) -> Any:
        try:
            return handler.input_codec.decode(bytes(task.input))
        except CodecError as error:
            expected = type_name(handler.input_type)
            raise _Failed(f"the input does not fit {expected}: {error}", "non_retriable") from None
        except Exception as error:  # a validator in the user's types may raise anything
            raise _Failed(f"reading the input failed: {_said(error)}", "non_retriable") from error

    def _context(self, handler: Handler[..., Any], task: Task) -> TaskContext | SyncTaskContext:
        kind = TaskContext if handler.is_async else SyncTaskContext
        return kind(
            run_id=task.run_id,
            step_id=task.step_id,
            workflow=task.workflow_name,
            task=handler.task,
            attempt=task.attempt or 1,
            worker_id=self.worker_id,
        )

    async def _run(self, handler: Handler[..., Any], arguments: tuple[Any, ...], timeout_ms: int) -> Any:
        limit = asyncio.timeout(timeout_ms / 1_000 if timeout_ms else None)
        try:
            async with limit:
                if handler.is_async:
                    return await handler.function(*arguments)
                loop = asyncio.get_running_loop()
                result, raised = await loop.run_in_executor(self._threads, _called, handler.function, arguments)
                if raised is not None:
                    raise raised
                return result
        except TimeoutError as error:
            if limit.expired():
                limit_text = format_duration(timedelta(milliseconds=timeout_ms))
                raise _Failed(f"no result within the step's timeout of {limit_text}", detail="timeout") from None
            raise _Failed(_said(error)) from error
        except asyncio.CancelledError as error:
            if asyncio.current_task().cancelling():  # pyright: ignore[reportOptionalMemberAccess]  # we are a task
                raise
            raise _Failed("the handler cancelled itself") from error
        except Abort as error:
            raise _Failed(_text(error), "non_retriable") from error
        except Retry as error:
            after_ms = max(int(error.after.total_seconds() * 1_000), 0)
            raise _Failed(_text(error), "retry_after", retry_after_ms=after_ms) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # handlers may raise anything, SystemExit included
            log.debug("attempt failed", exc_info=error)
            raise _Failed(_said(error)) from error


def _called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Call in a thread. What is raised comes back as a value: a future cannot carry StopIteration."""
    try:
        return function(*arguments), None
    except BaseException as error:  # noqa: BLE001  # handlers may raise anything
        return None, RuntimeError(f"StopIteration: {error}") if isinstance(error, StopIteration) else error


class _Failed(Exception):
    """An attempt failed, in the terms the engine decides by."""

    def __init__(
        self, error: str, failure_type: Any = "retriable", *, retry_after_ms: int = 0, detail: str = ""
    ) -> None:
        super().__init__(error)
        self.failure = Failure(error=error, failure_type=failure_type, retry_after_ms=retry_after_ms, detail=detail)


class _Start:
    """The start of an attempt: announced at once, after a while, or folded into a fast result."""

    def __init__(self, worker: Worker, task: Task, *, at_once: bool) -> None:
        self._worker = worker
        self._task = task
        self._at_once = at_once
        self._announcing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.unsent = ""

    async def begin(self) -> None:
        if self._at_once:
            await self._worker.announce(self._task)
            return
        self.unsent = _now()
        self._timer = asyncio.get_running_loop().call_later(START_AFTER_S, self._announce)

    def _announce(self) -> None:
        self.unsent = ""
        self._announcing = asyncio.create_task(self._worker.announce(self._task))

    async def end(self) -> None:
        """Before the result goes out: an announcement under way comes first."""
        if self._timer is not None:
            self._timer.cancel()
        if self._announcing is not None:
            await self._announcing


class _Slots:
    """How many tasks may run at a time, and whether there is room to pull more."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._line: deque[asyncio.Future[None]] = deque()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def free(self) -> int:
        return self._free

    async def room(self) -> int:
        """The number of free slots, at least one; waits for it."""
        while not self._free:  # another task type may have taken the slot that woke us
            await self._room.wait()
        return self._free

    def claim(self) -> asyncio.Future[None] | None:
        """Take a slot: None when there was one, else a place in the line for the next."""
        if self._free:
            self._free -= 1
            if not self._free:
                self._room.clear()
            return None
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        return place

    def release(self) -> None:
        """Give a slot back; it goes to whoever is first in line."""
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
        self._room.set()


def _by_task_type(serves: Iterable[HasHandlers | Handler[..., Any]]) -> dict[str, Handler[..., Any]]:
    found: dict[str, Handler[..., Any]] = {}
    for entry in serves:
        for handler in [entry] if isinstance(entry, Handler) else entry.handlers:
            _ = handler.input_codec, handler.output_codec  # types that cannot be carried are told now, not per task
            first = found.setdefault(handler.task, handler)
            if first is not handler:
                raise ConflictError(
                    f"two handlers serve task type {handler.task!r}: {first.source} and {handler.source}",
                    hint="give one of them another task type",
                )
    return found


def _said(error: BaseException) -> str:
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


def _now() -> str:
    return rfc3339(time.time_ns())
