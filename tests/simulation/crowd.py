"""Many seeds, in several processes."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
from collections import Counter, deque
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, get_args

from dagnats.model.event import AnyEvent
from tests.simulation.network import FAULTS
from tests.simulation.scenario import Report, execute
from tests.simulation.trouble import ALL_BOUNDARIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.context import BaseContext

    from tests.simulation.network import Point

EVENTS = sorted(str(kind.__struct_config__.tag) for kind in get_args(AnyEvent))
_CHUNK = 4
_CHUNKS = 12
"""So many a process runs, and ends. Nothing it leaves is collected, which would take a twentieth of its time: it has a
hundred megabytes by then."""
LONGEST_S = 20
"""Of the processor's time: a seed that takes longer goes round in circles."""


class Crowd:
    """What came of many seeds.

    Attributes:
        failed: The reports of those with something wrong.
        sizes: How many events each wrote.
        cpu_s: How long processors worked on them: unlike the time that passed, no matter what else they had to do.
    """

    def __init__(self) -> None:
        self.failed: list[Report] = []
        self.sizes: list[int] = []
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.deaths: Counter[Point] = Counter()
        self.cpu_s = 0.0

    def add(self, report: Report) -> None:
        """Count one more."""
        if report.wrong:
            self.failed.append(report)
        self.sizes.append(sum(report.events.values()))
        self.events += report.events
        self.faults += report.faults
        self.deaths += report.deaths

    def counts(self) -> dict[str, int]:
        """How often each thing happened that has to happen, whether it did or not."""
        made = {f"event {name}": self.events[name] for name in EVENTS}
        made |= {f"fault {name}": self.faults[name] for name in FAULTS}
        points = [(f"death of the {kind} at {' '.join(at)}", self.deaths[kind, at]) for kind, at in ALL_BOUNDARIES]
        return made | dict(points)

    def rare(self, least: int) -> list[str]:
        """What happened fewer than `least` times."""
        return [f"{what}: {count}" for what, count in self.counts().items() if count < least]

    @property
    def size(self) -> float:
        """How many events a seed writes, in the median."""
        return median(self.sizes or [0])

    def lines(self) -> list[str]:
        """What was covered, for people."""
        return [
            *(f"{count:9} {what}" for what, count in self.counts().items()),
            f"{len(self.sizes)} seeds, {sum(self.sizes)} events, {self.size:g} in the median, "
            f"{self.cpu_s / max(len(self.sizes), 1):.3f} s of a processor each",
        ]


class TooLong(KeyboardInterrupt):
    """A seed takes more time than any may. An event loop lets nothing else out of a callback."""


def bounded(seed: int, *, types: frozenset[str] | None = None) -> Report:
    """`execute`, ended when it goes round in circles."""

    def ring(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        return execute(seed) if types is None else execute(seed, types=types)
    except TooLong:
        none: Counter[Any] = Counter()
        return Report(seed, [f"it took more than {LONGEST_S} s"], none, none, none, "", [])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def run(
    seeds: Iterable[int], jobs: int, told: Callable[[Report], None] = lambda _: None, *, within_s: float = 0.0
) -> Crowd:
    """Run all of them; `told` hears of each, in order.

    Args:
        within_s: Begin no more after so many seconds; 0: run all.
    """
    crowd = Crowd()
    ends = time.monotonic() + within_s if within_s else float("inf")
    wanted = (seed for seed in seeds if time.monotonic() < ends)
    if jobs == 1:
        begun = time.process_time()
        for report in map(bounded, wanted):
            told(report)
            crowd.add(report)
        crowd.cpu_s = time.process_time() - begun
        return crowd
    with ProcessPoolExecutor(jobs, _context(), _prepare, max_tasks_per_child=_CHUNKS) as pool:
        waiting: deque[Future[tuple[list[Report], float]]] = deque()
        while (chunk := list(islice(wanted, _CHUNK))) or waiting:
            if chunk:
                waiting.append(pool.submit(_reports, chunk))
            if len(waiting) > jobs or not chunk:
                reports, cpu_s = waiting.popleft().result()
                crowd.cpu_s += cpu_s
                for report in reports:
                    told(report)
                    crowd.add(report)
    return crowd


def _context() -> BaseContext:
    """Processes that begin with everything imported, and used once: there are many of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.warm"])
    return context


def _prepare() -> None:
    """Collect nothing: the process ends soon."""
    gc.disable()


def _reports(seeds: Sequence[int]) -> tuple[list[Report], float]:
    """Those of some seeds, and how long they took. The lines of a good one need not travel."""
    begun = time.process_time()
    made = [report if report.wrong else report._replace(lines=[]) for report in map(bounded, seeds)]
    return made, time.process_time() - begun


def failure(report: Report) -> list[str]:
    """A failed seed, for people: what is wrong, and what happened last."""
    wrong = [f"  {one[:600]}" for one in report.wrong[:6]]
    return [
        f"seed {report.seed}: {len(report.wrong)} wrong",
        *wrong,
        *(f"    {one[:200]}" for one in report.lines[-25:]),
    ]
