"""Measures the index of runs: `python -m benchmarks.index [--runs 1000000]`.

Writes the lines of many runs as a rebuild does, without a log, then asks what lists, counts, searches and look-ups ask:
seconds for all lines, and milliseconds a question, median and 95th percentile, from a server that has just been opened.
Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from dagnats.model.event import Outcome, Record, Start, WorkflowCompleted, WorkflowFailed, WorkflowStarted
from dagnats.model.summary import RunQuery
from dagnats.runtime.index.fold import Shape
from dagnats.runtime.index.indexer import write
from dagnats.runtime.index.store import Place, Reader, Writer

_AT_ONCE = 20_000
_TIMES = 200
_SECOND = 1_000_000_000
_REASONS = ("card declined", "carrier does not answer", "no such shelf", "timeout: no result within 30s")


def facts(first: int, count: int, chance: random.Random) -> list[tuple[Record, Shape]]:
    """The starts and ends of `count` runs: nine in ten complete, some go on."""
    found: list[tuple[Record, Shape]] = []
    for number in range(first, first + count):
        run_id = f"{chance.getrandbits(128):032x}"
        seq, at_ns = number * 10 + 1, number * _SECOND
        labels = {"customer": f"c{chance.randrange(10_000)}", "region": chance.choice("abcdef")}
        start = Start(workflow=f"flow-{chance.randrange(40)}", def_hash="x", labels=labels)
        found.append((Record(seq, at_ns, WorkflowStarted(run_id=run_id, payload=start)), Shape(steps=3)))
        fate = chance.random()
        if fate < 0.9:
            found.append((Record(seq + 5, at_ns + 5_000_000, WorkflowCompleted(run_id=run_id)), Shape()))
        elif fate < 0.99:
            outcome = Outcome(step_id="charge", error=f"order {number}: {chance.choice(_REASONS)}")
            found.append((Record(seq + 5, at_ns + 5_000_000, WorkflowFailed(run_id=run_id, payload=outcome)), Shape()))
    return found


def questions(runs: int, chance: random.Random) -> dict[str, RunQuery]:
    """One of each kind, about something else each time."""
    at = chance.randrange(runs)
    return {
        "newest": RunQuery(),
        "a page far down": RunQuery(below=at * 10 + 1),
        "of a workflow": RunQuery(workflow=f"flow-{chance.randrange(40)}"),
        "failed": RunQuery(statuses=("failed", "compensate_failed")),
        "failed of a workflow": RunQuery(workflow=f"flow-{chance.randrange(40)}", statuses=("failed",)),
        "running": RunQuery(statuses=("running",)),
        "with a label": RunQuery(labels={"customer": f"c{chance.randrange(10_000)}"}),
        "with two labels": RunQuery(labels={"region": "a", "customer": f"c{chance.randrange(10_000)}"}),
        "in a time": RunQuery(after_ns=at * _SECOND, before_ns=(at + 1_000) * _SECOND),
        "error text, common": RunQuery(error="declined"),
        "error text, rare": RunQuery(error=f"order {at}:"),
        "prefix": RunQuery(prefix=f"{chance.getrandbits(32):08x}"),
    }


def measured(runs: int, folder: Path) -> dict[str, object]:
    """Write, then ask."""
    chance = random.Random(1)
    file = folder / "index.sqlite"
    writer = Writer(file)
    begun = time.perf_counter()
    for first in range(0, runs, _AT_ONCE):
        batch = facts(first, min(_AT_ONCE, runs - first), chance)
        write(writer, batch, Place(batch[-1][0].seq, 0))
    built_s = time.perf_counter() - begun
    writer.close()

    reader = Reader(file)
    took: dict[str, list[float]] = {}
    for _ in range(_TIMES):
        for name, query in questions(runs, chance).items():
            for kind, ask in (("list", reader.page), *((("count", reader.count),) if name == "of a workflow" else ())):
                begun = time.perf_counter()
                ask(query)
                took.setdefault(f"{kind}: {name}", []).append((time.perf_counter() - begun) * 1_000)
    return {
        "runs": runs,
        "built_s": round(built_s, 1),
        "file_mb": round(file.stat().st_size / 1e6),
        "ms": {
            name: {"p50": round(statistics.median(each), 3), "p95": round(sorted(each)[int(len(each) * 0.95)], 3)}
            for name, each in took.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    with tempfile.TemporaryDirectory(prefix="dagnats-index-") as folder:
        print(json.dumps(measured(parser.parse_args().runs, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
