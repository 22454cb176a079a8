"""Queues of tasks, and tasks in the hands of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from dagnats.runtime.ports.log import Receipt


class OwnTask(NamedTuple):
    """A task that is for one worker alone.

    Attributes:
        worker_id: For whom.
        task_type: Its type.
        run_id, step_id, attempt: What it is.
    """

    worker_id: str
    task_type: str
    run_id: str
    step_id: str
    attempt: int


class TaskQueue(Protocol):
    """Where tasks wait for workers."""

    def put(
        self, task_type: str, run_id: str, data: bytes, *, id: str, group: str = "", within_s: float | None = None
    ) -> Awaitable[Receipt]:
        """Queue a task, for one group of workers if it says so.

        Awaiting it raises RefusedError when the queue will never take it.
        """
        ...

    async def drop(self, task_type: str, run_id: str, *, upto: int) -> None:
        """Forget a run's tasks of one type, of all groups, up to sequence `upto`: nobody waits for them any more.

        It may be late. What has been queued since belongs to the same run, opened again.
        """
        ...

    def put_own(self, task: OwnTask, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        """Queue a task for one worker alone. The receipt's sequence is not one of the other tasks'."""
        ...

    async def drop_own(self, task: OwnTask) -> None:
        """Forget a task that is for one worker alone; one that is not there is fine. Whoever has it keeps it."""
        ...

    async def drop_all_own(self, task_type: str, run_id: str) -> None:
        """Forget all tasks of a type and a run that are for one worker alone. The name is nobody's any more."""
        ...

    async def waiting(self, task_type: str, run_id: str, *, group: str = "") -> list[bytes]:
        """A run's tasks of one type and group that are queued, or in the hands of a worker that has not acknowledged
        them. Without a group, those that are for one worker alone are among them."""
        ...

    async def page(self, *, after: int, count: int, own: bool = False) -> list[Queued]:
        """Up to `count` tasks of all types behind sequence `after`, in order, whether a worker has them or not: those
        that are for one worker alone, or all others."""
        ...

    async def remove(self, seq: int, time_ns: int, *, own: bool = False) -> None:
        """Forget one task of a `page`, whether a worker has it or not.

        One that is not there is fine. Another one that has been given its place since, as its time says, stays.

        Raises:
            UnavailableError: NATS did not answer, or the connection was lost. It may be there still.
        """
        ...

    async def shut(self, task_types: Sequence[str]) -> None:
        """Hand out no tasks of these types until further notice, and those of all other types again."""
        ...

    async def forget(self, task_type: str) -> None:
        """Have no queue of this type any more: nobody serves it, nor will. One that is not there is fine."""
        ...

    async def last(self) -> int:
        """The sequence of the newest task that was ever queued; 0 when there was none."""
        ...

    async def fill(self) -> Fill:
        """How much is in all queues together."""
        ...

    async def overview(self) -> list[QueueState]:
        """Every queue that has tasks, or had workers, by name."""
        ...

    def cancel(self, run_id: str, data: bytes) -> None:
        """Tell all workers to stop what they do for a run. Sent once, not stored: nothing depends on it."""
        ...

    def held(self, address: str) -> HeldTask:
        """The task that was handed out under `TaskDelivery.address`, to this connection or another one."""
        ...


class Fill(NamedTuple):
    """How full the queues are.

    Attributes:
        tasks: How many tasks there are, whether a worker has them or not.
        share: How much of what the server lets them take is taken, from 0 to 1; 0 when it sets no bounds.
    """

    tasks: int
    share: float


class Queued(NamedTuple):
    """A task as it lies in its queue.

    Attributes:
        seq: Its place.
        run_id: Whose it is, as the subject says; "" of a task for one worker alone, whose subject has as many words as
            its step.
        data: Its bytes.
        time_ns: When it was stored, by the server's clock.
    """

    seq: int
    run_id: str
    data: bytes
    time_ns: int


class QueueState(NamedTuple):
    """The queue of one task type.

    Attributes:
        name: The task type; with the group of workers behind a dot, where a step names one.
        waiting: Tasks nobody has.
        in_flight: Tasks that workers have.
        redelivered: Of these, the ones handed out more than once.
        ack_wait_s: How long a worker may be silent; 0 when no worker was ever there.
        pulls: How many requests of workers for more tasks are open.
        oldest_ns: The server's time for the oldest task that is not done; 0 when there is none.
    """

    name: str
    waiting: int
    in_flight: int
    redelivered: int
    ack_wait_s: float
    pulls: int
    oldest_ns: int


class HeldTask(Protocol):
    """A task somebody has, until it is acknowledged or handed back.

    What is said to the queue may be lost with a connection: then the task comes again, to this worker or another.
    """

    def acknowledge(self) -> None:
        """The result is stored: the task is done with."""
        ...

    def keep(self) -> None:
        """Still working on it: do not hand it to anybody else yet."""
        ...

    def hand_back(self, delay_s: float = 0.0) -> None:
        """Somebody else should do it, `delay_s` from now."""
        ...


class TaskDelivery(HeldTask, Protocol):
    """A task handed to this worker."""

    @property
    def run_id(self) -> str:
        """The run, as the subject names it: readable even when the bytes are not."""
        ...

    @property
    def data(self) -> bytes: ...

    @property
    def deliveries(self) -> int:
        """How often this task was handed out, this time included."""
        ...

    @property
    def address(self) -> str:
        """What finds it again from any other connection, for as long as it is held: see `TaskQueue.held`. No two
        deliveries have the same."""
        ...


class TaskFeed(Protocol):
    """The tasks of one type, as a worker pulls them."""

    @property
    def ack_wait_s(self) -> float:
        """How long a worker may be silent about a task before another one gets it: the queue's own setting."""
        ...

    async def take(self, room: int) -> list[TaskDelivery]:
        """Up to `room` tasks, at least one; waits for them. One call at a time."""
        ...

    async def open_own(self, worker_id: str) -> None:
        """Give the tasks that are for this worker alone too, from now on and before all others."""
        ...

    def hand_back(self) -> None:
        """Give back the tasks that arrived and were not taken yet."""
        ...

    async def close(self) -> None:
        """Stop pulling. Tasks that were pulled and not taken go back to the queue."""
        ...


LOOK_S = 0.25
"""How often a keeper looks whether the event loop still goes round."""


class TaskKeeper(Protocol):
    """Tells the queue that tasks are being worked on, whatever their handlers do to the event loop."""

    async def close(self) -> None:
        """Keep nothing more."""
        ...
