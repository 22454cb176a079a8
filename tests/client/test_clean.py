"""Cleaning in memory: what leaves, what stays, and what the next one makes of one that was killed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dagnats import NotFoundError, UnavailableError, Workflow
from dagnats.client import AsyncClient
from dagnats.client.clean import CATEGORIES, choose, clean, places
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.link import Call, Link
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.patience import limit, persist
from tests.support import mortal as mortality
from tests.support.mortal import Fate, Killed, mortal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_SECOND = 1_000_000_000


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def work(name: str) -> Workflow[Any, Any]:
    """A workflow whose step nobody serves."""
    workflow = Workflow(name)
    workflow.task("work", "nobody.works")
    return workflow


class House:
    """A server with an engine; runs that have failed, each with a dead letter, and one that goes on."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.connection = self.server.connect()
        self.client = AsyncClient(self.connection)
        process = Process(virtual_loop(), "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run())

    async def begin(self, *over: str) -> None:
        for name in ("over", "live"):
            await self.client.register(work(name))
        await self.client.start("live", run_id="live-1")
        for run_id in over:
            handle = await self.client.start("over", run_id=run_id)
            await asyncio.sleep(1)
            await handle.fail_step("work", "no use")
        await asyncio.sleep(5)

    async def run_ids(self) -> set[str]:
        return {run.run_id for run in await self.client.runs()}

    def doomed(self, fate: Fate) -> AsyncClient:
        """A client that is killed where its fate says."""
        connection = SimpleNamespace(ports=mortal(self.connection.ports, fate), feeds=self.connection.feeds)
        return AsyncClient(cast("Any", connection))


def test_what_is_over_leaves_and_what_goes_on_stays_with_what_it_needs() -> None:
    async def main() -> None:
        house = House()
        await house.begin("over-1", "over-2")
        chosen = await choose(house.client, CATEGORIES)
        history, tasks, telemetry, letters, snapshots, definitions = await places(house.client, chosen)
        assert (history.messages > 4, tasks.messages, telemetry.messages, letters.messages) == (True, 0, 0, 2)
        assert (snapshots.messages, definitions.messages) == (2, 1)

        done = await clean(house.client, chosen)

        assert (done.runs, done.letters, done.workflows, done.left) == (2, 2, 1, [])
        assert await house.run_ids() == {"live-1"}
        assert await house.client.dead_letters() == []
        assert [each.name for each in await house.client.workflows()] == ["live"]
        with pytest.raises(NotFoundError):
            await house.client.handle("over-1").view()

    run(main())


def test_what_is_younger_than_asked_for_stays() -> None:
    async def main() -> None:
        house = House()
        await house.begin("over-1")
        await asyncio.sleep(600)
        await (await house.client.start("over", run_id="over-2")).cancel()
        await asyncio.sleep(5)

        now_ns = house.connection.ports.clock.now_ns()
        done = await clean(house.client, await choose(house.client, ("runs", "dlq"), before_ns=now_ns - 300 * _SECOND))

        assert (done.runs, done.letters) == (1, 1)
        assert await house.run_ids() == {"live-1", "over-2"}

    run(main())


def test_runs_that_go_on_are_cancelled_first_when_that_is_asked_for() -> None:
    async def main() -> None:
        house = House()
        await house.begin()

        done = await clean(house.client, await choose(house.client, ("runs",), include_running=True))

        assert (done.runs, done.left) == (1, [])
        assert await house.run_ids() == set()

    run(main())


def test_a_cleaning_that_was_killed_anywhere_is_completed_by_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    removals = {
        "log": {"append", "remove"},
        "definitions": {"remove", "remove_version"},
        **{name: {"remove"} for name in ("snapshots", "blobs", "signals", "waiters")},
    }
    monkeypatch.setattr(mortality, "WRITES", removals)

    async def passed() -> dict[str, int]:
        house, fate = House(), Fate()
        await house.begin("over-1", "over-2")
        await clean(house.doomed(fate), await choose(house.client, CATEGORIES))
        return dict(fate.passed)

    async def killed(boundary: tuple[str, int]) -> None:
        house = House()
        await house.begin("over-1", "over-2")
        with pytest.raises(Killed):
            await clean(house.doomed(Fate(boundary)), await choose(house.client, CATEGORIES))
        await clean(house.client, await choose(house.client, CATEGORIES))
        assert await house.run_ids() == {"live-1"}, boundary
        assert await house.client.dead_letters() == [], boundary
        assert await house.connection.ports.definitions.versions("over") == {}, boundary

    async def main() -> None:
        counts = await passed()
        assert sum(counts.values()) > 20
        for name, count in counts.items():
            for at in {1, count}:
                await killed((name, at))

    run(main())


class Fading(Link):
    """A connection on which nothing arrives any more from a call of some kind on."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self._last = last
        self._is_silent = False

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        self._is_silent = self._is_silent or call.kind == self._last
        if not self._is_silent:
            arrive()


@pytest.mark.parametrize("last", ["cell.read", "log.append", "snapshots.remove"])
def test_a_cleaning_that_nobody_answers_says_so_once_and_gives_up_with_what_to_do(
    last: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        house = House()
        await house.begin(*(f"over-{at}" for at in range(10)))
        chosen, begun_s = await choose(house.client, ("runs",)), asyncio.get_running_loop().time()
        cleaning = AsyncClient(house.server.connect(Fading(last)))

        with pytest.raises(UnavailableError, match="NATS has not answered for 30 s") as raised:
            await clean(cleaning, chosen)

        assert raised.value.hint == "once NATS is there again, the same cleaning removes what is left"
        assert 30 <= asyncio.get_running_loop().time() - begun_s < 60
        said = [record.getMessage() for record in caplog.records if record.name == "dagnats.nats"]
        assert len(said) == 1
        assert said[0].startswith("NATS does not answer; it is asked again for 30 s: ")
        assert (await clean(house.client, chosen)).runs == 10

    run(main())


def test_one_answer_begins_the_wait_anew() -> None:
    async def main() -> None:
        heard = [False, False, True, False, False, True]
        loop = asyncio.get_running_loop()

        async def ask() -> float:
            await asyncio.sleep(20)
            if not heard.pop(0):
                raise UnavailableError("no answer")
            return loop.time()

        with limit(30):
            assert (await persist(ask), await persist(ask)) == pytest.approx((60, 120), abs=1)

    run(main())
