"""Measures the index of runs: `python -m benchmarks.index [--runs 1000000]`.

Writes the histories of many runs into the log of a NATS server of its own. Then an index is made from that log by a
process that is killed half-way, and by another one that goes on. Last it is asked what lists, counts, searches and
look-ups ask: seconds for the whole, and milliseconds a question, median and 95th percentile. A question's time on the
processor is measured too: it is the same when others use the machine. Prints JSON; progress is on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.model.event import Outcome, Start, WorkflowCompleted, WorkflowFailed, WorkflowStarted, encode_event
from dagnats.model.summary import RunQuery
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.index.indexer import Indexer
from dagnats.runtime.index.store import Reader
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MS = 50.0
"""What no question may take longer than, at the 95th percentile."""

_FLOWS = 40
_AT_ONCE = 2_000  # events without an answer: a stream takes no more than 10,000 that it has not stored
_TIMES = 200
_LOOK_S = 0.05
_REASONS = ("card declined", "carrier does not answer", "no such shelf", "timeout: no result within 30s")


# -- the log ---------------------------------------------------------------------------------------------------


def histories(runs: int, hashes: list[str], chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """The starts and ends of runs, each with the run it is of: nine in ten complete, some go on."""
    for number in range(runs):
        run_id = f"{chance.getrandbits(128):032x}"
        labels = {"customer": f"c{chance.randrange(10_000)}", "region": chance.choice("abcdef")}
        flow = chance.randrange(_FLOWS)
        start = Start(workflow=f"flow-{flow}", def_hash=hashes[flow], labels=labels)
        yield run_id, encode_event(WorkflowStarted(run_id=run_id, payload=start))
        fate = chance.random()
        if fate < 0.9:
            yield run_id, encode_event(WorkflowCompleted(run_id=run_id))
        elif fate < 0.99:
            outcome = Outcome(step_id="charge", error=f"order {number}: {chance.choice(_REASONS)}")
            yield run_id, encode_event(WorkflowFailed(run_id=run_id, payload=outcome))


async def write_log(server: EmbeddedServer, runs: int) -> int:
    """Write it; gives the last event's sequence."""
    async with await JetStream.connect(server.url, token=server.token) as jetstream:
        await jetstream.ports.server.prepare(sync="interval")
        hashes = await _flows(AsyncClient(jetstream))
        link = await Link.connect(server.url, token=server.token, name="log writer")
        written = 0
        for run_id, data in histories(runs, hashes, random.Random(1)):
            written += 1
            if written % _AT_ONCE:
                link.send(f"history.{run_id}", data)
            else:
                await link.publish(f"history.{run_id}", data)  # what was sent before is stored before
        while (last := await jetstream.ports.log.last()) < written:  # noqa: ASYNC110  # a stream sets no event
            await asyncio.sleep(_LOOK_S)
        await link.close()
        return last


async def _flows(client: AsyncClient) -> list[str]:
    hashes: list[str] = []
    for number in range(_FLOWS):
        workflow = Workflow(f"flow-{number}")
        workflow.task("charge", "bench.charge").after(workflow.task("reserve", "bench.reserve"))
        hashes.append((await client.register(workflow)).identity)
    return hashes


# -- the index -------------------------------------------------------------------------------------------------


async def follow(url: str, token: str, file: str, last: int) -> None:
    """Keep an index until it is at the end of the log, and say how far it is meanwhile."""
    async with await JetStream.connect(url, token=token) as jetstream:
        index = Indexer(jetstream.ports, jetstream.feeds, Path(file))
        work = asyncio.create_task(index.run())
        said = 0  # as the index says until it has looked into its file
        while said < last:
            await asyncio.sleep(_LOOK_S)
            if index.place.seq != said:
                said = index.place.seq
                print(json.dumps({"seq": said, "cpu_s": round(time.process_time(), 1)}), flush=True)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def rebuild(server: EmbeddedServer, file: Path, last: int, *, until: int = 0) -> dict[str, Any]:
    """Make the index in a process of its own, which is killed once it is at `until`."""
    begun, first, at = time.perf_counter(), -1, {"seq": 0, "cpu_s": 0.0}
    words = ("follow", server.url, server.token, str(file), str(last))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.index", *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None, "it is a pipe"
    async for line in child.stdout:
        at = json.loads(line)
        first = at["seq"] if first < 0 else first
        if until and at["seq"] >= until:
            child.send_signal(signal.SIGKILL)
            break
    await child.wait()
    took_s = time.perf_counter() - begun
    return {"from": max(first, 0), "to": at["seq"], "s": round(took_s, 1), "cpu_s": at["cpu_s"]}


