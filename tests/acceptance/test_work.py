"""What workers do together, and what can be seen of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dagnats import TaskContext, Worker, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.model.event import event_type
from dagnats.runtime.memory.loop import virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.record import decoded
from dagnats.testing import Harness
from tests.api.site import in_virtual_time, site


@pytest.mark.parametrize("settings", [{"timeout": "500ms"}, {"heartbeat_timeout": "1m"}])
async def test_a_start_from_which_time_counts_is_in_the_history_before_the_handler_begins(
    settings: dict[str, Any],
) -> None:
    wf: Workflow[Any, Any] = Workflow("counted")

    @wf.step(**settings)
    async def work(ctx: TaskContext) -> list[str]:
        records = decoded(await h.client.connection.ports.log.read(ctx.run_id))
        return [event_type(record.event) for record in records]

    async with Harness([wf]) as h:
        assert "step.started" in (await h.run(wf)).output


@in_virtual_time
async def test_a_limit_of_one_makes_a_task_type_take_turns_whatever_its_workers() -> None:
    """What other systems do by queues that are divided among workers."""
    wf: Workflow[Any, Any] = Workflow("turns")
    under_way, most, by = 0, 0, set[str]()

    @handler("turns.work")
    async def work(item: int, ctx: TaskContext) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        by.add(ctx.worker_id)
        await asyncio.sleep(1)
        under_way -= 1

    for at in range(3):
        wf.task(f"work-{at}", work).with_task_concurrency(1)
    async with site(wf) as here:
        for name in ("one", "two", "three"):
            process = Process(virtual_loop(), name)
            client = AsyncClient(process.run(here.server.connect))
            process.spawn(Worker(client, [wf], worker_id=name, concurrency=2).run())
        runs = [await here.client.start("turns", 1) for _ in range(3)]
        for run in runs:
            assert (await run.wait(timeout=timedelta(minutes=5))).status == "completed"
    assert (most, len(by)) == (1, 3)
