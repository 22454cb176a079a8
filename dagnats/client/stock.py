"""What lies outside the histories: tasks, wake-ups, waiters, places at gates. All of it at one look."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import DecodeError
from dagnats.model.task import decode_task
from dagnats.model.waiter import Waiter, decode_waiter
from dagnats.runtime.limit import gate_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagnats.runtime.core.gate.book import Page, RunTicket, TaskTicket
    from dagnats.runtime.ports import Outstanding, Ports

_PAGE = 1_000

Attempt = tuple[str, int]
"""(step id, attempt)."""


class Goods(NamedTuple):
    """What is there of one run.

    Attributes:
        tasks: Places in the task queue, each with the time of what lies there, by attempt.
        wakeups: Stored ones.
        waiters: Stored ones, by attempt.
        tickets: Its attempts' places at gates.
        ticket: Its own place at its workflow's gate.
    """

    tasks: Mapping[Attempt, Sequence[tuple[int, int]]]
    wakeups: Sequence[Outstanding]
    waiters: Mapping[Attempt, Waiter]
    tickets: Sequence[TaskTicket]
    ticket: RunTicket | None


class Stock:
    """All there is, read after the engine's position: of an event before that, all that it led to is here.

    Attributes:
        acted: The engine's stored position; -1 while it makes everything anew.
        page: The gates' entries as of that.
    """

    def __init__(self, acted: int, page: Page) -> None:
        self.acted = acted
        self.page = page
        self._tasks: dict[str, dict[Attempt, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        self._wakeups: dict[str, list[Outstanding]] = defaultdict(list)
        self._waiters: dict[str, dict[Attempt, Waiter]] = defaultdict(dict)
        self._tickets: dict[str, list[TaskTicket]] = defaultdict(list)
        for ticket in page.tasks.values():
            if ticket is not None:
                self._tickets[ticket.run_id].append(ticket)

    @classmethod
    async def read(cls, ports: Ports) -> Stock:
        """Look at everything."""
        position, page = await gate_page(ports)
        stock = cls(-1 if position.anew else position.seq, page)
        await stock._read_tasks(ports)
        for wakeup in await ports.timers.all():
            stock._wakeups[wakeup.run_id].append(wakeup)
        for data in await ports.waiters.all():
            with suppress(DecodeError):
                waiter = decode_waiter(data)
                stock._waiters[waiter.run_id][waiter.step_id, waiter.attempt] = waiter
        return stock

    async def _read_tasks(self, ports: Ports) -> None:
        after = 0
        while queued := await ports.tasks.page(after=after, count=_PAGE):
            for each in queued:
                with suppress(DecodeError):  # what is no task fails its run when a worker gets it
                    task = decode_task(each.data)
                    self._tasks[each.run_id][task.step_id, task.attempt].append((each.seq, each.time_ns))
            after = queued[-1].seq

    def of(self, run_id: str) -> Goods:
        """What is there of a run."""
        return Goods(
            self._tasks.get(run_id, {}),
            self._wakeups.get(run_id, ()),
            self._waiters.get(run_id, {}),
            self._tickets.get(run_id, ()),
            self.page.runs.get(run_id),
        )

    @property
    def run_ids(self) -> set[str]:
        """The runs of which something is there."""
        return {*self._tasks, *self._wakeups, *self._waiters, *self._tickets, *self.page.runs}
