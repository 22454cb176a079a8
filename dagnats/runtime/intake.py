"""What a worker looks at before it takes a task on: whether it can be read, and whether it comes in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import DecodeError
from dagnats.model.task import Task, decode_task

if TYPE_CHECKING:
    from dagnats.runtime.ports import TaskDelivery

# A worker whose clock is ahead would drop tasks that are in time, and the engine would then fail them for waiting.
_CLOCKS_DIFFER_MS = 1_000


def received(delivery: TaskDelivery) -> Task | DecodeError:
    """The task that was delivered, or why it cannot be read."""
    try:
        task = decode_task(delivery.data)
    except DecodeError as error:
        return error
    if task.run_id != delivery.run_id:
        return DecodeError(f"a task of run {task.run_id!r} in the queue of run {delivery.run_id!r}")
    return task


def expired(task: Task, deliveries: int, now_ns: int) -> bool:
    """Whether a task came so late that the engine has given the attempt up.

    Only a first delivery can be late: of later ones, another worker may have begun in time.
    """
    return 0 < task.expires < now_ns // 1_000_000 - _CLOCKS_DIFFER_MS and deliveries == 1
