"""`bench`: how fast this installation is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

import dagnats
from dagnats.cli.connection import open_nats, run_long
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, say, table
from dagnats.cli.progress import progress

if TYPE_CHECKING:
    from dagnats.client.bench import Latency, Load, Measured
    from dagnats.runtime.ports import Sync

_SYNC = {
    "always": "always: on disk before it is answered",
    "interval": "at intervals: a power cut can cost the last ones",
}


def bench(
    runs: int = typer.Option(1_000, "--runs", metavar="N", min=1, max=1_000_000, help="Runs that are measured."),
    in_flight: int = typer.Option(100, "--in-flight", metavar="N", min=1, max=10_000, help="Runs at a time."),
    warm_up: int = typer.Option(
        50, "--warm-up", metavar="N", min=0, max=100_000, help="Runs before, which do not count."
    ),
) -> None:
    """Measure throughput and latency of this installation: runs of three steps that do nothing.

    They are worked on in this process, under names of their own, and removed at the end.
    On an installation that is in use they take part in the load: what is measured is what is left.
    """
    from dagnats.client.bench import Load

    load = Load(runs, in_flight, warm_up)
    sync, measured = run_long(_measure(load))
    if current().json:
        emit(_document(load, sync, measured))
        return
    for line in _lines(load, sync, measured):
        say(line)


async def _measure(load: Load) -> tuple[Sync, Measured]:
    from dagnats.client.bench import arena, measure

    async with open_nats("dagnats bench") as client:
        sync = await client.connection.ports.server.sync()
        async with arena(client) as definition:
            with progress("runs measured") as told:
                return sync, await measure(client, definition, load, now=time.perf_counter, told=told)


def _lines(load: Load, sync: Sync, measured: Measured) -> list[str]:
    from dagnats.client.bench import STEPS

    header = ("", "RUNS", "P50", "P95", "P99")
    rows = [_row("one at a time", measured.alone), _row(f"{load.in_flight} at a time", measured.loaded)]
    return [
        f"{counted(STEPS, 'step')} a run, one worker in this process; writes {_SYNC[sync]}",
        "",
        *table(header, rows),
        "",
        f"Throughput: {measured.runs_per_s:,.0f} runs/s, {measured.steps_per_s:,.0f} steps/s",
    ]


def _row(name: str, latency: Latency) -> tuple[str, ...]:
    return (name, f"{latency.runs:,}", *(f"{ms:.1f} ms" for ms in latency[1:]))


def _document(load: Load, sync: Sync, measured: Measured) -> dict[str, Any]:
    from dagnats.client.bench import STEPS

    return {
        "version": dagnats.__version__,
        "sync": sync,
        "steps_per_run": STEPS,
        "runs": load.runs,
        "in_flight": load.in_flight,
        "warm_up": load.warm_up,
        "alone": _figures(measured.alone),
        "loaded": _figures(measured.loaded),
        "runs_per_s": round(measured.runs_per_s, 1),
        "steps_per_s": round(measured.steps_per_s, 1),
    }


def _figures(latency: Latency) -> dict[str, float]:
    return {
        "runs": latency.runs,
        "p50_ms": round(latency.p50_ms, 2),
        "p95_ms": round(latency.p95_ms, 2),
        "p99_ms": round(latency.p99_ms, 2),
    }
