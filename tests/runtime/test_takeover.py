"""What the next engine finds, and makes of it: long outages, lost tails, lost snapshots, parked runs."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from typing import Any

import pytest

from dagnats import TaskContext, Workflow, handler
from dagnats.client.run import RunHandle
from dagnats.errors import DagnatsError
from dagnats.model.event import StepCompleted
from dagnats.runtime import arrears, decider
from dagnats.runtime.core import advance as core
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.resources import prepare
from tests.runtime.test_crash import engine
from tests.support.mortal import Fate
from tests.support.processes import until
from tests.support.system import running

WIDTH = 40
_calls: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    _calls.clear()


@handler("takeover.work")
async def work(value: str, ctx: TaskContext) -> str:
    _calls[f"{ctx.run_id}.{ctx.step_id}"] += 1
    return value


def fan() -> Workflow:
    workflow = Workflow("fan")
    workflow.task("last", "takeover.join").after(*(workflow.task(f"s{at}", work) for at in range(WIDTH)))
    return workflow


@handler("takeover.join")
async def join(values: dict[str, str], ctx: TaskContext) -> int:
    _calls[f"{ctx.run_id}.{ctx.step_id}"] += 1
    return len(values)


def chain(name: str = "chain", length: int = 3) -> Workflow:
    workflow = Workflow(name)
    last = workflow.task("s0", work)
    for at in range(1, length):
        last = workflow.task(f"s{at}", work).after(last)
    return workflow


async def status(run: RunHandle, step_id: str) -> str:
    """A step's status."""
    return next(step.status for step in (await run.view()).steps if step.id == step_id)


async def test_an_outage_longer_than_the_server_remembers_ids_runs_no_finished_step_again(
    nats_server: EmbeddedServer,
) -> None:
    window_s = 0.5
    async with running(nats_server, engine=False, prepared=False) as system:
        await prepare(system.jetstream.link, window_s=window_s)
        workflow = fan()
        await system.client.register(workflow)
        system.start_worker([workflow, join])
        await system.client.register(chain())
        fate = Fate()
        async with engine(system, fate):
            await system.client.run("chain", "x")
            fate.hanging = {"position.write"}  # it acts, and nobody will know how far it was
            begun = [await system.client.start("fan", "x", run_id=f"fan-{at}") for at in range(5)]

            async def finished() -> bool:
                return sum(_calls.values()) == 3 + len(begun) * (WIDTH + 1)

            await until(finished)
        forgotten = time.monotonic() + window_s * 2

        async def long_ago() -> bool:
            return time.monotonic() > forgotten

        await until(long_ago)
        async with engine(system, Fate()):
            for run in begun:
                assert await run.result(int, timeout="10s") == WIDTH
        assert set(_calls.values()) == {1}
        for run in begun:
            kinds = Counter(event.type for event in await run.history())
            assert kinds["workflow.completed"] == 1
            assert kinds["step.completed"] == WIDTH + 1


async def test_tasks_that_wait_in_their_queue_through_a_long_outage_are_not_queued_again(
    nats_server: EmbeddedServer,
) -> None:
    window_s = 0.5
    async with running(nats_server, engine=False, prepared=False) as system:
        await prepare(system.jetstream.link, window_s=window_s)
        await system.client.register(fan())
        fate = Fate()
        tasks = system.jetstream.ports.tasks
        async with engine(system, fate):

            async def leads() -> bool:
                return fate.passed["position.write:stored"] > 0

            await until(leads)
            fate.hanging = {"position.write"}
            run = await system.client.start("fan", "x", run_id="waits")

            async def queued() -> bool:
                return fate.passed["tasks.put:stored"] == WIDTH

            await until(queued)
        newest = await tasks.last()
        forgotten = time.monotonic() + window_s * 2

        async def long_ago() -> bool:
            return time.monotonic() > forgotten

        await until(long_ago)
        async with engine(system, Fate()):
            other = await system.client.start("fan", "x", run_id="after")
            system.start_worker([work, join])
            assert await other.result(int, timeout="10s") == WIDTH
            assert await run.result(int, timeout="10s") == WIDTH
        assert await tasks.last() == newest + 1 + WIDTH + 1, "the join, and the other run's"
        assert set(_calls.values()) == {1}


async def test_without_snapshots_everything_goes_on_from_the_log(nats_server: EmbeddedServer) -> None:
    gate = asyncio.Event()

    @handler("takeover.gate")
    async def wait(value: str) -> str:
        await gate.wait()
        return value

    async with running(nats_server) as system:
        workflow = Workflow("gated")
        last = workflow.task("before", work)
        workflow.task("after", work).after(workflow.task("gate", wait).after(last))
        await system.client.register(workflow)
        system.start_worker([workflow])
        done = [await system.client.start(workflow, f"{at}") for at in range(5)]
        gate.set()
        for run in done:
            await run.result(timeout="10s")
        gate.clear()
        begun = [await system.client.start(workflow, f"{at}") for at in range(20)]

        async def inside() -> bool:
            return [await status(run, "gate") for run in begun] == ["running"] * len(begun)

        await until(inside)
        before = [await run.view() for run in done]
        await system.stop_engine()
        await system.jetstream.link.api("STREAM.DELETE.KV_workflow_runs")
        await system.jetstream.ports.server.prepare()
        system.start_engine()
        gate.set()
        for at, run in enumerate(begun):
            assert await run.result(timeout="10s") == f"{at}"
        assert [await run.view() for run in done] == before
        assert set(_calls.values()) == {1}


