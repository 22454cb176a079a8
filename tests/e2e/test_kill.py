"""kill -9 of the engine and of the worker under load: every run ends as it should, no effect is missing."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dagnats.client import AsyncClient
from dagnats.runtime.jetstream.adapter import JetStream
from tests.e2e import ledger
from tests.support.processes import Program, until

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats.runtime.embedded import EmbeddedServer

RUNS = 200
KINDS = ("good", "declined", "flaky")
STATUS = {"good": "completed", "declined": "compensated", "flaky": "completed"}
EFFECTS = {
    "good": {"reserve", "charge", "ship"},
    "declined": {"reserve", "release"},
    "flaky": {"reserve", "charge", "ship"},
}
TERMINAL = ("workflow.completed", "workflow.failed", "workflow.cancelled", "compensate.completed", "compensate.failed")
ACK_WAIT_S = 2.0  # how long a killed worker's tasks stay away


class Ledger:
    """What the handlers wrote."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def lines(self) -> list[list[str]]:
        text = self.file.read_text() if self.file.exists() else ""
        return [line.split() for line in text.splitlines()]

    def inside(self) -> int:
        """How many handlers have begun and not ended."""
        counts = Counter(line[0] for line in self.lines())
        return counts["begin"] - counts["end"]

    def effects(self, order: str) -> set[str]:
        return {line[1] for line in self.lines() if line[0] == "end" and line[2] == order}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_killed_engine_and_a_killed_worker_lose_nothing(
    nats_server: EmbeddedServer, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    book = Ledger(tmp_path / "ledger")
    env = {
        "DAGNATS_URL": nats_server.url,
        "DAGNATS_TOKEN": nats_server.token,
        "LEDGER": str(book.file),
    }
    engine = Program("serve", log=tmp_path / "engine.log", env=env)
    worker = Program("worker", "tests.e2e.ledger", "--concurrency", "10", log=tmp_path / "worker.log", env=env)
    async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
        await jetstream.ports.server.prepare()
        client = AsyncClient(jetstream)
        await client.register(ledger.wf)
        for handler in ledger.wf.handlers:  # the first to open a queue decides how long a worker may be silent
            await (await jetstream.feeds.tasks(handler.task, ack_wait_s=ACK_WAIT_S, most=1)).close()
        with engine, worker:
            kinds = {f"order-{at}": chance.choice(KINDS) for at in range(RUNS)}
            for order, kind in kinds.items():
                await client.start(ledger.wf, ledger.Order(id=order, kind=kind), run_id=order)

            await _kill_under_load(client, book, engine, ended=chance.randint(20, 50))
            await _kill_under_load(client, book, worker, ended=chance.randint(70, 120))

            for order, kind in kinds.items():
                view = await client.handle(order).wait(timeout=timedelta(seconds=90))
                assert view.status == STATUS[kind], f"{order} ({kind}): {view}"
                assert book.effects(order) >= EFFECTS[kind], f"{order} ({kind}): {book.effects(order)}"
                types = Counter(event.type for event in await client.handle(order).history())
                assert sum(types[name] for name in TERMINAL) == 1, f"{order} did not end once: {types}"


async def _kill_under_load(client: AsyncClient, book: Ledger, program: Program, *, ended: int) -> None:
    """kill -9 `program` while runs are unfinished and a handler is inside; start it again."""

    async def loaded() -> bool:
        return (await client.status()).active_runs <= RUNS - ended and book.inside() > 0

    await until(loaded, within_s=60, what=f"{ended} ended runs and a handler inside")
    program.kill()
    unfinished = (await client.status()).active_runs
    assert unfinished >= 50, f"only {unfinished} runs were unfinished at the kill"
    assert book.inside() > 0, "no handler was inside at the kill"
    program.start()
