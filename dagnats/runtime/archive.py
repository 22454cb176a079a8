"""Writes snapshots behind: of runs that ended, that rest, or have changed for a second, when nothing waits for it.

A snapshot never overtakes its actions: it is taken of runs whose actions are all stored.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError, RefusedError
from dagnats.model.run import encode_run
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.ports import Snapshots
    from dagnats.runtime.roster import Roster, Seat
    from dagnats.runtime.together import Aside

log = logging.getLogger("dagnats.engine")

SAVE_AFTER_S = 1.0
_EVERY_S = 0.1
_AT_ONCE = 2_000
_A_SECOND = 200  # so many runs that go on have a snapshot in a second; with more of them, each has it later,
_MOST_LATER_S = 2.0  # but not by more than that: who takes over folds what no snapshot has
_SHARE = 50  # a run rests this many times as long as its snapshot took to make: large ones stay rare


def due_after_s(least_s: float, unsaved: int) -> float:
    """How long a run may go on without a snapshot, when it may for `least_s` if it is alone, and `unsaved` others wait.

    Most runs are over before they had one, as long as that is so on a machine with too much to do: there, snapshots of
    runs on their way to the end would be what keeps them from it.
    """
    return least_s + min(unsaved / _A_SECOND, _MOST_LATER_S)


class Archive:
    """The way from the roster into the snapshots.

    Args:
        covered: Called when more of the log is covered by snapshots than before.
        aside: Where the answers are waited for.
        upto: The last event that the stored position covers. No snapshot is ahead of it: whoever takes over folds the
            later events into the gates, and needs the runs as they were before them.
        rest_s: How long a run has no new snapshot after one.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        roster: Roster,
        covered: Callable[[], None],
        aside: Aside,
        *,
        upto: Callable[[], int],
        rest_s: float,
    ) -> None:
        self._aside = aside
        self._rest_s = rest_s
        self._snapshots = snapshots
        self._roster = roster
        self._covered = covered
        self._upto = upto
        self._next = 0.0
        self._storing = False
        self._time = asyncio.get_running_loop().time
        self._unsaved = asyncio.Event()
        self._unsaved.set()

    async def keep(self) -> None:
        """Sweep from time to time, while something is not saved."""
        while True:
            await self._unsaved.wait()
            await asyncio.sleep(_EVERY_S)
            self.sweep()

    def sweep(self) -> None:
        """Send the snapshots that are due, of runs that rest."""
        if self._roster.all_saved:
            self._unsaved.clear()
            return
        self._unsaved.set()
        now = self._time()
        if now < self._next or self._storing:
            return
        self._next = now + _EVERY_S
        seats = self._roster.take(_AT_ONCE, upto=self._upto())
        if seats:
            under_way = [self._send(seat) for seat in seats]
            self._storing = True
            self._aside.spawn(self._store(under_way))

    def _send(self, seat: Seat) -> tuple[Seat, bytes, float, Awaitable[int]]:
        begun = self._time()
        data = encode_run(seat.run)
        took_s = self._time() - begun
        return seat, data, took_s, self._snapshots.save(seat.run.run_id, data, revision=seat.revision)

    async def _store(self, under_way: list[tuple[Seat, bytes, float, Awaitable[int]]]) -> None:
        for seat, data, took_s, saving in under_way:
            try:
                revision = await saving
            except ConflictError:
                revision = await self._again(seat, data)
            except RefusedError as error:
                revision = self._refused(seat, error)
            self._roster.saved(seat, revision, len(data), rest_s=max(self._rest_s, took_s * _SHARE))
        self._storing = False
        self._covered()

    async def _again(self, seat: Seat, data: bytes) -> int:
        """Store a snapshot where another one lies than we know of."""
        run_id = seat.run.run_id
        while True:
            stored = await persist(lambda: self._snapshots.load(run_id))
            revision = stored.revision if stored is not None else 0
            if stored is not None and _is_newer(stored.data, data):
                return revision  # ours after all, or an engine's that was ahead of us
            try:
                return await self._snapshots.save(run_id, data, revision=revision)
            except ConflictError:
                continue
            except RefusedError as error:
                return self._refused(seat, error)

    def _refused(self, seat: Seat, error: RefusedError) -> int:
        log.warning("run %s has no snapshot: %s", seat.run.run_id, error)
        return seat.revision


class _Place(msgspec.Struct):
    seq: int
    time_ns: int


_place = msgspec.json.Decoder(_Place)


def _is_newer(stored: bytes, ours: bytes) -> bool:
    """Whether the stored snapshot makes ours needless. One of another event at our place is of a log that was lost."""
    try:
        theirs, own = _place.decode(stored), _place.decode(ours)
        return theirs.seq > own.seq or theirs == own
    except msgspec.DecodeError:
        return False
