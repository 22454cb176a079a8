"""The attempts in a worker's hands: each from its bytes to its acknowledgement, all looked after by one timer.

    decode → run → result into the log → acknowledge

Nothing a handler or a message does can stop a worker: whatever goes wrong becomes the step's failure.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from dagnats.errors import DecodeError, RefusedError
from dagnats.model.duration import format_duration
from dagnats.model.event import TOO_SLOW, Failure
from dagnats.model.task import Task
from dagnats.runtime.attempt import BEATS, Attempt, announces_at_once
from dagnats.runtime.cancellation import Cancelled
from dagnats.runtime.fence import is_wanted
from dagnats.runtime.intake import expired, received
from dagnats.runtime.invocation import Again, AttemptFailed, Rest, invoke, lacks_input, said, with_whole_input
from dagnats.runtime.patience import persist
from dagnats.runtime.poison import bury_task
from dagnats.runtime.report import MOST_DELIVERIES, Reporter
from dagnats.runtime.sweep import NEVER, Sweep
from dagnats.runtime.telemetry.context import is_traced, spanned
from dagnats.runtime.telemetry.note import note_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import ThreadPoolExecutor

    from dagnats.handling.handler import Handler
    from dagnats.runtime.desk import Desk
    from dagnats.runtime.pool import ProcessPool
    from dagnats.runtime.ports import Ports, TaskDelivery
    from dagnats.runtime.slots import Slots

log = logging.getLogger("dagnats.worker")

_TROUBLE_S = 5.0  # a task that we could not deal with comes again after this long


class Workbench:
    """Runs attempts side by side.

    Args:
        ports: Where results go.
        worker_id: How the worker is named in histories.
        threads: Where sync handlers run.
        pool: Where those with `process=True` do.
        cancel_grace_s: How long a handler may go on after it was told to stop.
        desk: Gives what a handler's context asks; None: contexts know no more than which attempt they are.
    """

    def __init__(
        self,
        ports: Ports,
        worker_id: str,
        threads: ThreadPoolExecutor,
        pool: ProcessPool,
        cancel_grace_s: float,
        *,
        desk: Callable[[Task], Desk] | None = None,
    ) -> None:
        self._desk = desk
        self._ports = ports
        self._clock = ports.clock
        self._worker_id = worker_id
        self._threads = threads
        self._pool = pool
        self._cancel_grace_s = cancel_grace_s
        self._report = Reporter(ports, worker_id)
        self._loop = asyncio.get_running_loop()
        self._owner = asyncio.current_task()
        self._sweep = Sweep(self._look)
        self._cancelled = Cancelled()
        self.sticky = asyncio.Event()
        """Set once a task has come whose run is to keep to one worker."""
        self._attempts: dict[Attempt, None] = {}  # in order of arrival
        self._left: dict[asyncio.Task[Any], Handler[..., Any]] = {}  # those that do not end
        self._is_traced, self._asked_at = False, -1.0

    def take(self, handler: Handler[..., Any], delivery: TaskDelivery, slots: Slots) -> None:
        """Run a task, as soon as there is a slot for it."""
        self._begin(Attempt(handler, delivery, received(delivery), slots), self._answer)

    def held(self) -> list[TaskDelivery]:
        """The tasks that are being worked on. May be called from any thread."""
        return [attempt.delivery for attempt in list(self._attempts)]

    def handler_of(self, work: asyncio.Task[Any]) -> Handler[..., Any] | None:
        """The handler that runs in an asyncio task. May be called from any thread."""
        running = {attempt.work: attempt.handler for attempt in list(self._attempts)}
        return running.get(work) or self._left.get(work)

    def cancel(self, run_id: str, data: bytes) -> None:
        """The engine has given up attempts: stop those that are here, and remember the others."""
        self._cancelled.hear(run_id, data)
        for attempt in list(self._attempts):
            if isinstance(attempt.task, Task) and attempt.task.run_id == run_id and self._cancelled.has(attempt.task):
                self._give_up(attempt, None)

    async def drain(self, within_s: float) -> None:
        """Wait until all attempts are done, for that long. Then stop the others, and let their tasks go back."""
        if self._attempts:
            log.info("waiting for %d running tasks", len(self._attempts))
            await asyncio.wait([attempt.work for attempt in self._attempts], timeout=within_s)
        await self._interrupt(at_once=False)

    async def clear(self) -> None:
        """Stop what still runs at once, and let its tasks go back."""
        await self._interrupt(at_once=True)
        for work in self._left:
            work.cancel()
        self._sweep.close()

    async def _interrupt(self, *, at_once: bool) -> None:
        works = [attempt.work for attempt in self._attempts]
        for attempt in self._attempts:
            attempt.interrupt(at_once=at_once)
        if works:
            await asyncio.wait(works, timeout=self._cancel_grace_s)
        for attempt in list(self._attempts):
            attempt.abandoned = True
            if attempt.phase == "handler":
                _warn(attempt, self._cancel_grace_s)
            else:
                attempt.work.cancel()
            self._leave_off(attempt)
        self._attempts.clear()

    # -- one attempt -----------------------------------------------------------------------------------------

    def _begin(self, attempt: Attempt, answer: Callable[[Attempt], Awaitable[None]]) -> None:
        self._attempts[attempt] = None
        attempt.work = self._loop.create_task(self._run(attempt, answer), name="attempt")

    async def _run(self, attempt: Attempt, answer: Callable[[Attempt], Awaitable[None]]) -> None:
        """Answer a task and acknowledge it, or have it delivered again."""
        attempt.phase = "ours"
        try:
            if attempt.place is not None:  # several task types pulled for the same room
                await attempt.place
            await answer(attempt)
            let_go = attempt.delivery.acknowledge
        except asyncio.CancelledError:
            let_go = partial(self._leave_off, attempt)
        except Exception:
            log.exception("an attempt of %s has no result; its task will be delivered again", attempt.handler.task)
            let_go = partial(attempt.delivery.hand_back, _TROUBLE_S)
        if not attempt.abandoned:
            let_go()
            if attempt.desk is not None:
                attempt.desk.leave()
            attempt.free()
            self._attempts.pop(attempt, None)

    async def _answer(self, attempt: Attempt) -> None:
        """Run an attempt, unless nobody waits for it, and store what became of it."""
        task = attempt.task
        if isinstance(task, DecodeError):
            await bury_task(self._ports, attempt.handler.task, attempt.delivery, task)
            return
        if task.sticky:
            self.sticky.set()
        deliveries = attempt.delivery.deliveries
        if attempt.dropped or (task.expires and await self._is_late(task, deliveries)):
            return
        if self._cancelled.has(task) and await self._is_given_up(task):
            return
        if deliveries >= MOST_DELIVERIES and await self._report.gave_up(task, deliveries):
            return
        outcome = await self._handle(attempt, task, at_once=deliveries > 1 or announces_at_once(task))
        if attempt.abandoned or attempt.dropped:
            return
        if attempt.broken_off:
            raise asyncio.CancelledError
        await self._say(attempt, task, outcome)

    async def _is_late(self, task: Task, deliveries: int) -> bool:
        """Whether a task came too late to be begun. One that was is not, though it comes for the first time: a server
        that lost the end of its queue has forgotten that it was answered."""
        return expired(task, deliveries, self._clock.now_ns()) and not await self._report.lost_workers(task)

    async def _is_given_up(self, task: Task) -> bool:
        """Whether an attempt that was cancelled still is: a server that lost its log's end has it back."""
        if not await persist(lambda: is_wanted(self._ports, task)):
            return True
        self._cancelled.withdraw(task)
        return False

    async def _say(self, attempt: Attempt, task: Task, outcome: bytes | Again | Rest | Failure) -> None:
        """Store what became of an attempt, behind its start."""
        if attempt.announcing is not None:
            await attempt.announcing
        consumed = task.consumed
        if attempt.desk is not None:
            await attempt.desk.close()
            consumed = attempt.desk.consumed
        if isinstance(outcome, Failure):
            await self._report.failed(task, outcome, started_ns=attempt.started_ns)
        elif isinstance(outcome, Again):
            await self._report.continued(task, outcome.input, started_ns=attempt.started_ns, consumed=consumed)
        elif isinstance(outcome, Rest):
            await self._report.paused(task, outcome.delay_ms, started_ns=attempt.started_ns, consumed=consumed)
        else:
            await self._report.completed(task, outcome, started_ns=attempt.started_ns, consumed=consumed)

    async def _handle(self, attempt: Attempt, task: Task, *, at_once: bool) -> bytes | Again | Rest | Failure:
        """Call the handler; gives its output, or why there is none."""
        try:
            if attempt.handler.process:
                attempt.process = await self._pool.take()
            attempt.announced = at_once
            if at_once:
                await self._report.begun(task)
            if lacks_input(attempt.handler, task):
                task = await with_whole_input(self._ports, task)
            now = self._loop.time()
            attempt.enter(task, now, self._clock.now_ns())
            self._sweep.expect(attempt.due)
            output = await self._call(attempt, task, now)
        except AttemptFailed as failed:
            note_failure(task, attempt.failure or failed.failure, failed.__cause__)
            return attempt.failure or failed.failure
        except asyncio.CancelledError:
            if attempt.failure is None and self._is_cancelled(attempt):
                raise
            failure = attempt.failure or Failure(error="the handler cancelled itself")
            note_failure(task, failure)
            return failure
        except Exception as error:  # a mistake of ours must not hide as a task that comes again and again
            log.exception("an attempt of %s ended unexpectedly", attempt.handler.task)
            return Failure(error=f"the worker failed: {said(error)}")
        finally:
            attempt.leave()
            if attempt.process is not None:
                self._pool.give(attempt.process)
        return attempt.failure or output

    def _is_cancelled(self, attempt: Attempt) -> bool:
        """Whether a cancelled attempt was so from outside: by us, or with everything else, because the loop ends.

        Otherwise the handler has cancelled its own task. Given back, it would do that again and again.
        """
        is_ending = self._owner is not None and self._owner.cancelling() > 0
        return attempt.phase != "handler" or attempt.stop.asked or is_ending

    def _call(self, attempt: Attempt, task: Task, now: float) -> Awaitable[bytes | Again | Rest]:
        """The call of its handler, to be awaited."""
        if attempt.process is not None:
            return self._pool.call(attempt.process, attempt.handler, bytes(task.input))
        if self._desk is not None and attempt.handler.takes_context:
            attempt.desk = self._desk(task)
        call = invoke(attempt.handler, task, attempt.stop, self._worker_id, self._threads, attempt.desk)
        return spanned(task, call) if self._traces(now) else call

    def _traces(self, now: float) -> bool:
        """Whether handlers' spans have to belong somewhere. Asked once in a turn of the event loop: it is looked up in
        the environment, which takes longer than some handlers do."""
        if now != self._asked_at:
            self._asked_at, self._is_traced = now, is_traced()
        return self._is_traced

    def _leave_off(self, attempt: Attempt) -> None:
        """Let go of a task that has no answer: somebody else will do it, unless nobody waits for it."""
        if attempt.dropped:
            attempt.delivery.acknowledge()
            return
        if attempt.announced and isinstance(attempt.task, Task):
            self._report.given_back(attempt.task)
        attempt.delivery.hand_back()

    # -- what comes due --------------------------------------------------------------------------------------

    def _look(self, now: float) -> float:
        """Look after the attempts for which something is due; gives when something will be."""
        soonest = NEVER
        for attempt in list(self._attempts):
            if attempt.due <= now and isinstance(attempt.task, Task):
                self._attend(attempt, attempt.task, now)
            if attempt.due < soonest:
                soonest = attempt.due
        return soonest

    def _attend(self, attempt: Attempt, task: Task, now: float) -> None:
        if attempt.announce_at <= now:
            attempt.announced, attempt.announce_at, attempt.started_ns = True, NEVER, 0
            attempt.announcing = self._loop.create_task(self._announce(task))
        if attempt.beat_at <= now:
            attempt.beat_at = now + task.heartbeat_ms / 1_000 / BEATS
            if attempt.beating is not None:  # one that is still on its way waits for a connection that may be back
                attempt.beating.cancel()
            attempt.beating = self._loop.create_task(self._report.alive(task))
        if attempt.ends_at <= now:
            if attempt.stop.asked:
                self._lose_patience(attempt, task)
            else:
                self._give_up(attempt, _timed_out(task))
        attempt.due = min(attempt.announce_at, attempt.beat_at, attempt.ends_at)

    async def _announce(self, task: Task) -> None:
        try:
            await self._report.begun(task)
        except RefusedError as error:
            log.warning("the start of step %s of run %s is not in its history: %s", task.step_id, task.run_id, error)

    def _give_up(self, attempt: Attempt, failure: Failure | None) -> None:
        attempt.give_up(failure, abandon_at=self._loop.time() + self._cancel_grace_s)
        self._sweep.expect(attempt.due)

    def _lose_patience(self, attempt: Attempt, task: Task) -> None:
        """The handler goes on though it was told to stop: end its process, or else leave it alone."""
        _warn(attempt, self._cancel_grace_s)
        if attempt.handler.process:
            attempt.kill()
        else:
            self._abandon(attempt, task)

    def _abandon(self, attempt: Attempt, task: Task) -> None:
        """Let go of a task whose handler does not end, so that somebody else gets its slot."""
        self._attempts.pop(attempt, None)
        attempt.free()
        heir = attempt.abandon()
        self._left[attempt.work] = attempt.handler
        attempt.work.add_done_callback(lambda work: self._left.pop(work, None))
        if heir.failure is None:
            heir.delivery.acknowledge()
        else:
            self._begin(heir, partial(self._say, task=task, outcome=heir.failure))


def _timed_out(task: Task) -> Failure:
    limit = format_duration(timedelta(milliseconds=task.timeout_ms))
    return Failure(error=f"{TOO_SLOW} of {limit}", detail="timeout")


def _warn(attempt: Attempt, grace_s: float) -> None:
    """Name the handler that does not stop, and what its author can do about it."""
    handler = attempt.handler
    if handler.process:
        log.warning(
            "handler %s of %s still runs %g s after nobody waits for it any more; its process is killed",
            handler.__name__,
            handler.task,
            grace_s,
        )
        return
    cure = "let asyncio.CancelledError through" if handler.is_async else "return when ctx.is_cancelled is true"
    log.warning(
        "handler %s of %s still runs %g s after it was told to stop; it is left alone and its result dropped: %s",
        handler.__name__,
        handler.task,
        grace_s,
        cure,
    )
