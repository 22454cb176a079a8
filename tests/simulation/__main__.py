"""`python -m tests.simulation --seeds 1000`: run seeds, print those that fail and what was covered."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.crowd import bounded, failure, run
from tests.simulation.mutation import MUTATIONS, caught
from tests.simulation.scenario import Report, execute

LEAST = 100
"""How often each event, fault and crash point occurs in 2,000 seeds, at least."""

ENOUGH = 2_000
"""Seeds from which on it counts what was too rare; fewer, as a slow machine runs within its time, prove little."""

MEDIAN = 300
"""How many events half of the seeds write, at least."""


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes")
    parser.add_argument("--within", type=float, default=0.0, help="begin no more seeds after so many seconds; 0: all")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happened")
    parser.add_argument("--mutations", action="store_true", help="break the code in ten ways; each must be found")
    chosen = parser.parse_args()
    if chosen.mutations:
        return _mutations(chosen.seeds)
    if chosen.seed is not None:
        return _one(chosen.seed, trace=chosen.trace)
    return _many(chosen.first, chosen.seeds, chosen.jobs, chosen.within)


def _one(seed: int, *, trace: bool) -> int:
    report = execute(seed, keep=trace)
    say(*(report.lines if trace else report.lines[-25:]))
    say(*report.wrong, f"hash {report.hash}, {sum(report.events.values())} events, {len(report.wrong)} wrong")
    return min(len(report.wrong), 1)


def _many(first: int, count: int, jobs: int, within_s: float) -> int:
    begun = time.monotonic()

    def told(report: Report) -> None:
        if report.wrong:
            say(*failure(report), f"  again: python -m tests.simulation --seed {report.seed} --trace")

    crowd = run(range(first, first + count), jobs, told, within_s=within_s)
    count = len(crowd.sizes)
    say(*crowd.lines())
    rare = crowd.rare(LEAST * count // ENOUGH)
    if crowd.size < MEDIAN:
        rare.append(f"events in the median: {crowd.size:g}")
    say(*(f"too rare: {one}" for one in rare))
    say(f"{len(crowd.failed)} of {count} seeds failed, {time.monotonic() - begun:.0f} s")
    is_enough = count >= ENOUGH
    return 1 if crowd.failed or (rare and is_enough) else 0


def _mutations(most: int) -> int:
    missed = 0
    for mutation in MUTATIONS:
        seed, wrong = caught(mutation, range(most), bounded)
        missed += seed is None
        say(f"{mutation.name}: " + (f"not found in {most} seeds" if seed is None else f"seed {seed}: {wrong[:160]}"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
