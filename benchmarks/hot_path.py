"""Measures the hot path: `python -m benchmarks.hot_path [--sync interval|always] [--runs N]`.

A NATS server with file storage, and engine, worker and client in processes of their own, all on this machine; the
yardstick is measured in the same run, on the same server, in turn. Prints JSON: medians and rates, the CPU time that
each process spends on a step, which says more than a rate when others use the machine too, and the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import flows, yardstick
from benchmarks.meter import cpu_s
from dagnats.client import AsyncClient
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.link import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
IN_FLIGHT = 500


def process(stack: ExitStack, server: EmbeddedServer, *arguments: str) -> int:
    """Start a process that ends with the stack; gives its id."""
    env = {**os.environ, "DAGNATS_URL": server.url, "DAGNATS_TOKEN": server.token, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    stack.callback(child.wait)
    stack.callback(child.send_signal, signal.SIGKILL)
    return child.pid


async def latency(run: Callable[[], Awaitable[object]], rounds: int) -> dict[str, float]:
    """One at a time, in milliseconds."""
    taken: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        await run()
        taken.append((time.perf_counter() - begun) * 1e3)
    taken = sorted(taken[rounds // 10 :])
    return {"p50_ms": statistics.median(taken), "p99_ms": taken[int(len(taken) * 0.99)]}


async def rate(run: Callable[[], Awaitable[object]], runs: int, steps: int, pids: dict[str, int]) -> dict[str, Any]:
    """Steps per second with `IN_FLIGHT` runs at a time, and the microseconds of CPU that each process had per step."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one() -> None:
        async with slots:
            await run()

    begun, before = time.perf_counter(), {name: cpu_s(pid) for name, pid in pids.items()}
    await asyncio.gather(*(one() for _ in range(runs)))
    took_s, count = time.perf_counter() - begun, runs * steps
    spent = {name: round((cpu_s(pid) - before[name]) / count * 1e6, 1) for name, pid in pids.items()}
    return {"steps_per_s": count / took_s, "cpu_us_per_step": spent}


async def seconds(run: Callable[[], Awaitable[object]], rounds: int = 3) -> float:
    """The median time of one run."""
    taken: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        await run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def workloads(
    chain3: Callable[[], Awaitable[object]],
    chain40: Callable[[], Awaitable[object]],
    fan: Callable[[], Awaitable[object]],
    runs: int,
    pids: dict[str, int],
) -> Iterator[tuple[str, Awaitable[Any]]]:
    yield "chain3_latency", latency(chain3, 300)
    yield "chain3_throughput", rate(chain3, runs, 3, pids)
    yield "chain40_s", seconds(chain40)
    yield "fan1000_s", seconds(fan)


async def measure(sync: str, runs: int) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        async with EmbeddedServer(folder, port=0, sync_interval="100ms" if sync == "interval" else sync) as server:
            results: dict[str, Any] = {}
            shared = {"client": os.getpid(), "server": server.pid}
            async with await JetStream.connect(server.url, token=server.token) as jetstream:
                await jetstream.ports.server.prepare(sync="always" if sync == "always" else "interval")
                client = AsyncClient(jetstream)
                definitions = [await client.register(flow) for flow in (flows.chain3, flows.chain40, flows.fan1000)]
                runners = [_runner(client, registered.definition) for registered in definitions]
                with ExitStack() as ours:
                    engine = process(ours, server, "dagnats", "serve")
                    worker = process(ours, server, "dagnats", "worker", "benchmarks.flows", "--concurrency", "500")
                    pids = {"engine": engine, "worker": worker, **shared}
                    await runners[0]()
                    results["dagnats"] = {
                        name: await work for name, work in workloads(runners[0], runners[1], runners[2], runs, pids)
                    }
            link = await Link.connect(server.url, token=server.token)
            await yardstick.prepare(link)
            driver = yardstick.Driver(link)
            with ExitStack() as theirs:
                pids = {
                    role: process(theirs, server, "benchmarks.yardstick", role, server.url, server.token)
                    for role in ("engine", "worker")
                }
                await driver.run(length=3)
                bare = workloads(
                    lambda: driver.run(length=3),
                    lambda: driver.run(length=40),
                    lambda: driver.run(width=1_000),
                    runs,
                    {**pids, **shared},
                )
                results["yardstick"] = {name: await work for name, work in bare}
            await link.close()
        return results


def _runner(client: AsyncClient, definition: Any) -> Callable[[], Awaitable[object]]:
    async def run() -> object:
        handle = await client.start_json(definition, b'"World"')
        return await handle.result()

    return run


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """How many times the yardstick's cost we cost."""
    ours, bare = results["dagnats"], results["yardstick"]
    spent, least = (sum(each["chain3_throughput"]["cpu_us_per_step"].values()) for each in (ours, bare))
    return {
        "chain3_cpu": spent / least,
        "chain3_p50": ours["chain3_latency"]["p50_ms"] / bare["chain3_latency"]["p50_ms"],
        "chain3_rate": bare["chain3_throughput"]["steps_per_s"] / ours["chain3_throughput"]["steps_per_s"],
        "chain40": ours["chain40_s"] / bare["chain40_s"],
        "fan1000": ours["fan1000_s"] / bare["fan1000_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sync", choices=["interval", "always"], default="interval")
    parser.add_argument("--runs", type=int, default=3_000)
    options = parser.parse_args()
    import uvloop

    results = uvloop.run(measure(options.sync, options.runs))
    print(json.dumps({"sync": options.sync, **results, "cost_in_yardsticks": ratios(results)}, indent=2))


if __name__ == "__main__":
    main()
