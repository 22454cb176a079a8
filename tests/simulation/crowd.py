"""Many seeds, in several processes."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.simulation.scenario import Report, execute
from tests.simulation.trouble import ENGINE_BOUNDARIES, WORKER_BOUNDARIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.simulation.network import Boundary

LONGEST_S = 60
"""Of real time: a seed that takes longer goes round in circles."""


class Crowd:
    """What came of many seeds.

    Attributes:
        failed: The reports of those with something wrong.
        events: How many events each wrote.
    """

    def __init__(self) -> None:
        self.failed: list[Report] = []
        self.sizes: list[int] = []
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.deaths: Counter[Boundary] = Counter()

    def add(self, report: Report) -> None:
        """Count one more."""
        if report.wrong:
            self.failed.append(report)
        self.sizes.append(sum(report.events.values()))
        self.events += report.events
        self.faults += report.faults
        self.deaths += report.deaths

    def rare(self, least: int) -> list[str]:
        """What happened fewer than `least` times."""
        found = [f"event {name}: {count}" for name, count in self.events.items() if count < least]
        found += [f"fault {name}: {count}" for name, count in self.faults.items() if count < least]
        points = dict.fromkeys([*ENGINE_BOUNDARIES, *WORKER_BOUNDARIES])
        found += [f"death at {' '.join(point)}: {self.deaths[point]}" for point in points if self.deaths[point] < least]
        return found

    def lines(self) -> list[str]:
        """What was covered, for people."""
        made = [f"{len(self.sizes)} seeds, {sum(self.sizes)} events, {median(self.sizes or [0]):g} in the median"]
        for title, counts in (("events", self.events), ("faults", self.faults)):
            made += [f"{title}:", *(f"  {count:9} {name}" for name, count in sorted(counts.items()))]
        made += ["deaths:", *(f"  {count:9} {' '.join(at)}" for at, count in sorted(self.deaths.items()))]
        return made


class TooLong(BaseException):
    """A seed takes more real time than any may."""


def bounded(seed: int, *, types: frozenset[str] | None = None) -> Report:
    """`execute`, ended when it goes round in circles."""

    def ring(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST_S)
    try:
        return execute(seed) if types is None else execute(seed, types=types)
    except TooLong:
        none: Counter[Any] = Counter()
        return Report(seed, [f"it took more than {LONGEST_S} s"], none, none, none, "", [])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(seeds: Iterable[int], jobs: int, told: Callable[[Report], None] = lambda _: None) -> Crowd:
    """Run all of them; `told` hears of each, in order."""
    crowd = Crowd()
    if jobs == 1:
        for report in map(bounded, seeds):
            told(report)
            crowd.add(report)
        return crowd
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for report in pool.imap(_without_lines, seeds, chunksize=8):
            told(report)
            crowd.add(report)
    return crowd


def _without_lines(seed: int) -> Report:
    """The lines of a good one need not travel."""
    report = bounded(seed)
    return report if report.wrong else report._replace(lines=[])


def failure(report: Report) -> list[str]:
    """A failed seed, for people: what is wrong, and what happened last."""
    wrong = [f"  {one[:600]}" for one in report.wrong[:6]]
    return [
        f"seed {report.seed}: {len(report.wrong)} wrong",
        *wrong,
        *(f"    {one[:200]}" for one in report.lines[-25:]),
    ]
