"""Tasks for whoever asks now: several task types at once, for as long as the asker waits.

A worker pulls all the time; who polls comes and goes. A queue's feed stays open for a moment after the last one has
gone, because the next one is usually on its way. What arrives with nobody there goes back at once.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.runtime.ports import TaskDelivery, TaskFeed, WorkerFeeds

log = logging.getLogger("dagnats.http")

ACK_WAIT_S = 60.0
"""How long somebody who polled may be silent, where no worker has said so before."""

_LINGER_S = 2.0
_MOST = 256  # of the tasks that one queue is asked for at a time


class Queue(NamedTuple):
    """What can be polled.

    Attributes:
        task_type: Its task type.
        group: The group of workers; "" for the tasks of steps that name none.
    """

    task_type: str
    group: str = ""


class Drawn(NamedTuple):
    """A task that came.

    Attributes:
        queue: Out of which queue.
        delivery: The task.
        ack_wait_s: How long the queue trusts that it is worked on.
    """

    queue: Queue
    delivery: TaskDelivery
    ack_wait_s: float


class Asker:
    """Somebody who waits for tasks."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.drawn: list[Drawn] = []
        self.came = asyncio.Event()

    def give(self, drawn: Drawn) -> None:
        self.room -= 1
        self.drawn.append(drawn)
        self.came.set()


class Tap:
    """One queue, for all who wait for its tasks. Ends by itself when nobody does any more."""

    def __init__(self, queue: Queue, feed: TaskFeed) -> None:
        self._queue = queue
        self._feed = feed
        self._askers: dict[Asker, None] = {}  # who has waited longest comes first
        self._news: asyncio.Future[None] | None = None
        self._take: asyncio.Task[list[TaskDelivery]] | None = None
        self._asked = 0
        self._closing = False
        self.work = asyncio.create_task(self._serve(), name=f"bridge: {queue.task_type}")

    def join(self, asker: Asker) -> bool:
        """Give `asker` what comes, until it leaves. False: it is too late, this one is closing."""
        if self._closing:
            return False
        self._askers[asker] = None
        self._tell()
        return True

    def leave(self, asker: Asker) -> None:
        self._askers.pop(asker, None)
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _serve(self) -> None:
        try:
            while await self._turn():
                pass
        finally:
            self._closing = True
            for asker in self._askers:  # there are none, unless the feed broke
                asker.came.set()
            await self._stop_taking()
            await self._feed.close()

    async def _turn(self) -> bool:
        """Wait for tasks and askers; gives whether to go on."""
        wanted = sum(asker.room for asker in self._askers)
        if wanted and (self._take is None or wanted > self._asked):
            await self._stop_taking()
            self._asked = wanted
            self._take = asyncio.create_task(self._feed.take(wanted), name=f"bridge: take {self._queue.task_type}")
        self._news = asyncio.get_running_loop().create_future()
        waiting = {self._news, self._take} if self._take is not None else {self._news}
        patience = None if self._askers else _LINGER_S
        done, _ = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if self._take is not None and self._take.done():
            taken, self._take = self._take.result(), None
            self._share(taken)
        return bool(done or self._askers)

    async def _stop_taking(self) -> None:
        take, self._take = self._take, None
        if take is None:
            return
        take.cancel()
        await asyncio.wait([take])
        if not take.cancelled() and take.exception() is None:
            self._share(take.result())

    def _share(self, taken: list[TaskDelivery]) -> None:
        for delivery in taken:
            asker = next((each for each in self._askers if each.room > 0), None)
            if asker is None:
                delivery.hand_back()
            else:
                asker.give(Drawn(self._queue, delivery, self._feed.ack_wait_s))


class Taps:
    """All queues that are polled here."""

    def __init__(self, feeds: WorkerFeeds) -> None:
        self._feeds = feeds
        self._taps: dict[Queue, asyncio.Task[Tap]] = {}  # each as it is being opened, or is open

    async def draw(self, queues: Sequence[Queue], room: int, within_s: float) -> tuple[list[Drawn], list[DagnatsError]]:
        """Up to `room` tasks of several queues, as soon as there is one; none when that long has passed.

        Returns:
            The tasks, and why queues could not be opened: the others were asked all the same.

        Raises:
            DagnatsError: None of them could be opened.
        """
        asker = Asker(room)
        taps: list[Tap] = []
        try:
            opened = await asyncio.gather(*(self._joined(queue, asker) for queue in queues), return_exceptions=True)
            taps = [each for each in opened if isinstance(each, Tap)]
            failed = _failures(opened)
            if not taps:
                raise failed[0]
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await asker.came.wait()
        except BaseException:
            for drawn in asker.drawn:
                drawn.delivery.hand_back()
            raise
        finally:
            for tap in taps:
                tap.leave(asker)
        return asker.drawn, failed

    async def close(self) -> None:
        """Open no more, and give back what nobody took."""
        opening = list(self._taps.values())
        for each in opening:
            each.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        works = [each.result().work for each in opening if not each.cancelled() and each.exception() is None]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def _joined(self, queue: Queue, asker: Asker) -> Tap:
        """The queue's tap, with `asker` at it. Raises DagnatsError."""
        while True:
            opening = self._taps.get(queue)
            if opening is None:
                opening = self._taps[queue] = asyncio.create_task(self._open(queue), name=f"bridge: {queue.task_type}")
                opening.add_done_callback(partial(self._forget_failed, queue))
            tap = await asyncio.shield(opening)  # others may be waiting for it, too
            if tap.join(asker):
                return tap
            await asyncio.wait([tap.work])

    async def _open(self, queue: Queue) -> Tap:
        feed = await self._feeds.tasks(queue.task_type, ack_wait_s=ACK_WAIT_S, most=_MOST, group=queue.group)
        tap = Tap(queue, feed)
        tap.work.add_done_callback(partial(self._ended, queue))
        return tap

    def _forget_failed(self, queue: Queue, opening: asyncio.Task[Tap]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._taps.pop(queue, None)

    def _ended(self, queue: Queue, work: asyncio.Task[None]) -> None:
        self._taps.pop(queue, None)
        if not work.cancelled() and (error := work.exception()) is not None:
            log.error("polling task type %s ended unexpectedly", queue.task_type, exc_info=error)


def _failures(opened: Sequence[Tap | BaseException]) -> list[DagnatsError]:
    """Why queues could not be opened. Raises what is no such reason."""
    failed: list[DagnatsError] = []
    for each in opened:
        if isinstance(each, DagnatsError):
            failed.append(each)
        elif isinstance(each, BaseException):
            raise each
    return failed