async def _cut_back(server: EmbeddedServer, kept: Any) -> EmbeddedServer:
    """The server again, with the history as it was when `kept` was copied."""
    port = int(server.url.rpartition(":")[2])
    await server.stop()
    history = next((server.folder / "jetstream").rglob("WORKFLOW_HISTORY"))
    shutil.rmtree(history)
    shutil.copytree(kept, history)
    again = EmbeddedServer(server.folder, port=port)
    await again.start()
    return again


async def _kept(server: EmbeddedServer) -> tuple[EmbeddedServer, Any]:
    """A copy of the history, and the server again."""
    port = int(server.url.rpartition(":")[2])
    await server.stop()
    history = next((server.folder / "jetstream").rglob("WORKFLOW_HISTORY"))
    copy = server.folder / "kept"
    shutil.copytree(history, copy)
    again = EmbeddedServer(server.folder, port=port)
    await again.start()
    return again, copy


@pytest.mark.parametrize("engine_stays", [False, True])
async def test_a_log_that_lost_its_tail_is_noticed_and_every_run_still_ends(
    nats_server: EmbeddedServer, engine_stays: bool
) -> None:
    """Power loss: events that an engine has acted on are gone, tasks they led to are answered or still queued."""
    gate = asyncio.Event()

    @handler("takeover.second")
    async def second(value: str) -> str:
        await gate.wait()
        return value

    server = nats_server
    async with running(server) as system:
        workflow = Workflow("cut")
        workflow.task("second", second).after(workflow.task("first", work))
        await system.client.register(workflow)
        begun = [await system.client.start(workflow, f"{at}", run_id=f"cut-{at}") for at in range(10)]

        async def queued() -> bool:
            return [await status(run, "first") for run in begun] == ["queued"] * len(begun)

        await until(queued)
        server, kept = await _kept(server)
        try:
            system.start_worker([workflow])
            lost = await system.client.start(workflow, "lost", run_id="lost")

            async def half_done() -> bool:
                return [await status(run, "second") for run in [*begun, lost]] == ["running"] * 11

            await until(half_done)
            if not engine_stays:
                await system.stop_engine()
            server = await _cut_back(server, kept)
            if not engine_stays:
                system.start_engine()
            gate.set()
            for at, run in enumerate(begun):
                assert await run.result(timeout="30s") == f"{at}"
            assert await system.client.run(workflow, "new") == "new"
            for run in begun:
                kinds = Counter(event.type for event in await run.history())
                assert kinds["workflow.completed"] == 1

            async def none_is_active() -> bool:
                return (await system.client.status()).active_runs == 0

            await until(none_is_active)
        finally:
            await system.close()
            await server.stop()


async def test_an_event_the_core_cannot_decide_parks_its_run_until_an_engine_can(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core.advance

    def breaks_on_unlucky(graph: Any, run: Any, record: Any) -> Any:
        if record.event.run_id == "unlucky" and isinstance(record.event, StepCompleted):
            raise ZeroDivisionError("a bug")
        return real(graph, run, record)

    async with running(nats_server, engine=False) as system:
        workflow = chain()
        await system.client.register(workflow)
        system.start_worker([workflow])
        with monkeypatch.context() as broken:
            for module in (arrears, core, decider):
                broken.setattr(module, "advance", breaks_on_unlucky)
            system.start_engine()
            unlucky = await system.client.start(workflow, "x", run_id="unlucky")

            async def parked() -> bool:
                return bool(await system.dead_letters())

            await until(parked)
            assert await system.client.run(workflow, "y") == "y"
            ((subject, headers, _),) = await system.dead_letters()
            assert subject == "dead.orchestrator.parked.unlucky"
            assert headers["Dagnats-Dlq-Error"] == "ZeroDivisionError: a bug"
            await system.stop_engine()
            system.start_engine()  # the same mistake again: still parked, still nothing else stopped
            assert await system.client.run(workflow, "z") == "z"
            with pytest.raises(DagnatsError, match=r"run unlucky is parked: .* \(ZeroDivisionError: a bug\)"):
                await unlucky.view()
            await system.stop_engine()
        system.start_engine()
        assert await unlucky.result(timeout="10s") == "x"
        assert await system.dead_letters() == []


async def test_an_engine_that_fails_at_run_after_run_gives_up(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(graph: Any, run: Any, record: Any) -> Any:
        raise ZeroDivisionError("a bug")

    async with running(nats_server, engine=False) as system:
        workflow = chain()
        await system.client.register(workflow)
        for _ in range(150):
            await system.client.start(workflow, "x")
        for module in (arrears, core, decider):
            monkeypatch.setattr(module, "advance", breaks)
        system.start_engine()
        with pytest.raises(DagnatsError, match="100 runs could not be decided within a minute"):
            await system.engine_ended()


async def test_a_deadline_that_passed_while_no_engine_ran_is_decided_as_if_one_had(
    nats_server: EmbeddedServer,
) -> None:
    gate = asyncio.Event()

    @handler("takeover.late")
    async def late(value: str) -> str:
        await gate.wait()
        return value

    async with running(nats_server) as system:
        workflow = Workflow("late", timeout="1s")
        workflow.task("work", late)
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, "x")

        async def inside() -> bool:
            return (await run.view()).steps[0].status == "running"

        await until(inside)
        await system.stop_engine()
        created_ns = (await run.view()).created_ns
        passed = time.monotonic() + 1.2

        async def late_enough() -> bool:
            return time.monotonic() > passed

        await until(late_enough)
        gate.set()

        async def answered() -> bool:
            return any(event.type == "step.completed" for event in await run.history())

        await until(answered)
        system.start_engine()
        view = await run.wait(timeout="10s")
        assert view.status == "failed"
        assert "timeout is over" in view.error
        assert view.steps[0].status == "cancelled"
        assert view.steps[0].ended_ns == created_ns + 1_000_000_000
