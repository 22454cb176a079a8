"""Two worker processes on one server: they share the work, and one that is killed is not missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e import ledger
from tests.support.processes import Program, until
from tests.support.system import running

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats.runtime.embedded import EmbeddedServer

ORDERS = 60
ACK_WAIT_S = 2.0


@pytest.mark.timeout(120)
async def test_two_workers_share_the_tasks_and_when_one_is_killed_the_other_does_them_all(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    book = tmp_path / "ledger"
    env = {"DAGNATS_URL": nats_server.url, "DAGNATS_TOKEN": nats_server.token, "LEDGER": str(book)}
    doomed, other = (
        Program("worker", "tests.e2e.ledger", "--concurrency", "4", log=tmp_path / f"worker-{at}.log", env=env)
        for at in (0, 1)
    )
    async with running(nats_server) as system:
        await system.client.register(ledger.wf)
        for each in ledger.wf.handlers:  # the first to open a queue decides how long a worker may be silent
            await (await system.jetstream.feeds.tasks(each.task, ack_wait_s=ACK_WAIT_S, most=1)).close()
        with doomed, other:
            await asyncio.gather(doomed.says("Ctrl-C stops"), other.says("Ctrl-C stops"))
            orders = [ledger.Order(id=f"order-{at}", kind="good") for at in range(ORDERS)]
            runs = [await system.client.start("ledger", order, run_id=order.id) for order in orders]

            async def under_way() -> bool:
                return book.exists() and book.read_text().count("end ") >= ORDERS // 2

            await until(under_way)
            doomed.kill()
            assert [(await run.wait(timeout="60s")).status for run in runs] == ["completed"] * ORDERS
        done = [event for run in runs for event in await run.history() if event.type == "step.completed"]
    assert len(done) == 3 * ORDERS
    assert len({event.worker_id for event in done}) == 2, "both had a share"
    effects = [line.split()[1:3] for line in book.read_text().splitlines() if line.startswith("end ")]
    assert {tuple(effect) for effect in effects} == {
        (name, order.id) for name in ("reserve", "charge", "ship") for order in orders
    }
