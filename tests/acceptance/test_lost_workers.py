"""Workers that die again and again over one task. In memory, where a process can be killed at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

from dagnats import Fixed, TaskContext, Worker, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.workbench import MOST_DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.client.run import RunHandle


class Plant:
    """A server with an engine, and workers that can be killed."""

    def __init__(self, wf: Workflow[Any, Any]) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())
        self._wf = wf

    async def open(self) -> None:
        await self.client.register(self._wf)
        engine = Process(virtual_loop(), "engine")
        memory = engine.run(self.server.connect)
        engine.spawn(Engine(memory.ports, memory.feeds).run())

    def worker(self, name: str) -> Process:
        process = Process(virtual_loop(), name)
        client = AsyncClient(process.run(self.server.connect))
        process.spawn(Worker(client, [self._wf], worker_id=name, ack_wait=timedelta(seconds=2)).run())
        return process


async def _deadly() -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    wf = Workflow("deadly")

    @wf.step(timeout="1h", retry=Fixed(max_attempts=1, initial_delay="1s"))
    async def work(ctx: TaskContext) -> str:
        begun.put_nowait(ctx.worker_id)
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return f"attempt {ctx.attempt}"

    plant = Plant(wf)
    await plant.open()
    run = await plant.client.start(wf)
    for at in range(MOST_DELIVERIES - 1):
        worker = plant.worker(f"w{at}")
        assert await begun.get() == f"w{at}"
        await asyncio.sleep(1)  # long enough to have said that it began
        worker.kill()
    plant.worker("last")
    view = await run.wait()
    assert (view.status, view.output, view.steps[0].attempts) == ("completed", "attempt 2", 2)
    (failed,) = [event for event in await run.history() if event.type == "step.failed"]
    assert "given up: 3 workers were lost while they ran this attempt" in str(failed.payload)
    assert begun.qsize() == 1, "the last one did not run the first attempt again"


def test_an_attempt_that_loses_worker_after_worker_is_given_up() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_deadly())


class Seen(NamedTuple):
    """A handler that was called."""

    step_id: str
    worker_id: str
    at_s: float


class Kept:
    """Runs of two steps and a nap between them, which keep to a worker; workers that can be killed."""

    def __init__(self, mode: Literal["soft", "hard"]) -> None:
        self.wf = Workflow(f"kept-{mode}").with_sticky(mode)
        if mode == "hard":
            self.wf.with_timeout("1h")
        self.seen: list[Seen] = []
        self._begun = defaultdict[str, asyncio.Event](asyncio.Event)

        async def work(ctx: TaskContext) -> str:
            self.seen.append(Seen(ctx.step_id, ctx.worker_id, asyncio.get_running_loop().time()))
            self._begun[ctx.step_id].set()
            await asyncio.sleep(30)  # longer than anybody waits for a worker that is preferred
            return ctx.worker_id

        first, second = (self.wf.task(name, handler(f"kept.{mode}.{name}")(work)) for name in ("first", "second"))
        second.with_retry(Fixed(max_attempts=1, initial_delay="1s"))
        second.after(self.wf.sleep("nap", "1m").after(first))
        self.plant = Plant(self.wf)

    async def start(self) -> RunHandle:
        """A run whose first step is done by worker `one`, before `two` is there."""
        await self.plant.open()
        self.one = self.plant.worker("one")
        run = await self.plant.client.start(self.wf)
        await asyncio.sleep(60)
        self.plant.worker("two")
        return run

    async def begun(self, step_id: str) -> None:
        await self._begun[step_id].wait()

    @property
    def who(self) -> list[tuple[str, str]]:
        return [(seen.step_id, seen.worker_id) for seen in self.seen]


def _played(played: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(played)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_run_keeps_to_its_worker_and_runs_no_step_twice(mode: Literal["soft", "hard"]) -> None:
    async def play() -> None:
        kept = Kept(mode)
        run = await kept.start()
        assert (await run.wait()).status == "completed"
        assert kept.who == [("first", "one"), ("second", "one")]
        assert len(kept.plant.server.own_tasks) == 0

    _played(play())


def test_a_run_that_prefers_a_worker_outlives_it_and_runs_no_step_twice() -> None:
    async def play() -> None:
        kept = Kept("soft")
        run = await kept.start()
        kept.one.kill()
        assert (await run.wait()).status == "completed"
        assert kept.who == [("first", "one"), ("second", "two")]
        assert 94 < kept.seen[1].at_s - kept.seen[0].at_s < 97, "a minute after the first step, and 5 s for its worker"
        assert len(kept.plant.server.own_tasks) == 0

    _played(play())


def test_a_run_outlives_a_worker_that_dies_over_a_step() -> None:
    async def play() -> None:
        kept = Kept("soft")
        run = await kept.start()
        await kept.begun("second")
        kept.one.kill()
        assert (await run.wait()).status == "completed"
        assert kept.who == [("first", "one"), ("second", "one"), ("second", "two")]
        assert 59 < kept.seen[2].at_s - kept.seen[1].at_s < 63

    _played(play())


def test_a_run_that_needs_a_worker_waits_for_it_to_come_back() -> None:
    async def play() -> None:
        kept = Kept("hard")
        run = await kept.start()
        kept.one.kill()
        await asyncio.sleep(60)
        kept.plant.worker("one")
        assert (await run.wait()).status == "completed"
        assert kept.who == [("first", "one"), ("second", "one")]

    _played(play())


def test_a_run_that_needs_a_worker_which_is_gone_fails_and_does_not_hang() -> None:
    async def play() -> None:
        kept = Kept("hard")
        run = await kept.start()
        kept.one.kill()
        view = await run.wait()
        assert (view.status, view.error) == ("failed", "the run keeps to worker 'one', which did not begin it for 60s")
        assert next(step for step in view.steps if step.id == "second").attempts == 2
        assert kept.who == [("first", "one")]
        assert len(kept.plant.server.own_tasks) == 0

    _played(play())
