"""Shows what the gates hold, and which runs are to begin later, in buckets, for people with the `nats` tool. Nothing is
decided by it: the log is what counts.

Written is the difference, once a second at most, and only when something was decided. Who begins to lead compares with
what an engine before left there: so what is shown is right again a second after a crash. Of runs that begin later
nobody keeps a list, and who leads does not have all of them in memory: what was shown before is looked up and shown on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError
from dagnats.model.identifier import worker_token
from dagnats.model.instant import rfc3339
from dagnats.model.json import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagnats.runtime.core.gate.fold import Gates, Tally
    from dagnats.runtime.ports import Board, Log, Shown
    from dagnats.runtime.schedule import Schedule

log = logging.getLogger("dagnats.engine")

EVERY_S = 1.0
SCHEDULED = "scheduled_runs"


class Display:
    """Keeps the board as the gates and the schedule are.

    Args:
        log: Says what became of runs that an engine before us has shown.
        check: Raises LeaseLost when the engine may not lead any more.
        decided: The last event that is decided.
    """

    def __init__(
        self,
        board: Board,
        gates: Gates,
        schedule: Schedule,
        log: Log,
        *,
        check: Callable[[], None],
        decided: Callable[[], int],
        every_s: float = EVERY_S,
    ) -> None:
        self._board = board
        self._gates = gates
        self._schedule = schedule
        self._log = log
        self._check = check
        self._decided = decided
        self._every_s = every_s
        self._known: Shown | None = None

    async def keep(self) -> None:
        """Show, until cancelled. Raises LeaseLost."""
        seen = -1
        while True:
            decided = self._decided()
            if decided != seen:
                try:
                    await self._show()
                    seen = decided
                except DagnatsError as error:  # nothing depends on it
                    log.warning("what the gates hold cannot be shown: %s", error)
                    self._known = None
            await asyncio.sleep(self._every_s)

    async def _show(self) -> None:
        if self._known is None:
            known = await self._board.all()
            await self._adopt(known)
            self._known = known
        wanted = dict(lines_of(self._gates.tally())) | dict(appointments_of(self._schedule))
        for place in [place for place in self._known if place not in wanted]:
            self._check()
            await self._board.drop(*place)
            del self._known[place]
        for place, data in wanted.items():
            if self._known.get(place) != data:
                self._check()
                await self._board.put(*place, data)
                self._known[place] = data

    async def _adopt(self, shown: Shown) -> None:
        for _, run_id in [place for place in shown if place[0] == SCHEDULED]:
            newest = await self._log.newest(run_id)
            if newest is not None:
                self._schedule.adopt(newest)


def appointments_of(schedule: Schedule) -> Iterator[tuple[tuple[str, str], bytes]]:
    """What is shown of runs that are to begin later: bucket and key, and the value."""
    for run_id, workflow, run_at_ns, created_ns in schedule:
        line = {
            "run_id": run_id,
            "workflow_id": workflow,
            "run_at": rfc3339(run_at_ns),
            "created_at": rfc3339(created_ns),
            "status": "scheduled",
        }
        yield (SCHEDULED, run_id), compact(line)


def lines_of(tally: Tally) -> Iterator[tuple[tuple[str, str], bytes]]:
    """What is shown: bucket and key, and the value."""
    for task, out, waiting in tally.tasks:
        yield ("concurrency_tasks", f"task.{task}"), compact({"in_flight": out, "waiting": waiting})
    for (workflow, key), out, waiting in tally.runs:
        yield ("concurrency_runs", f"workflow.{_key(workflow, key)}"), compact({"active": out, "waiting": waiting})
    for name, full_ns in tally.buckets:
        task, _, key = name.partition("/")
        yield ("rate_limits", _key(task, key or "_global")), compact({"full_at": rfc3339(full_ns)})
    for name, run_id in tally.singletons:
        workflow, _, key = name.partition("/")
        yield ("singleton_locks", _key(workflow, key)), compact({"run_id": run_id})


def _key(name: str, value: str) -> str:
    """A name, and a value from a run's input, which may have what a key cannot."""
    return f"{name}.{worker_token(value)}" if value else name
