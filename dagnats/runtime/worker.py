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
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dagnats.errors import ConflictError, DecodeError
from dagnats.handling.handler import Handler
from dagnats.model.event import Failure
from dagnats.model.task import Task, decode_task
from dagnats.runtime.burial import bury
from dagnats.runtime.invocation import AttemptFailed, invoke, said
from dagnats.runtime.report import Reporter, Start
from dagnats.runtime.slots import Slots

if TYPE_CHECKING:
    from dagnats.runtime.ports import Connection, TaskDelivery, TaskFeed

log = logging.getLogger("dagnats.worker")

DEFAULT_CONCURRENCY = 64
DEFAULT_ACK_WAIT = timedelta(seconds=10)
DEFAULT_GRACE = timedelta(seconds=30)
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
        self._report = Reporter(client.connection.ports.log, self.worker_id)
        self._handlers = _by_task_type(serves)
        self._concurrency = concurrency
        self._ack_wait_s = ack_wait.total_seconds()
        self._grace_s = grace.total_seconds()
        self._stopping = asyncio.Event()
        threads = min(32, (os.cpu_count() or 1) + 4)
        self._async_slots = Slots(concurrency)
        # As many as there are threads: a task that waits for one would use up its step's timeout.
        self._sync_slots = Slots(min(concurrency, threads))
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

    def _slots(self, handler: Handler[..., Any]) -> Slots:
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
                await self._answer(handler, task, delivery)
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

    async def _answer(self, handler: Handler[..., Any], task: Task, delivery: TaskDelivery) -> None:
        """Run an attempt and store what became of it."""
        report = self._report
        lost = await report.lost_workers(task) if delivery.deliveries >= MOST_DELIVERIES else 0
        if lost >= MOST_DELIVERIES - 1:
            given_up = f"given up: {lost} workers were lost while they ran this attempt"
            await report.failed(task, Failure(error=given_up, detail="worker_lost"))
            return
        at_once = delivery.deliveries > 1 or 0 < task.timeout_ms < SHORT_TIMEOUT_MS
        start = Start(report, task, at_once=at_once)
        output, failure = b"", None
        try:
            await start.begin()
            output = await invoke(handler, task, self.worker_id, self._threads)
        except AttemptFailed as failed:
            failure = failed.failure
        except asyncio.CancelledError:
            if not start.unsent:
                report.given_back(task)
            raise
        except Exception as error:  # a mistake of ours must not hide as a task that comes again and again
            log.exception("an attempt of %s ended unexpectedly", handler.task)
            failure = Failure(error=f"the worker failed: {said(error)}")
        finally:
            await start.end()
        if failure is not None:
            await report.failed(task, failure, started_at=start.unsent)
        else:
            await report.completed(task, output, started_at=start.unsent)


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