# -- questions -------------------------------------------------------------------------------------------------


def questions(last: int, span: tuple[int, int], chance: random.Random) -> dict[str, RunQuery]:
    """One of each kind, about something else each time."""
    at = chance.randrange(last)
    begin, end = span
    after_ns = chance.randrange(begin, end)
    return {
        "newest": RunQuery(),
        "a page far down": RunQuery(below=at),
        "of a workflow": RunQuery(workflow=f"flow-{chance.randrange(_FLOWS)}"),
        "failed": RunQuery(statuses=("failed", "compensate_failed")),
        "failed of a workflow": RunQuery(workflow=f"flow-{chance.randrange(_FLOWS)}", statuses=("failed",)),
        "running": RunQuery(statuses=("running",)),
        "with a label": RunQuery(labels={"customer": f"c{chance.randrange(10_000)}"}),
        "with two labels": RunQuery(labels={"region": "a", "customer": f"c{chance.randrange(10_000)}"}),
        "in a time": RunQuery(after_ns=after_ns, before_ns=after_ns + (end - begin) // 1_000),
        "error text, common": RunQuery(error="declined"),
        "error text, rare": RunQuery(error=f"order {at // 2}:"),
        "prefix": RunQuery(prefix=f"{chance.getrandbits(32):08x}"),
    }


def answers(file: Path, last: int) -> dict[str, dict[str, float]]:
    """What each kind of question takes a server that has just been opened."""
    reader, chance = Reader(file), random.Random(2)
    newest, oldest = reader.page(RunQuery(limit=1)).runs[0], reader.page(RunQuery(below=1_000)).runs[-1]
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in range(_TIMES):
        for name, query in questions(last, (oldest.created_ns, newest.created_ns), chance).items():
            for kind, ask in (("list", reader.page), *((("count", reader.count),) if name == "of a workflow" else ())):
                begun, busy = time.perf_counter(), time.thread_time()
                ask(query)
                times = (time.perf_counter() - begun, time.thread_time() - busy)
                took.setdefault(f"{kind}: {name}", []).append(times)
    reader.close()
    return {name: _figures(times) for name, times in took.items()}


def _figures(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, busy = (sorted(each * 1e3 for each in column) for column in zip(*times, strict=True))
    at = int(len(wall) * 0.95)
    return {
        "p50": round(statistics.median(wall), 3),
        "p95": round(wall[at], 3),
        "p50_cpu": round(statistics.median(busy), 3),
        "p95_cpu": round(busy[at], 3),
    }


# -- all of it -------------------------------------------------------------------------------------------------


async def measured(runs: int, folder: Path) -> dict[str, Any]:
    file = folder / "index.sqlite"
    async with EmbeddedServer(folder / "nats", port=0) as server:
        begun = time.perf_counter()
        last = await write_log(server, runs)
        written_s = round(time.perf_counter() - begun, 1)
        _tell(f"{last:,} events of {runs:,} runs are in the log after {written_s:g} s")
        killed = await rebuild(server, file, last, until=last // 2)
        _tell(f"the index is killed at event {killed['to']:,} after {killed['s']:g} s")
        resumed = await rebuild(server, file, last)
        _tell(f"it went on behind event {resumed['from']:,}, and is complete after {resumed['s']:g} s")
    reader = Reader(file)
    found = sum(tally.count for tally in reader.count(RunQuery()))
    reader.close()
    return {
        "runs": runs,
        "events": last,
        "log_written_s": written_s,
        "index": {"killed": killed, "resumed": resumed, "runs": found, "file_mb": round(file.stat().st_size / 1e6)},
        "ms": answers(file, last),
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def faults(figures: dict[str, Any]) -> list[str]:
    """What is not as it has to be."""
    index = figures["index"]
    found = [f"{name}: {ms['p95']} ms" for name, ms in figures["ms"].items() if ms["p95"] > LIMIT_MS]
    if index["resumed"]["from"] < index["killed"]["to"]:
        found.append("the second process has begun anew")
    if index["runs"] != figures["runs"]:
        found.append(f"{index['runs']} runs are in the index")
    return found


def main() -> None:
    if sys.argv[1:2] == ["follow"]:
        url, token, file, last = sys.argv[2:]
        asyncio.run(follow(url, token, file, int(last)))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    with tempfile.TemporaryDirectory(prefix="dagnats-index-", dir=os.environ.get("TMPDIR")) as folder:
        figures = asyncio.run(measured(parser.parse_args().runs, Path(folder)))
    print(json.dumps(figures, indent=2))
    wrong = faults(figures)
    for each in wrong:
        _tell(f"not as it has to be: {each}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
