"""The way out of the engine: what it concludes from the server's answers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dagnats.runtime.outbox import Outbox
from dagnats.runtime.ports import LogCut


class Queue:
    """A task queue that ends at `end`, in a world that has moved on by the time it says so."""

    def __init__(self, end: int) -> None:
        self.tasks = self
        self.end = end
        self.outbox = outbox(self)

    async def last(self) -> int:
        self.outbox.newest_task += 1
        return self.end


def outbox(ports: object) -> Outbox:
    nothing = cast("Any", None)
    return Outbox(
        cast("Any", ports),
        nothing,
        aside=nothing,
        errands=nothing,
        correlator=nothing,
        check=lambda: None,
        window_s=30,
        carriers=nothing,
    )


async def test_tasks_that_are_stored_while_the_queue_is_asked_are_not_missed_in_it() -> None:
    queue = Queue(end=7)
    queue.outbox.newest_task = 7
    await queue.outbox.check_tasks()


async def test_a_queue_that_ends_before_a_task_that_it_had_taken_has_lost_its_tail() -> None:
    queue = Queue(end=6)
    queue.outbox.newest_task = 7
    with pytest.raises(LogCut, match="ends at 6; it had taken task 7"):
        await queue.outbox.check_tasks()
