"""kill -9 at random, round after round, over a running load: `python -m tests.e2e.chaos [--rounds N] [--seed N]`.

Two engines, a worker and a NATS server in processes of their own; the client lives here. Each round kills one of them,
or all (or stops the leading engine for a while: `frozen`), while at least `UNFINISHED` runs are unfinished, and waits
until runs end again. At the end every start that
was acknowledged has ended as it should, once, and its effects are in the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dagnats.client import AsyncClient
from dagnats.errors import UnavailableError
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from tests.e2e import ledger
from tests.support.processes import Program, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client import RunHandle

UNFINISHED = 50
_LOAD = 100
_EFFECT_S = 0.4  # slow enough that the client, which starts one run at a time, is always far ahead of the worker
_ACK_WAIT_S = 2.0  # how long a killed worker's tasks stay away
KINDS = ("good", "declined", "flaky")
STATUS = {"good": "completed", "declined": "compensated", "flaky": "completed"}
EFFECTS = {
    "good": {"reserve", "charge", "ship"},
    "declined": {"reserve", "release"},
    "flaky": {"reserve", "charge", "ship"},
}
TERMINAL = {"workflow.completed", "workflow.failed", "workflow.cancelled", "compensate.completed", "compensate.failed"}
TARGETS = ("engine", "standby", "worker", "nats-server", "all", "frozen")
FROZEN_S = 30.0
"""How long the leader stands still in a round of `frozen`: far longer than its lease."""


class Load:
    """Starts orders so that `_LOAD` of them are always under way."""

    def __init__(self, client: AsyncClient, chance: random.Random) -> None:
        self._client = client
        self._chance = chance
        self.orders: dict[str, str] = {}
        self.finished: dict[str, str] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._starting = asyncio.create_task(self._start())

    @property
    def unfinished(self) -> int:
        return len(self.orders) - len(self.finished)

    async def stop(self) -> None:
        """Start no more, and wait until all have ended."""
        self._starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._starting
        await asyncio.gather(*self._waiting)

    async def _start(self) -> None:
        while True:
            if self.unfinished >= _LOAD:
                await asyncio.sleep(0.005)
                continue
            order, kind = f"order-{len(self.orders)}", self._chance.choice(KINDS)
            run = await self._begun(ledger.Order(id=order, kind=kind))
            self.orders[order] = kind
            task = asyncio.create_task(self._wait(run))
            self._waiting.add(task)
            task.add_done_callback(lambda done: self._waiting.discard(done) if not done.exception() else None)

    async def _begun(self, order: ledger.Order) -> RunHandle:
        while True:
            try:
                return await self._client.start("ledger", order, run_id=order.id)
            except UnavailableError:  # it may have been stored; the same id again finds out
                await asyncio.sleep(0.05)

    async def _wait(self, run: RunHandle) -> None:
        while True:
            try:
                self.finished[run.run_id] = (await run.wait(timeout="120s")).status
                return
            except UnavailableError:
                await asyncio.sleep(0.05)


class Stage:
    """The processes."""

    def __init__(self, folder: Path, server: EmbeddedServer, book: Path, frozen_s: float) -> None:
        env = {"DAGNATS_URL": server.url, "DAGNATS_TOKEN": server.token, "LEDGER": str(book)}
        env["LEDGER_EFFECT_S"] = str(_EFFECT_S)
        self.server = server
        self.engines = [Program("serve", log=folder / f"engine-{at}.log", env=env) for at in (0, 1)]
        self.worker = Program("worker", "tests.e2e.ledger", "--concurrency", "16", log=folder / "worker.log", env=env)
        self.frozen_s = frozen_s

    def start(self) -> None:
        for program in (*self.engines, self.worker):
            program.start()

    def close(self) -> None:
        for program in (*self.engines, self.worker):
            program.close()

    async def kill(self, target: str, leader: int) -> None:
        """kill -9, and start it again."""
        match target:
            case "engine":
                self._again(self.engines[leader])
            case "standby":
                self._again(self.engines[1 - leader])
            case "worker":
                self._again(self.worker)
            case "nats-server":
                await self._server_again()
            case "frozen":
                self.engines[leader].freeze()
                await asyncio.sleep(self.frozen_s)
                self.engines[leader].thaw()
            case _:
                programs = [*self.engines, self.worker]
                os.kill(self.server.pid, signal.SIGKILL)
                for program in programs:
                    program.kill()
                await self._server_again(killed=True)
                for program in programs:
                    program.start()

    def _again(self, program: Program) -> None:
        program.kill()
        program.start()

    async def _server_again(self, *, killed: bool = False) -> None:
        if not killed:
            os.kill(self.server.pid, signal.SIGKILL)
        port = int(self.server.url.rpartition(":")[2])
        await self.server.stop()
        self.server = EmbeddedServer(self.server.folder, port=port)
        await self.server.start()


async def _leader(jetstream: JetStream, stage: Stage) -> int:
    """Which of the two engines leads, by the process that holds the lease."""
    while True:
        with contextlib.suppress(UnavailableError):
            stored = await jetstream.ports.lease.read()
            holder = stored.data.decode() if stored is not None else ""
            for at, engine in enumerate(stage.engines):
                if holder.endswith(f"-{engine.pid}"):
                    return at
        await asyncio.sleep(0.02)


async def rounds(
    folder: Path, targets: Sequence[str], seed: int, *, frozen_s: float = FROZEN_S
) -> dict[str, list[float]]:
    """Kill each of `targets` in turn; gives the seconds until runs ended again, by target."""
    chance = random.Random(seed)
    book = folder / "ledger"
    server = EmbeddedServer(folder / "nats", port=0)
    await server.start()
    stage = Stage(folder, server, book, frozen_s)
    recovered: dict[str, list[float]] = {target: [] for target in targets}
    try:
        async with await JetStream.connect(server.url, token=server.token) as jetstream:
            await jetstream.ports.server.prepare()
            client = AsyncClient(jetstream)
            await client.register(ledger.wf)
            for handler in ledger.wf.handlers:  # the first to open a queue decides how long a worker may be silent
                await (await jetstream.feeds.tasks(handler.task, ack_wait_s=_ACK_WAIT_S, most=1)).close()
            stage.start()
            load = Load(client, chance)
            for target in targets:
                await _round(load, stage, jetstream, target, chance, recovered[target])
            await asyncio.wait_for(load.stop(), 120)
            await _check(client, load, book)
    finally:
        stage.close()
        await stage.server.stop()
    return recovered


async def _round(
    load: Load, stage: Stage, jetstream: JetStream, target: str, chance: random.Random, recovered: list[float]
) -> None:
    before = len(load.finished)

    async def loaded() -> bool:
        return load.unfinished >= UNFINISHED + 20 and len(load.finished) > before + 10

    await until(loaded, within_s=60, what=f"a running load before killing {target}")
    await asyncio.sleep(chance.uniform(0.0, 0.3))  # not always at the same place
    leader = await _leader(jetstream, stage)
    await until(loaded, within_s=60, what=f"the load again before killing {target}")  # it may have been worked off
    assert load.unfinished >= UNFINISHED, f"only {load.unfinished} runs were unfinished at the kill of {target}"
    ended, killed = len(load.finished), time.monotonic()
    await stage.kill(target, leader)
    if target != "frozen":
        ended = len(load.finished)

    async def ends_again() -> bool:
        return len(load.finished) >= ended + 10

    await until(ends_again, within_s=60, what=f"runs that end after the kill of {target}")
    recovered.append(time.monotonic() - killed)


async def _check(client: AsyncClient, load: Load, book: Path) -> None:
    done: dict[str, set[str]] = {}
    for line in book.read_text().splitlines():
        moment, effect, order, _ = line.split()
        if moment == "end":
            done.setdefault(order, set()).add(effect)
    assert load.finished.keys() == load.orders.keys(), "an acknowledged start has not ended"
    for order, kind in load.orders.items():
        assert load.finished[order] == STATUS[kind], f"{order} ({kind}) ended as {load.finished[order]}"
        assert done[order] >= EFFECTS[kind], f"{order} ({kind}): {done[order]}"
        kinds = Counter(event.type for event in await client.handle(order).history())
        assert sum(kinds[name] for name in TERMINAL) == 1, f"{order} did not end once: {kinds}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="per target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=TARGETS, action="append", help="only these; all of them when left out")
    options = parser.parse_args()
    for target in options.target or TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            found = asyncio.run(rounds(Path(folder), [target] * options.rounds, options.seed))
            took = sorted(found[target])
            sys.stdout.write(
                f"{target}: {len(took)} kills, runs ended again after {took[len(took) // 2]:.1f} s (median), "
                f"{took[-1]:.1f} s (worst); {time.monotonic() - begun:.0f} s in all\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
