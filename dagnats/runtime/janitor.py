"""Takes out of the queues what nobody waits for: tasks of attempts that are over, or of runs that the log has no more,
and that no worker has dropped.

A worker that gets one of these drops it. But a type that no worker serves keeps what was given up for as long as its
run lives, what was for one worker alone stays when that worker is gone, and an engine that dies may leave what it was
about to take out of the queues of a run that ended. And in which queues a run has something is not known any more when
the log has lost its start: what is left of its history leaves without. All of it is counted as work that waits.

So the queues are walked, a stretch at a time and round and round: what stays is old, and lies in front. An attempt that
is over stays over, whatever comes: what is found so once can be taken out later.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError, DecodeError
from dagnats.model.identifier import is_run_id
from dagnats.model.task import decode_task
from dagnats.runtime.core.attempt import is_over
from dagnats.runtime.decider import Decider
from dagnats.runtime.patience import persist
from dagnats.runtime.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagnats.model.run import Run
    from dagnats.runtime.ports import Ports, Queued

log = logging.getLogger("dagnats.engine")

EVERY_S = 30.0
_PAGE = 100  # a task may have a quarter of a megabyte
_PAGES = 10  # of each stream, in one walk
_AT_ONCE = 16
_REST_S = 0.005  # after each page: what goes on comes first
_ALL = 2**63
_OLD_NS = 24 * 3600 * 1_000_000_000  # a start that was lost is repeated sooner, and its task taken for the one there


class Janitor:
    """Walks the queues while its engine leads.

    Args:
        live: The runs that the engine has in memory.
        check: Raises LeaseLost when it may not lead any more: asked after a page was read, so that what another engine
            has queued since is not on it.
        now_ns: The server's time.
    """

    def __init__(
        self,
        ports: Ports,
        live: Roster,
        *,
        check: Callable[[], None],
        now_ns: Callable[[], int],
        every_s: float = EVERY_S,
    ) -> None:
        self._ports = ports
        self._live = live
        self._check = check
        self._now_ns = now_ns
        self._every_s = every_s
        self._roster = Roster(now=asyncio.get_running_loop().time)
        self._decider = Decider(ports, self._roster)  # for the others, in a memory of its own
        self._after = {False: 0, True: 0}

    async def keep(self) -> None:
        """Walk, until cancelled. Raises LeaseLost."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                for own in self._after:
                    await self._walk(own=own)
            except DagnatsError as error:  # nothing depends on it
                log.warning("tasks that nobody waits for were not looked for: %s", error)

    async def _walk(self, *, own: bool) -> None:
        for _ in range(_PAGES):
            page = await self._ports.tasks.page(after=self._after[own], count=_PAGE, own=own)
            if not page:
                self._after[own] = 0
                return
            over = await self._over(page)
            self._check()
            await asyncio.gather(*(self._ports.tasks.remove(each.seq, each.time_ns, own=own) for each in over))
            if over:
                log.info("%d tasks that nobody waits for were taken out of their queues", len(over))
            self._after[own] = page[-1].seq
            await asyncio.sleep(_REST_S)

    async def _over(self, page: Iterable[Queued]) -> list[Queued]:
        """Those tasks whose attempts are over, or whose runs are gone."""
        tasks: dict[str, list[tuple[Queued, str, int]]] = defaultdict(list)
        for queued in page:
            try:
                task = decode_task(queued.data)
            except DecodeError:  # what is no task fails its run when a worker gets it
                continue
            if queued.run_id in ("", task.run_id):
                tasks[task.run_id].append((queued, task.step_id, task.attempt))
        runs = await self._runs(list(tasks))
        over = [
            queued
            for run_id, run in runs.items()
            for queued, step_id, attempt in tasks[run_id]
            if is_over(run, step_id, attempt)
        ]
        for run_id in tasks:
            if run_id not in runs and is_run_id(run_id):
                over += await self._gone(run_id, [queued for queued, _, _ in tasks[run_id]])
        return over

    async def _gone(self, run_id: str, tasks: Iterable[Queued]) -> list[Queued]:
        """The old ones, when the log has nothing of their run."""
        old_ns = self._now_ns() - _OLD_NS
        old = [queued for queued in tasks if queued.time_ns < old_ns]
        return old if old and await persist(lambda: self._ports.log.newest(run_id)) is None else []

    async def _runs(self, run_ids: Sequence[str]) -> dict[str, Run]:
        """The runs as they are now; without those that cannot be folded, or are not in the log."""
        away = [run_id for run_id in run_ids if self._live.seat(run_id) is None]
        for at in range(0, len(away), _AT_ONCE):
            await asyncio.gather(*(self._decider.have(run_id, before=_ALL) for run_id in away[at : at + _AT_ONCE]))
        seats = {run_id: self._live.seat(run_id) or self._roster.seat(run_id) for run_id in run_ids}
        found = {run_id: seat.run for run_id, seat in seats.items() if seat is not None}
        self._roster.clear()
        self._decider.clear()
        self._decider.tidy()
        return found
