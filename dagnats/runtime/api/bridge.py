"""Hands tasks to workers that speak HTTP: what a worker looks at before it runs an attempt is looked at here."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dagnats.errors import DagnatsError, DecodeError
from dagnats.model.trace import step_trace_parent
from dagnats.runtime.api.tap import Taps
from dagnats.runtime.api.ticket import Ticket, sealed
from dagnats.runtime.cancellation import Cancelled
from dagnats.runtime.fence import is_wanted, why_over
from dagnats.runtime.intake import expired, received
from dagnats.runtime.invocation import AttemptFailed, with_whole_input
from dagnats.runtime.poison import bury_task
from dagnats.runtime.report import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagnats.model.task import Task
    from dagnats.runtime.api.tap import Drawn, Queue
    from dagnats.runtime.ports import Connection

log = logging.getLogger("dagnats.http")

_ADMIT_S = 10.0  # then NATS is away: the tasks go back, and come again
_TROUBLE_S = 1.0


class Handed(NamedTuple):
    """A task that was handed out.

    Attributes:
        drawn: How it came.
        task: With all of its input.
        id: Under which it is resolved.
    """

    drawn: Drawn
    task: Task
    id: str

    @property
    def document(self) -> dict[str, Any]:
        """The task as its worker gets it."""
        fields: dict[str, Any] = msgspec.structs.asdict(self.task)
        shown = {name: fields[name] for name in self.task.__struct_fields__ if fields[name] and name not in _OURS}
        wait_ms = int(self.drawn.ack_wait_s * 1_000)
        task = self.task
        shown["traceparent"] = step_trace_parent(task.traceparent, task.run_id, task.step_id, task.attempt)
        return {**shown, "task_id": self.id, "task_type": self.drawn.queue.task_type, "ack_wait_ms": wait_ms}


_OURS = frozenset({"epoch", "consumed", "expires"})  # of what was queued; the id has what is needed of it


class Bridge:
    """The tasks of one server, for whoever asks.

    Args:
        key: What seals the ids of tasks.
    """

    def __init__(self, connection: Connection, key: bytes) -> None:
        self._connection = connection
        self._ports = connection.ports
        self._key = key
        self._taps = Taps(connection.feeds)
        self._cancelled = Cancelled()
        self._stop_listening: Callable[[], None] = connection.feeds.cancellations(self._cancelled.hear)

    async def close(self) -> None:
        """Hand out nothing more."""
        self._stop_listening()
        await self._taps.close()

    async def poll(
        self, queues: Sequence[Queue], room: int, within_s: float, worker_id: str
    ) -> tuple[list[Handed], list[DagnatsError]]:
        """Up to `room` tasks, as soon as there is one; none when that long has passed.

        Whoever asks and goes away before the answer loses nothing: what was drawn for it goes back.

        Returns:
            The tasks, begun; and why some of the queues could not be asked.

        Raises:
            DagnatsError: None of the queues could be.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + within_s
        while True:
            drawn, failed = await self._taps.draw(queues, room, max(ends - loop.time(), 0))
            handed = await self._admitted(drawn, worker_id)
            if handed or not drawn or loop.time() >= ends:
                return handed, failed

    async def _admitted(self, drawn: Sequence[Drawn], worker_id: str) -> list[Handed]:
        admissions = [_Admission(self._connection, self._cancelled, each, worker_id) for each in drawn]
        try:
            await asyncio.gather(*(each.decide() for each in admissions))
        except BaseException:
            for each in admissions:
                each.take_back()
            raise
        return [Handed(each.drawn, task, self._id(each, task)) for each in admissions if (task := each.task)]

    def _id(self, admission: _Admission, task: Task) -> str:
        drawn = admission.drawn
        ticket = Ticket(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt=task.attempt,
            epoch=task.epoch,
            address=drawn.delivery.address,
            ack_wait_ms=int(drawn.ack_wait_s * 1_000),
            heartbeat_ms=task.heartbeat_ms,
            task_type=drawn.queue.task_type,
            worker_id=admission.worker_id,
            iteration=task.iteration,
            traceparent=task.traceparent,
        )
        return sealed(ticket, self._key)


class _Admission:
    """Decides about one task that came.

    Attributes:
        task: What is handed out, once that is decided; None for nothing.
    """

    def __init__(self, connection: Connection, cancelled: Cancelled, drawn: Drawn, worker_id: str) -> None:
        self.drawn = drawn
        self.worker_id = worker_id
        self.task: Task | None = None
        self._ports = connection.ports
        self._cancelled = cancelled
        self._report = Reporter(connection.ports, worker_id)
        self._begun: Task | None = None
        self._settled = False

    async def decide(self) -> None:
        """Begin the attempt, or settle what there is to settle without it."""
        delivery = self.drawn.delivery
        try:
            async with asyncio.timeout(_ADMIT_S):
                self.task = await self._looked_at()
        except (DagnatsError, TimeoutError) as error:
            log.warning("a task of %s is not handed out, and comes again: %s", self.drawn.queue.task_type, error)
            self._settled = True
            delivery.hand_back(_TROUBLE_S)
            return
        if self.task is None:
            self._settled = True
            delivery.acknowledge()

    async def _looked_at(self) -> Task | None:
        """The task with its input, begun; None when it is not to be run."""
        delivery = self.drawn.delivery
        task = received(delivery)
        if isinstance(task, DecodeError):
            await bury_task(self._ports, self.drawn.queue.task_type, delivery, task)
            return None
        now_ns = self._ports.clock.now_ns()
        if expired(task, delivery.deliveries, now_ns):
            return None
        if self._cancelled.has(task) and not await is_wanted(self._ports, task):
            return None
        if await why_over(self._ports, task) or await self._report.gave_up(task, delivery.deliveries):
            return None
        try:
            task = await with_whole_input(self._ports, task)
        except AttemptFailed as failed:
            await self._report.failed(task, failed.failure)
            return None
        self._begun = task
        await self._report.begun(task)
        return task

    def take_back(self) -> None:
        """Nobody is there to get it."""
        if self._settled:
            return
        if self._begun is not None:
            self._report.given_back(self._begun)
        self.drawn.delivery.hand_back()
