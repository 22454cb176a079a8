"""Measures runs of 10,000 parts: `python -m benchmarks.large_run [--sync interval|always] [--size N]`.

Three shapes: a map, steps side by side, and steps side by side of which 500 are in flight at a time. Of each: the
seconds it takes, the memory that the engine grows by at most, and what an event costs the engine near the run's end
against near its start: nothing may grow with the number of steps. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks import flows
from benchmarks.hot_path import process
from benchmarks.meter import cpu_s, forget_most, memory_mb
from dagnats.client import AsyncClient
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream

if TYPE_CHECKING:
    from dagnats import Workflow
    from dagnats.runtime.ports import Log

_LOOK_S = 0.05
_FIRST, _LAST = (0.2, 0.4), (0.7, 0.9)
"""Which part of a run's events is near its start, and near its end. Before, all is handed out; after, it is joined."""


class Watch:
    """What the engine had spent when the log had so many events."""

    def __init__(self, log: Log, engine: int) -> None:
        self._log, self._engine = log, engine
        self._marks: list[tuple[int, float]] = []

    async def look(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            self._marks.append((await self._log.last(), cpu_s(self._engine)))
            await asyncio.sleep(_LOOK_S)

    def growth(self) -> float:
        """An event's cost near the end against near the start; 0 when too little was seen."""
        early, late = self._cost(*_FIRST), self._cost(*_LAST)
        return late / early if early else 0.0

    def _cost(self, begin: float, end: float) -> float:
        first, last = self._marks[0][0], self._marks[-1][0]
        low, high = (first + (last - first) * part for part in (begin, end))
        within = [mark for mark in self._marks if low <= mark[0] <= high]
        if len(within) < 2 or within[-1][0] == within[0][0]:
            return 0.0
        return (within[-1][1] - within[0][1]) / (within[-1][0] - within[0][0])


async def measure_run(client: AsyncClient, workflow: Workflow, input: bytes, engine: int) -> dict[str, float]:
    definition = (await client.register(workflow)).definition
    forget_most(engine)
    before_mb, before_s = memory_mb(engine), cpu_s(engine)
    watch = Watch(client.connection.ports.log, engine)
    looking = asyncio.create_task(watch.look())
    begun = time.perf_counter()
    await (await client.start_json(definition, input)).result()
    took_s = time.perf_counter() - begun
    looking.cancel()
    return {
        "seconds": round(took_s, 3),
        "engine_cpu_s": round(cpu_s(engine) - before_s, 2),
        "engine_growth_mb": round(memory_mb(engine, most=True) - before_mb, 1),
        "cost_at_end": round(watch.growth(), 2),
    }


async def measure(sync: Literal["interval", "always"], size: int, rounds: int) -> dict[str, Any]:
    shapes = [
        (flows.mapped(f"map{size}", size), str(size).encode()),
        (flows.wide(f"wide{size}", size), b'"World"'),
        (flows.wide(f"line{size}", size, at_once=500), b'"World"'),
    ]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        interval = "100ms" if sync == "interval" else sync
        server = await stack.enter_async_context(EmbeddedServer(folder, port=0, sync_interval=interval))
        jetstream = await JetStream.connect(server.url, token=server.token)
        client = await stack.enter_async_context(AsyncClient(jetstream))
        await jetstream.ports.server.prepare(sync=sync)
        warm = await client.register(flows.chain3)
        processes = stack.enter_context(ExitStack())
        engine = process(processes, server, "dagnats", "serve")
        process(processes, server, "dagnats", "worker", "benchmarks.flows", "--concurrency", "500")
        await (await client.start_json(warm.definition, b'"World"')).result()
        return {
            workflow.name: [await measure_run(client, workflow, input, engine) for _ in range(rounds)]
            for workflow, input in shapes
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sync", choices=["interval", "always"], default="interval")
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    import uvloop

    results = uvloop.run(measure(options.sync, options.size, options.rounds))
    print(json.dumps({"sync": options.sync, **results}, indent=2))


if __name__ == "__main__":
    main()
