"""The runs an engine has in memory: a cache in front of snapshots and log, that knows what no snapshot holds yet.

A change counts as unsaved from the first event that no snapshot covers. The earliest of these is `low`: an engine that
takes over and folds the log from there has all of it.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING

from dagnats.model.run import ENDED
from dagnats.runtime.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Set

    from dagnats.model.run import Run

MOST_RUNS = 20_000
MOST_BYTES = 128 * 1024 * 1024


class Seat:
    """A run's place.

    Attributes:
        run: The run after the newest event that was folded.
        revision: Of its newest snapshot, for the compare-and-set that replaces it; 0 while it has none we know of.
        since: The first event that no snapshot covers; 0 when the snapshot has all.
        due: When it should be saved, by the monotonic clock.
        size: The bytes of its newest snapshot.
        armed: The wake-up (the event that asked for it) that the leader counts down to; 0 for none.
        wake_at: When that one is due, by the event loop's clock.
        used: Whether it was looked at since the last eviction.
    """

    __slots__ = ("armed", "due", "revision", "run", "since", "size", "used", "wake_at")

    def __init__(self, run: Run, revision: int = 0, size: int = 0) -> None:
        self.run = run
        self.revision = revision
        self.since = 0
        self.due = 0.0
        self.size = size
        self.armed = 0
        self.wake_at = 0.0
        self.used = True


class Roster:
    """Runs by id. `fold` notes what a batch changes; `commit` says that all its actions are stored.

    Several batches may be under way, committed in the order in which they were closed.

    Args:
        now: The monotonic clock by which runs are due.
    """

    def __init__(
        self, *, most_runs: int = MOST_RUNS, most_bytes: int = MOST_BYTES, now: Callable[[], float] = monotonic
    ) -> None:
        self._clock = now
        self._most_runs = most_runs
        self._most_bytes = most_bytes
        self._seats: dict[str, Seat] = {}
        self._expected: Collection[str] = ()  # by the batch that is being read: they have to be there when it is folded
        self._touched: dict[str, int] = {}  # by the batch that is being folded: the first event of each run
        self._closed: deque[dict[str, int]] = deque()  # by batches whose actions are not all stored
        self._pending: Counter[str] = Counter()  # in how many of all these a run is
        self._unsaved: dict[str, Seat] = {}  # in the order of `since`
        self._saving: dict[str, int] = {}  # the `since` of what is on its way
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._seats.values()))

    def seat(self, run_id: str) -> Seat | None:
        seat = self._seats.get(run_id)
        if seat is not None:
            seat.used = True
        return seat

    def strange(self, run_ids: Set[str]) -> Set[str]:
        """Which of these runs are not here."""
        return run_ids - self._seats.keys()

    def admit(self, run: Run, revision: int = 0, size: int = 0) -> Seat:
        """Take in a run as its snapshot, or its history, has it."""
        seat = self._seats[run.run_id] = Seat(run, revision, size)
        self._bytes += size
        return seat

    def dismiss(self, run_id: str) -> None:
        """Forget a run."""
        seat = self._seats.pop(run_id, None)
        self._unsaved.pop(run_id, None)
        self._touched.pop(run_id, None)
        if seat is not None:
            self._bytes -= seat.size

    def leave(self, run_id: str) -> bool:
        """Forget a run that is over and saved, because one begins under its id; gives whether there was one.

        Late news brings such a run back, and the start of another one would be taken for more of it.
        """
        seat = self._seats.get(run_id)
        is_over = seat is not None and seat.run.status in ENDED and self._is_saved(seat)
        if is_over:
            self.dismiss(run_id)
        return is_over

    def clear(self) -> None:
        """Forget all of them."""
        for run_id in list(self._seats):
            self.dismiss(run_id)

    def expect(self, run_ids: Collection[str]) -> None:
        """A batch with events of these runs is being read: until it is closed none of them is forgotten.

        One that has ended, and that the batch opens again, may have its last snapshot stored meanwhile.
        """
        self._expected = run_ids

    # -- what is unsaved -------------------------------------------------------------------------------------

    def fold(self, run: Run, seq: int) -> None:
        """A batch has moved `run` by event `seq`."""
        seat = self._seats.get(run.run_id)
        if seat is None:
            seat = self.admit(run)
        seat.run = run
        self._touched.setdefault(run.run_id, seq)

    def close_batch(self) -> None:
        """The batch is folded; its actions are on their way."""
        self._closed.append(self._touched)
        self._pending.update(self._touched.keys())
        self._touched = {}
        self._expected = ()

    def commit(self, *, after_s: float) -> None:
        """All actions of the first closed batch are stored: what it touched may be saved, `after_s` from now."""
        now = self._clock()
        due = now + after_s
        pending = self._pending
        for run_id, seq in self._closed.popleft().items():
            left = pending[run_id] - 1
            if left:
                pending[run_id] = left
            else:
                pending.pop(run_id)  # `del` of a Counter's is a function of Python's
            seat = self._seats.get(run_id)
            if seat is None:  # parked since
                continue
            if not seat.since:
                seat.since = seq
                seat.due = max(due, seat.due)
                self._unsaved[run_id] = seat
            if seat.run.status in ENDED:
                seat.due = min(seat.due, now)

    def _is_saved(self, seat: Seat) -> bool:
        """Whether nothing of a run is unsaved, or under way."""
        run_id = seat.run.run_id
        return not (seat.since or run_id in self._saving or self._is_moving(run_id))

    def _is_moving(self, run_id: str) -> bool:
        """Whether a batch that touched the run is under way: it must not be saved, nor forgotten."""
        return run_id in self._touched or run_id in self._pending

    @property
    def unsaved(self) -> int:
        """How many runs have changes that no snapshot covers, and none that is on its way."""
        return len(self._unsaved)

    @property
    def all_saved(self) -> bool:
        """Whether every change is covered by a snapshot, or by one that is on its way."""
        return not self._unsaved

    def is_waiting(self, longest_s: float) -> bool:
        """Whether a run that never rests should have been saved `longest_s` ago."""
        first = next(iter(self._unsaved.values()), None)
        return first is not None and first.due + longest_s < self._clock()

    def low(self, default: int) -> int:
        """The first event that no snapshot covers; `default` when snapshots have all."""
        lowest = min(self._saving.values(), default=default)
        first = next(iter(self._unsaved.values()), None)
        return min(lowest, first.since) if first is not None else min(lowest, default)

    def cover(self, low: int) -> None:
        """Another engine has saved everything before event `low`."""
        for seat in list(self._unsaved.values()):
            if seat.since >= low:
                return
            if seat.run.seq < low:
                self._covered(seat)
            else:
                seat.since = low

    def _covered(self, seat: Seat) -> None:
        seat.since = 0
        del self._unsaved[seat.run.run_id]
        if seat.run.ended:
            self.dismiss(seat.run.run_id)

    # -- saving ----------------------------------------------------------------------------------------------

    def take(self, most: int, *, upto: int = 2**63) -> list[Seat]:
        """Up to `most` runs that are due to be saved, none beyond event `upto`; each is to be given to `saved`."""
        now = self._clock()
        ready = (
            seat
            for seat in self._unsaved.values()
            if seat.due <= now and seat.run.seq <= upto and not self._is_moving(seat.run.run_id)
        )
        taken = list(islice(ready, most))
        for seat in taken:
            run_id = seat.run.run_id
            del self._unsaved[run_id]
            self._saving[run_id] = seat.since
            seat.since = 0
        return taken

    def saved(self, seat: Seat, revision: int, size: int, *, rest_s: float) -> None:
        """A snapshot is stored, as revision `revision`; the next one of this run not before `rest_s` from now."""
        run_id = seat.run.run_id
        del self._saving[run_id]
        if self._seats.get(run_id) is not seat:
            return
        self._bytes += size - seat.size
        seat.revision, seat.size = revision, size
        if not seat.run.ended:  # it may have ended meanwhile, and that is to be saved at once
            seat.due = self._clock() + rest_s
        if seat.run.ended and not seat.since and not self._is_moving(run_id) and run_id not in self._expected:
            self.dismiss(run_id)

    def evict(self) -> list[Seat]:
        """Forget runs that are saved and were not used lately, while there are too many."""
        gone: list[Seat] = []
        if len(self._seats) <= self._most_runs and self._bytes <= self._most_bytes:
            return gone
        for run_id, seat in list(self._seats.items()):
            if not self._is_saved(seat):
                continue
            if seat.used:
                seat.used = False
                continue
            self.dismiss(run_id)
            gone.append(seat)
            if len(self._seats) <= self._most_runs * 9 // 10 and self._bytes <= self._most_bytes * 9 // 10:
                break
        return gone
