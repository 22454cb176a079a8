"""Retention: runs that ended long ago leave, each with everything of its own.

Nothing lists the runs by their end. But the log is in the order in which they started, and runs leave from its front:
so what is old lies there, and little else. A term of leading walks it once, from the front as far as it is old, and
remembers the runs that stay.

A removal is announced in the log before it begins, and the history of a run goes last. So whoever leads next finds
what was announced and not finished, and finishes it. It is finished by the names and places that were announced: a run
that has taken an old name since is not touched.

Where the store is full to the brim, nothing can be announced: then room is made first. Whoever dies in between leaves a
run that is over, or lists that have one too many.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from dagnats.errors import DagnatsError, DecodeError
from dagnats.model.audit import AUDIT
from dagnats.model.event import WorkflowStarted
from dagnats.model.identifier import is_reserved
from dagnats.model.instant import rfc3339
from dagnats.model.ops import TICKS
from dagnats.model.removal import RETENTION, Removal, decode_removal, encode_removal
from dagnats.runtime.blob import filled
from dagnats.runtime.core.advance import fold
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.patience import persist
from dagnats.runtime.position import decode_position
from dagnats.runtime.recall import recall
from dagnats.runtime.record import decoded
from dagnats.runtime.room import BRIMFUL, TIGHT, used
from dagnats.runtime.version import collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import Ports, Receipt
    from dagnats.runtime.recall import Recalled

log = logging.getLogger("dagnats.engine")

_SECOND = 1_000_000_000
_DAY = 24 * 3600 * _SECOND
EVERY_S = 60.0
_PAGE = 64
_MOST_LOOKS = 1_000  # at runs that stayed before, in one pass
_MOST_GONE = 100  # in one announcement
_AT_ONCE = 8
_PATIENCE_S = 5.0  # with one try to announce something: between tries it is looked at who leads
_REST_S = 0.05  # between announcements: live runs come first
_ORPHANS_EVERY_NS = 3600 * _SECOND
_VERSIONS_EVERY_NS = 6 * 3600 * _SECOND
_AUDITED_NS = 90 * _DAY
_MOST_GRAPHS = 100
_EARLY = 10  # one of so many ended runs leaves in each pass, for as long as it is so


@dataclass(frozen=True, slots=True)
class Keep:
    """How long ended runs are kept: until either limit is reached, or the store has no room for them.

    Attributes:
        age: Since they ended; None for no limit.
        runs: How many of them, the last started ones; None for no limit.
    """

    age: timedelta | None = timedelta(days=30)
    runs: int | None = 1_000_000


KEEP = Keep()


class _Over(NamedTuple):
    """A run that is over: when it ended, and its last event."""

    run_id: str
    ended_ns: int
    last: int


class Retention:
    """Removes ended runs, for the engine that leads.

    Args:
        check: Raises when another engine leads.
        now_ns: The server's time.
    """

    def __init__(self, ports: Ports, keep: Keep, *, check: Callable[[], None], now_ns: Callable[[], int]) -> None:
        self._ports = ports
        self._keep = keep
        self._check = check
        self._now_ns = now_ns
        self._walked = 0
        self._staying: dict[str, None] = {}  # runs that the walk has met and that are not removed
        self._graphs: dict[str, Graph] = {}
        self._announced = 0
        self._spent = 0  # an announcement that is old
        self._is_finished = False
        self._orphans_at_ns = self._versions_at_ns = 0

    async def run(self) -> None:
        """Remove what is due, from time to time, until cancelled."""
        while True:
            try:
                await self.sweep()
                await self.collect()
            except DagnatsError as error:
                log.warning("removing old runs: %s", error)
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> int:
        """Remove what is due now; gives how many runs."""
        if not self._is_finished:
            await self._finish()
        age = self._keep.age
        old_ns = self._now_ns() - int(age.total_seconds() * _SECOND) if age is not None else 0
        position = await self._ports.position.read()
        known = decode_position(position.data) if position is not None else None
        if known is None:  # nothing is decided yet
            return 0
        count = await self._sweep(old_ns, known.low, await self._excess(known.active))
        await self._forget_announcements()
        await self._forget_ticks(known.seq)
        await self._sweep_orphans()
        return count

    async def remove(self, run_ids: Sequence[str]) -> list[str]:
        """Remove those of some runs that are over, and whose end is stored; gives which."""
        position = await persist(self._ports.position.read)
        known = decode_position(position.data) if position is not None else None
        over = await self._over(run_ids, known.low) if known is not None else []
        await self._remove(over)
        return [each.run_id for each in over]

    async def _excess(self, active: int) -> int:
        """How many runs are to leave whatever their age: there are too many, or they leave no room for others."""
        holding = await self._ports.server.holding()
        is_tight = holding.share >= TIGHT
        if self._keep.runs is None and not is_tight:
            return 0
        ended = max((await self._ports.server.overview()).runs - active, 0)
        excess = max(ended - self._keep.runs, 0) if self._keep.runs is not None else 0
        if is_tight and ended > excess:
            excess = max(excess, ended // _EARLY + 1)
            log.warning("%s: %d runs that have ended leave early", used(holding), excess)
        return excess

    async def _sweep(self, old_ns: int, low: int, excess: int) -> int:
        count = 0
        looked = list(self._staying)[:_MOST_LOOKS]
        for run_id in looked:  # behind those whose turn is next time
            self._staying[run_id] = self._staying.pop(run_id)
        while True:
            gone: list[_Over] = []
            for over in await self._over(looked, low):
                if over.ended_ns < old_ns or excess > count:
                    gone.append(over)
                    count += 1
            await self._remove(gone)
            looked = await self._walk(old_ns, low, is_more=excess > count)
            if not looked:
                return count

    async def _walk(self, old_ns: int, low: int, *, is_more: bool) -> list[str]:
        """The runs on the next page of the log that were not met before; none at the end of what is old."""
        while True:
            page = await persist(lambda: self._ports.log.page(after=self._walked, count=_PAGE))
            due = [entry for entry in page if entry.seq < low and (is_more or entry.time_ns < old_ns)]
            if not due:
                return []
            self._walked = due[-1].seq
            self._spent = max(
                (entry.seq for entry in due if entry.run_id == RETENTION and entry.time_ns < old_ns),
                default=self._spent,
            )
            new = dict.fromkeys(entry.run_id for entry in due if not is_reserved(entry.run_id))
            met = [run_id for run_id in new if run_id not in self._staying]
            self._staying.update(dict.fromkeys(met))
            if met:
                return met

    # -- which runs are over ---------------------------------------------------------------------------------

    async def _over(self, run_ids: Iterable[str], low: int) -> list[_Over]:
        """Those of some runs that are over, with all their events before event `low`, in the same order."""
        room = asyncio.Semaphore(_AT_ONCE)

        async def judge(run_id: str) -> _Over | None:
            async with room:
                return await self._judge(run_id, low)

        return [over for over in await asyncio.gather(*map(judge, run_ids)) if over is not None]

    async def _judge(self, run_id: str, low: int) -> _Over | None:
        recalled = await persist(lambda: recall(self._ports, run_id))
        if not recalled.last:
            self._staying.pop(run_id, None)
            return None
        if recalled.last >= low:  # an engine may have something of it that is not stored
            return None
        if recalled.run is None and not any(isinstance(each.event, WorkflowStarted) for each in recalled.later):
            return await self._headless(run_id, recalled.last)
        try:
            run = await self._folded(recalled)
        except Exception:  # noqa: BLE001  # it is parked: somebody has to look at it
            return None
        return _Over(run_id, run.ended_ns, recalled.last) if run is not None and run.ended else None

    async def _headless(self, run_id: str, last: int) -> _Over | None:
        """Late news of a run that was removed. A start that was lost is repeated sooner than in a day."""
        entry = await persist(lambda: self._ports.log.at(last))
        if entry is None or entry.time_ns > self._now_ns() - _DAY:
            return None
        return _Over(run_id, entry.time_ns, last)

    async def _folded(self, recalled: Recalled) -> Run | None:
        run, later = recalled.run, recalled.later
        if run is not None and not later:
            return run
        if run is not None:
            graph = await self._graph(run.workflow_id, run.def_hash)
        else:
            start = next(each.event.payload for each in later if isinstance(each.event, WorkflowStarted))
            graph = await self._graph(start.workflow, start.def_hash)
        return fold(graph, [await filled(self._ports, graph, record) for record in later], run)

    async def _graph(self, name: str, identity: str) -> Graph:
        if identity not in self._graphs:
            if len(self._graphs) >= _MOST_GRAPHS:
                self._graphs.clear()
            data = await persist(lambda: self._ports.definitions.version(name, identity))
            self._graphs[identity] = graph_of(name, identity, data)
        return self._graphs[identity]

    # -- removing --------------------------------------------------------------------------------------------

    async def _remove(self, gone: Sequence[_Over]) -> None:
        for at in range(0, len(gone), _MOST_GONE):
            runs = tuple((over.run_id, over.last) for over in gone[at : at + _MOST_GONE])
            if (await persist(self._ports.server.holding)).share >= BRIMFUL:
                await self._clear_all(runs)  # there is no room to announce it before there is some
            receipt = await persist(partial(self._announce, runs))
            self._announced, self._is_finished = receipt.seq, False
            await self._clear_all(runs)
            self._is_finished = True
            log.info("%d ended runs were removed", len(runs))
            await asyncio.sleep(_REST_S)

    async def _announce(self, runs: tuple[tuple[str, int], ...]) -> Receipt:
        """Say in the log which runs are removed now. Raises when another engine leads."""
        self._check()
        data = encode_removal(Removal(timestamp=rfc3339(self._now_ns()), runs=runs))
        first, last = runs[0]
        return await self._ports.log.append(RETENTION, data, id=f"{RETENTION}.{first}.{last}", within_s=_PATIENCE_S)

    async def _finish(self) -> None:
        """Remove what was announced last, by whoever led then, as far as it is still there."""
        entry = await persist(lambda: self._ports.log.newest(RETENTION))
        if entry is not None:
            self._announced = entry.seq
            try:
                removal = decode_removal(entry.data)
            except DecodeError as error:
                log.error("what was said last about removed runs cannot be read: %s", error)
            else:
                await self._clear_all(removal.runs)
        self._is_finished = True

    async def _clear_all(self, runs: Iterable[tuple[str, int]]) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def clear(run_id: str, last: int) -> None:
            async with room:
                await self._clear(run_id, last)

        await asyncio.gather(*(clear(run_id, last) for run_id, last in runs))

    async def _clear(self, run_id: str, last: int) -> None:
        """Remove a run whose last event is `last`: everything else first, its history at the end."""
        ports = self._ports
        newest_task = await persist(ports.tasks.last)  # before we look: who takes the name now queues behind it
        first = await persist(lambda: ports.log.first(run_id))
        if first and first <= last:
            await persist(lambda: ports.snapshots.remove(run_id))
            await persist(lambda: ports.blobs.remove(run_id))
            await persist(lambda: ports.signals.remove(run_id))
            await persist(lambda: ports.waiters.remove(run_id))
            await persist(lambda: ports.checkpoints.remove(run_id))
            await persist(lambda: ports.pulses.remove(run_id))
            await persist(lambda: ports.chunks.remove(run_id))
            task_types, is_sticky = await self._queues(first)
            for task_type in task_types:
                await persist(partial(ports.tasks.drop, task_type, run_id, upto=newest_task))
                if is_sticky:
                    await persist(partial(ports.tasks.drop_all_own, task_type, run_id))
            await persist(lambda: ports.log.remove(run_id, upto=last))
        self._staying.pop(run_id, None)

    async def _queues(self, first: int) -> tuple[set[str], bool]:
        """The task types that a run may have left something of, and whether workers' own queues have it too, by the
        run's first event."""
        entry = await persist(lambda: self._ports.log.at(first))
        starts = [record.event for record in decoded([entry] if entry is not None else [])]
        for start in starts:
            if isinstance(start, WorkflowStarted):
                graph = await self._graph(start.payload.workflow, start.payload.def_hash)
                return {node.task for node in graph.nodes.values() if node.task}, graph.sticky != ""
        return set(), False

    async def _forget_announcements(self) -> None:
        """Announcements are kept as long as runs are; but the newest one, which may not be finished, longer."""
        if 0 < self._spent < self._announced:
            await persist(lambda: self._ports.log.remove(RETENTION, upto=self._spent))
            self._spent = 0

    async def _forget_ticks(self, upto: int) -> None:
        """That time has passed for the gates is known once it is decided: what comes later says it as well."""
        if 0 < await persist(lambda: self._ports.log.first(TICKS)) <= upto:
            await persist(lambda: self._ports.log.remove(TICKS, upto=upto))

    # -- what nobody needs -----------------------------------------------------------------------------

    async def _sweep_orphans(self) -> None:
        """Remove payloads that were stored for starts that never came."""
        now_ns = self._now_ns()
        if now_ns < self._orphans_at_ns:
            return
        self._orphans_at_ns = now_ns + _ORPHANS_EVERY_NS
        for run_id in await persist(self._ports.blobs.run_ids):
            if not await persist(lambda run_id=run_id: self._ports.log.first(run_id)):
                newest_ns = await persist(lambda run_id=run_id: self._ports.blobs.newest_ns(run_id))
                if newest_ns < now_ns - _DAY:
                    await persist(lambda run_id=run_id: self._ports.blobs.remove(run_id))

    async def collect(self) -> None:
        """Remove the versions that no run can need, and what was audited long ago, if that is due again."""
        now_ns = self._now_ns()
        if now_ns >= self._versions_at_ns:
            self._versions_at_ns = now_ns + _VERSIONS_EVERY_NS
            await collect(self._ports, now_ns=now_ns)
            await self._forget_audit(now_ns)

    async def _forget_audit(self, now_ns: int) -> None:
        """What runs have asked of the control plane is kept for so long, whoever has asked."""
        entries = await persist(lambda: self._ports.log.read(AUDIT))
        old = [entry.seq for entry in entries if entry.time_ns < now_ns - _AUDITED_NS]
        if old:
            await persist(lambda: self._ports.log.remove(AUDIT, upto=old[-1]))
