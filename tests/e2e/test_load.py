"""Much at once, on real NATS: a large map, two engines under load, events that race their waiters.

`make load` does it at the size that is promised: `LOAD_RUNS=2000` takes half a minute, `LOAD_ITEMS=10000` is as many as
a map may have.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Workflow, handler
from tests.e2e import ledger
from tests.e2e.chaos import EFFECTS, KINDS, STATUS, TERMINAL
from tests.support.processes import Program
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dagnats.client import RunHandle
    from dagnats.runtime.embedded import EmbeddedServer

ITEMS = int(os.environ.get("LOAD_ITEMS", "4000"))
RUNS = int(os.environ.get("LOAD_RUNS", "200"))
EVENTS = 200
AT_ONCE = 200
WITHIN = timedelta(minutes=4)


def environment(server: EmbeddedServer, **more: str) -> dict[str, str]:
    return {"DAGNATS_URL": server.url, "DAGNATS_TOKEN": server.token, **more}


def verified(server: EmbeddedServer, tmp_path: Path) -> str:
    """What `dagnats verify` says; fails unless it found nothing."""
    with Program("verify", log=tmp_path / "verify.log", env=environment(server)) as program:
        assert program.ended(within_s=200) == 0, program.output
        return program.output


@handler("load.numbers")
async def numbers(count: int) -> list[int]:
    return list(range(count))


@handler("load.square")
async def square(number: int) -> int:
    return number * number


@handler("load.total")
async def total(squares: list[int]) -> dict[str, Any]:
    return {"in_order": squares == [number * number for number in range(len(squares))], "count": len(squares)}


@pytest.mark.timeout(400)
async def test_a_map_of_thousands_of_items_finishes(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    wf = Workflow("load-map")
    squares = wf.map("squares", square, over=wf.task("numbers", numbers)).with_max_items(ITEMS)
    wf.task("total", total).after(squares)
    async with running(nats_server) as system:
        await system.client.register(wf)
        worker = system.start_worker([wf], concurrency=AT_ONCE, ack_wait=timedelta(minutes=5))
        run = await system.client.start(wf, ITEMS)
        assert await run.result(timeout=WITHIN) == {"in_order": True, "count": ITEMS}
        kinds = Counter(event.type for event in await run.history())
        assert kinds["step.completed"] == ITEMS + 2, "one for each item and for the steps around them"
        worker.stop()
    assert "1 run, " in verified(nats_server, tmp_path)


async def test_an_event_published_just_before_its_waiter_is_matched(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    """It is in the log before the engine can have heard of the run, or just then, or just after: all of it happens."""
    wf = Workflow("load-wait")
    wf.wait_for_event("wait", "load.paid", match=wf.event["order"] == wf.input["order"], timeout="60s")
    engine = Program("serve", log=tmp_path / "engine.log", env=environment(nats_server))
    async with running(nats_server, engine=False) as system:
        await system.client.register(wf)

        async def raced(order: int) -> Any:
            run = await system.client.start(wf, {"order": order})
            await system.client.publish_event("load.paid", {"order": order})
            return await run.result(timeout="90s")

        with engine:
            await engine.says("Ctrl-C stops")
            outputs = await asyncio.gather(*(raced(order) for order in range(EVENTS)))
    assert outputs == [{"order": order} for order in range(EVENTS)]
    assert f"{EVENTS} runs, " in verified(nats_server, tmp_path)


@pytest.mark.timeout(400)
async def test_two_engines_started_together_do_everything_once(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    book = tmp_path / "ledger"
    env = environment(nats_server, LEDGER=str(book))
    engines = [Program("serve", log=tmp_path / f"engine-{at}.log", env=env) for at in (0, 1)]
    worker = Program("worker", "tests.e2e.ledger", "--concurrency", "100", log=tmp_path / "worker.log", env=env)
    orders = {f"order-{at}": KINDS[at % len(KINDS)] for at in range(RUNS)}
    async with running(nats_server, engine=False) as system:
        await system.client.register(ledger.wf)
        with engines[0], engines[1], worker:
            runs = await started(system, orders)
            for run in runs:
                view = await run.wait(timeout=WITHIN)
                assert view.status == STATUS[orders[run.run_id]], f"{run.run_id} ended as {view.status}"
            outputs = [engine.output for engine in engines]
            assert [("standing by" in output) for output in outputs].count(True) == 1, outputs
        for run in runs:
            kinds = Counter(event.type for event in await run.history())
            assert sum(kinds[name] for name in TERMINAL) == 1, f"{run.run_id} did not end once: {kinds}"
    effects = Counter(line.rpartition(" ")[0] for line in book.read_text().splitlines())
    wanted = [f"{name} {order}" for order, kind in orders.items() for name in EFFECTS[kind]]
    assert effects == {f"{when} {what}": 1 for what in wanted for when in ("begin", "end")}
    assert f"{RUNS} runs, " in verified(nats_server, tmp_path)


async def started(system: System, orders: dict[str, str]) -> Sequence[RunHandle]:
    """A run for each order, many at a time."""
    runs: list[RunHandle] = []
    waiting = [ledger.Order(id=order, kind=kind) for order, kind in orders.items()]
    for first in range(0, len(waiting), AT_ONCE):
        batch = waiting[first : first + AT_ONCE]
        runs += await asyncio.gather(*(system.client.start("ledger", order, run_id=order.id) for order in batch))
    return runs
