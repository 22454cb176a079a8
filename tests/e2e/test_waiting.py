"""Thousands of runs wait for their retry; meanwhile everything is stopped and started again.

`WAITING_RUNS=5000 WAITING_SECONDS=30` makes it the size that is promised.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from dagnats.client import AsyncClient
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from tests.e2e.waiting import WAIT_S, wf
from tests.support.processes import Program, until

if TYPE_CHECKING:
    from pathlib import Path

RUNS = int(os.environ.get("WAITING_RUNS", "1000"))
AT_ONCE = 200


@pytest.mark.alone
@pytest.mark.timeout(240)
async def test_thousands_of_waiting_runs_survive_a_restart_of_everything_and_fire_on_time(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0)
    await server.start()
    env = {"DAGNATS_URL": server.url, "DAGNATS_TOKEN": server.token}
    engine = Program("serve", log=tmp_path / "engine.log", env=env)
    worker = Program("worker", "tests.e2e.waiting", "--concurrency", "200", log=tmp_path / "worker.log", env=env)
    try:
        async with await JetStream.connect(server.url, token=server.token) as jetstream:
            await jetstream.ports.server.prepare()
            client = AsyncClient(jetstream)
            definition = (await client.register(wf)).definition
            engine.start()
            worker.start()
            await worker.says("Ctrl-C stops")
            begun = time.monotonic()
            for first in range(0, RUNS, AT_ONCE):
                names = (f"waits-{at}" for at in range(first, first + AT_ONCE))
                await asyncio.gather(*(client.start_json(definition, b"1", run_id=name) for name in names))

            async def all_wait() -> bool:
                state = (await jetstream.link.api("STREAM.INFO.SLEEP_TIMERS"))["state"]
                return bool(state["messages"] == RUNS)

            await until(all_wait, within_s=60, what="all runs to wait")
            engine.ask_to_stop()
            worker.ask_to_stop()
            assert (engine.ended(), worker.ended()) == (0, 0)
            port = int(server.url.rpartition(":")[2])
            await server.stop()
            server = EmbeddedServer(server.folder, port=port)
            await server.start()
            engine.start()
            worker.start()
            await worker.says("Ctrl-C stops")
            assert time.monotonic() - begun < WAIT_S, "some were due while nothing ran"
            late_s: list[float] = []
            for first in range(0, RUNS, AT_ONCE):
                late_s += await asyncio.gather(
                    *(_late_s(client, f"waits-{at}") for at in range(first, first + AT_ONCE))
                )
            assert min(late_s) >= 0, "a wake-up was early"
            assert max(late_s) < 1.0
    finally:
        engine.close()
        worker.close()
        await server.stop()


async def _late_s(client: AsyncClient, run_id: str) -> float:
    """How long after it was due a run's only wake-up came, by the server's clock."""
    run = client.handle(run_id)
    assert await run.result(int, timeout="60s") == 1
    history = await run.history()
    failed = next(event.time_ns for event in history if event.type == "step.failed")
    fired = next(event.time_ns for event in history if event.type == "timer.fired")
    return (fired - failed) / 1e9 - WAIT_S
