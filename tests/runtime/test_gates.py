"""Limits, pauses and singletons on a real server, with engines that die in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import TaskContext, Workflow, handler
from dagnats.runtime import arrears, decider, ledger
from dagnats.runtime.core import advance as core
from dagnats.runtime.core.child import child_id
from dagnats.runtime.limit import gate_view, limit_task, limit_workflow, task_limit, workflow_limit
from dagnats.runtime.position import decode_position
from tests.runtime.test_crash import engine
from tests.support.mortal import Fate
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.client.run import RunHandle
    from dagnats.runtime.embedded import EmbeddedServer

_doors: dict[str, asyncio.Event] = {}
_inside: Counter[str] = Counter()
_most: Counter[str] = Counter()
_calls: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for known in (_doors, _inside, _most, _calls):
        known.clear()


@handler("gates.wait")
async def wait(value: Any, ctx: TaskContext) -> Any:
    """Goes on when the test opens the run's door."""
    _calls[ctx.run_id] += 1
    await _doors.setdefault(ctx.run_id, asyncio.Event()).wait()
    return value


@handler("gates.count")
async def count(value: Any, ctx: TaskContext) -> Any:
    """Notes how many of its kind run at a time."""
    _inside["all"] += 1
    _most["all"] = max(_most["all"], _inside["all"])
    _calls[f"{ctx.run_id}.{ctx.step_id}"] += 1
    await asyncio.sleep(0.005)  # so that those that may overlap do
    _inside["all"] -= 1
    return value


def open_door(run_id: str) -> None:
    _doors.setdefault(run_id, asyncio.Event()).set()


def waiting(name: str = "gated") -> Workflow:
    workflow = Workflow(name)
    workflow.task("wait", wait)
    return workflow


async def reached(run: RunHandle, status: str) -> None:
    """Wait until a run has a status."""

    async def has() -> bool:
        return (await run.view()).status == status

    await until(has, what=f"{run.run_id} to be {status}")


async def begun(*run_ids: str) -> None:
    """Wait until the handlers of these runs are at work."""

    async def are() -> bool:
        return all(_calls[run_id] for run_id in run_ids)

    await until(are, what=f"{run_ids} to begin")


async def emptied(system: System) -> None:
    """Wait until no gate holds anything."""

    async def is_empty() -> bool:
        view = await gate_view(system.jetstream.ports)
        return not (view.tasks or view.runs)

    await until(is_empty, what="the gates to be empty")


async def test_of_three_runs_one_goes_on_at_a_time(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        workflow = waiting().with_concurrency(max_runs=1)
        await system.client.register(workflow)
        system.start_worker([workflow])
        runs = [await system.client.start(workflow, at, run_id=f"r{at}") for at in range(3)]
        await begun("r0")
        assert [(await run.view()).status for run in runs] == ["running", "pending", "pending"]

        async def known() -> bool:
            found = (await gate_view(system.jetstream.ports)).run("r2")
            return found is not None and (found[1].place, found[1].why) == (2, "max_runs")

        await until(known)
        for at, run in enumerate(runs):
            await begun(f"r{at}")
            open_door(f"r{at}")
            assert await run.result(int, timeout="10s") == at
        await emptied(system)


async def test_a_pending_run_can_be_cancelled(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        workflow = waiting().with_concurrency(max_runs=1)
        await system.client.register(workflow)
        system.start_worker([workflow])
        first, second, third = [await system.client.start(workflow, at, run_id=f"r{at}") for at in range(3)]
        await reached(second, "pending")
        await second.cancel()
        await reached(second, "cancelled")
        open_door("r0")
        open_door("r2")
        assert await first.result(int, timeout="10s") == 0
        assert await third.result(int, timeout="10s") == 2
        assert not _calls["r1"]


@pytest.mark.parametrize(("mode", "left", "gone"), [("skip", "r0", "r1"), ("cancel", "r1", "r0")])
async def test_a_singleton_has_one_run_at_a_time(nats_server: EmbeddedServer, mode: Any, left: str, gone: str) -> None:
    async with running(nats_server) as system:
        workflow = waiting().with_singleton(mode)
        await system.client.register(workflow)
        system.start_worker([workflow])
        await system.client.start(workflow, 0, run_id="r0")
        await begun("r0")
        await system.client.start(workflow, 1, run_id="r1")
        view = await system.client.handle(gone).wait(timeout="10s")
        assert view.status == "cancelled"
        assert view.error.startswith(f"singleton {mode}: ")
        open_door(left)
        await system.client.handle(left).result(int, timeout="10s")
        await emptied(system)


def crowd(width: int, name: str = "crowd") -> Workflow:
    workflow = Workflow(name)
    for at in range(width):
        workflow.task(f"s{at}", count).with_task_concurrency(2)
    return workflow


async def test_two_of_forty_tasks_are_in_flight_at_a_time(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        workflow = crowd(10)
        await system.client.register(workflow)
        system.start_worker([workflow])
        runs = [await system.client.start(workflow, at, run_id=f"r{at}") for at in range(4)]
        for run in runs:
            assert (await run.wait(timeout="20s")).status == "completed"
        assert _most["all"] == 2
        assert set(_calls.values()) == {1}
        await emptied(system)


async def test_an_engine_killed_at_any_boundary_leaves_the_limits_exact(nats_server: EmbeddedServer) -> None:
    """Two runs at a time, two tasks at a time: nothing is exceeded, nobody waits for ever, nothing is left."""
    workflow = crowd(4).with_concurrency(max_runs=2)
    async with running(nats_server, engine=False) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])

        async def finished(name: str) -> None:
            for at in range(3):
                view = await system.client.handle(f"{name}-{at}").wait(timeout="20s")
                assert view.status == "completed", f"{name}-{at}"
            await emptied(system)

        async def begin(name: str) -> None:
            for at in range(3):
                await system.client.start(workflow, at, run_id=f"{name}-{at}")

        clean = Fate()
        async with engine(system, clean):
            await begin("clean")
            await finished("clean")
        boundaries = [(name, at) for name, count in clean.passed.items() for at in range(1, count + 1, 5)]
        assert len(boundaries) > 15
        for number, boundary in enumerate(boundaries):
            fate = Fate(boundary)
            async with engine(system, fate):
                await begin(f"killed-{number}")
                done = asyncio.create_task(finished(f"killed-{number}"))
                died = asyncio.create_task(fate.died.wait())
                await asyncio.wait([done, died], return_when=asyncio.FIRST_COMPLETED)
                for task in (done, died):
                    task.cancel()
                await asyncio.gather(done, died, return_exceptions=True)
            async with engine(system, Fate()):
                await finished(f"killed-{number}")
            assert _most["all"] <= 2, f"after a death at {boundary}"
        assert set(_calls.values()) == {1}, "no worker was killed: each task ran once"


async def test_without_its_position_an_engine_finds_the_gates_in_the_log(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        workflow = waiting().with_concurrency(max_runs=1)
        tasks = Workflow("tasks")
        tasks.task("wait", wait).with_task_concurrency(1)
        await system.client.register_all([workflow.build(), tasks.build()])
        system.start_worker([workflow])
        async with engine(system, Fate()):
            for at in range(2):
                await system.client.start(workflow, at, run_id=f"r{at}")
                await system.client.start(tasks, at, run_id=f"t{at}")
            await begun("r0", "t0")
            await reached(system.client.handle("r1"), "pending")
        await system.jetstream.link.api("STREAM.PURGE.ENGINE", {"filter": "engine.position"})
        async with engine(system, Fate()):
            open_door("r0")
            assert await system.client.handle("r0").result(int, timeout="10s") == 0
            open_door("t0")
            await begun("r1", "t1")
            open_door("r1")
            open_door("t1")
            assert await system.client.handle("r1").result(int, timeout="10s") == 1
            assert await system.client.handle("t1").result(int, timeout="10s") == 1
            await emptied(system)
        assert set(_calls.values()) == {1}


async def test_a_run_whose_start_could_not_be_decided_asks_the_gates_later(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core.advance

    def breaks(graph: Any, run: Any, record: Any) -> Any:
        if record.event.run_id == "r1":
            raise ZeroDivisionError("a bug")
        return real(graph, run, record)

    async with running(nats_server, engine=False) as system:
        workflow = waiting().with_concurrency(max_runs=1)
        await system.client.register(workflow)
        system.start_worker([workflow])
        with monkeypatch.context() as broken:
            for module in (arrears, core, decider):
                broken.setattr(module, "advance", breaks)
            async with engine(system, Fate()):
                await system.client.start(workflow, 0, run_id="r0")
                await begun("r0")
                await system.client.start(workflow, 1, run_id="r1")
                await system.client.handle("r0").signal("later")  # the next engine begins behind r1's question

                async def parked() -> bool:
                    cell = await system.jetstream.ports.position.read()
                    position = decode_position(cell.data) if cell is not None else None
                    newest = await system.jetstream.ports.log.read("r0")
                    return position is not None and position.seq >= newest[-1].seq

                await until(parked)
        async with engine(system, Fate()):
            await reached(system.client.handle("r1"), "pending")
            open_door("r0")
            open_door("r1")
            assert await system.client.handle("r1").result(int, timeout="10s") == 1
            await emptied(system)


async def test_a_start_that_nobody_could_decide_is_not_forgotten_with_the_engine_that_was_about_to_say_so(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(graph: Any, run: Any, record: Any) -> Any:
        raise ZeroDivisionError("a bug")

    async with running(nats_server, engine=False) as system:
        workflow = waiting().with_concurrency(max_runs=1)
        await system.client.register(workflow)
        system.start_worker([workflow])
        await system.client.start(workflow, 1, run_id="r1")
        fate = Fate(("dead_letters.put:sent", 1))
        with monkeypatch.context() as broken:
            for module in (arrears, core, decider):
                broken.setattr(module, "advance", breaks)
            async with engine(system, fate):
                await asyncio.wait_for(fate.died.wait(), 20)
        async with engine(system, Fate()):
            open_door("r1")
            assert await system.client.handle("r1").result(int, timeout="20s") == 1


async def test_a_rate_spreads_the_starts(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        workflow = Workflow("paced")
        for at in range(8):
            workflow.task(f"s{at}", count).with_rate_limit(2, "200ms")
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, 1, run_id="paced")
        assert (await run.wait(timeout="20s")).status == "completed"
        history = await run.history()
        waited = [event.time_ns - history[0].time_ns for event in history if event.type == "step.queued"]
        assert len(waited) == 6, "two went at once"
        assert all(wait_ns >= at * 100_000_000 for at, wait_ns in enumerate(waited, 1)), waited
        await emptied(system)


async def test_limits_can_be_changed_while_tasks_wait(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        log = system.jetstream.ports.log
        workflow = waiting()
        await system.client.register(workflow)
        system.start_worker([workflow])
        await limit_task(log, "gates.wait", concurrency=1, by="ann")
        assert await task_limit(log, "gates.wait") == await limit_task(log, "gates.wait", by="ann")
        for at in range(3):
            await system.client.start(workflow, at, run_id=f"r{at}")
        await begun("r0")
        assert not _calls["r1"]
        await limit_task(log, "gates.wait", concurrency=2)
        await begun("r1")
        await limit_task(log, "gates.wait", concurrency=0)
        await begun("r2")
        for at in range(3):
            open_door(f"r{at}")
            assert await system.client.handle(f"r{at}").result(int, timeout="10s") == at
        await emptied(system)


async def test_runs_of_a_paused_workflow_wait(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        log = system.jetstream.ports.log
        workflow = waiting()
        await system.client.register(workflow)
        system.start_worker([workflow])
        await limit_workflow(log, "gated", paused=True)
        assert (await workflow_limit(log, "gated")).paused
        run = await system.client.start(workflow, 1, run_id="r0")
        await reached(run, "pending")
        open_door("r0")
        await limit_workflow(log, "gated", paused=False)
        assert await run.result(int, timeout="10s") == 1
        await limit_workflow(log, "gated", max_runs=1)
        await system.client.start(workflow, 1, run_id="r1")
        second = await system.client.start(workflow, 2, run_id="r2")
        await reached(second, "pending")
        open_door("r1")
        open_door("r2")
        assert await second.result(int, timeout="10s") == 2


async def test_a_paused_queue_hands_out_nothing_that_lies_in_it(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        log, tasks = system.jetstream.ports.log, system.jetstream.ports.tasks
        workflow = waiting()
        await system.client.register(workflow)
        worker = system.start_worker([workflow], concurrency=1)
        assert worker is not None
        async with engine(system, Fate()):
            for at in range(3):
                await system.client.start(workflow, at, run_id=f"r{at}")
            await begun("r0")
            for at in range(1, 3):
                await lies_in_queue(system, f"r{at}")
            await limit_task(log, "gates.wait", paused=True)
            await consumer_is(system, paused=True)
            open_door("r0")
            assert await system.client.handle("r0").result(int, timeout="10s") == 0
            late = await system.client.start(workflow, 3, run_id="late")
            await reached(late, "running")
            assert not await tasks.waiting("gates.wait", "late"), "it waits at the gate"
            assert set(_calls) == {"r0"}
        async with engine(system, Fate()):  # another one goes on with it
            await limit_task(log, "gates.wait", paused=False)
            await consumer_is(system, paused=False)
            for run_id in ("r1", "r2", "late"):
                open_door(run_id)
                assert (await system.client.handle(run_id).wait(timeout="10s")).status == "completed"


async def lies_in_queue(system: System, run_id: str) -> None:
    async def lies() -> bool:
        return bool(await system.jetstream.ports.tasks.waiting("gates.wait", run_id))

    await until(lies)


async def consumer_is(system: System, *, paused: bool) -> None:
    async def is_so() -> bool:
        page = await system.jetstream.link.api("CONSUMER.LIST.TASK_QUEUES", {})
        return {bool(consumer.get("paused")) for consumer in page["consumers"]} == {paused}

    await until(is_so, what=f"the consumer to be paused: {paused}")


async def test_two_engines_keep_one_limit(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system, running(nats_server, prepared=False) as other:
        workflow = crowd(5)
        await system.client.register(workflow)
        system.start_worker([workflow])
        runs = [await system.client.start(workflow, at, run_id=f"r{at}") for at in range(4)]
        assert (await runs[0].wait(timeout="20s")).status == "completed"
        await system.stop_engine()
        for run in runs:
            assert (await run.wait(timeout="20s")).status == "completed"
        assert _most["all"] <= 2
        await emptied(other)


async def test_gates_too_large_for_the_position_are_stored_beside_it(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_FEW", 8)
    async with running(nats_server, engine=False) as system:
        ports = system.jetstream.ports
        workflow = waiting().with_concurrency(max_runs=1)
        await system.client.register(workflow)
        system.start_worker([workflow])

        async def beside() -> bool:
            places = [await ports.snapshots.load(ledger.place_of(part)) for part in (1, 2)]
            return None not in places

        async with engine(system, Fate()):
            run_ids = [f"r{at:02}" for at in range(40)]
            for run_id in run_ids:
                await system.client.start(workflow, 1, run_id=run_id)
            await until(beside)
        for run_id in run_ids:
            open_door(run_id)
        async with engine(system, Fate()):
            for run_id in run_ids:
                assert (await system.client.handle(run_id).wait(timeout="10s")).status == "completed"
            await emptied(system)
        assert [run_id for run_id in _calls if _calls[run_id] == 1] == run_ids, "in order, each once"


async def test_gates_that_are_not_where_the_position_says_are_folded_again(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_FEW", 4)
    async with running(nats_server, engine=False) as system:
        ports = system.jetstream.ports
        workflow = waiting().with_concurrency(max_runs=1)
        await system.client.register(workflow)
        system.start_worker([workflow])

        async def beside() -> bool:
            cell = await ports.position.read()
            position = decode_position(cell.data) if cell is not None else None
            return position is not None and position.gates.part > 0

        async with engine(system, Fate()):
            for at in range(20):
                await system.client.start(workflow, 1, run_id=f"r{at}")
            await until(beside)
        for part in (1, 2):
            stored = await ports.snapshots.load(ledger.place_of(part))
            await ports.snapshots.save(ledger.place_of(part), b"{", revision=stored.revision if stored else 0)
        async with engine(system, Fate()):
            for at in range(20):
                open_door(f"r{at}")
                assert (await system.client.handle(f"r{at}").wait(timeout="10s")).status == "completed"
            await emptied(system)
        assert set(_calls.values()) == {1}


async def test_what_is_no_fact_about_gates_goes_to_the_dead_letters(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.jetstream.ports.log.append("_ops.task.x", b"{}", id="bad")
        await system.jetstream.ports.log.append("_ops.other", b"of somebody else", id="other")

        async def buried() -> bool:
            return len(await system.dead_letters()) == 1

        await until(buried)
        assert (await task_limit(system.jetstream.ports.log, "x")).is_idle
        workflow = waiting()
        await system.client.register(workflow)
        system.start_worker([workflow])
        open_door("after")
        assert await system.client.run(workflow, 1, run_id="after") == 1


async def test_children_of_a_workflow_that_an_operator_has_limited_wait_for_each_other(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        parent = Workflow("parent")
        for at in range(2):
            parent.sub_workflow(f"child-{at}", "gated")
        await system.client.register_all([waiting().build(), parent.build()])
        system.start_worker([wait])
        await limit_workflow(system.jetstream.ports.log, "gated", max_runs=1)
        run = await system.client.start("parent", 7, run_id="r")
        children = [system.client.handle(child_id("r", f"child-{at}", 1)) for at in range(2)]

        async def one_waits() -> bool:
            if not all([await system.jetstream.ports.log.first(child.run_id) for child in children]):
                return False
            return sorted([(await child.view()).status for child in children]) == ["pending", "running"]

        await until(one_waits)
        for child in children:
            open_door(child.run_id)
        await run.result(timeout="10s")


async def test_a_run_that_is_opened_again_waits_behind_an_operators_limit(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(waiting())
        system.start_worker([wait])
        again = await system.client.start("gated", 1, run_id="again")
        await begun("again")
        await again.cancel()
        await limit_workflow(system.jetstream.ports.log, "gated", max_runs=1)
        other = await system.client.start("gated", 2, run_id="other")
        await begun("other")
        await again.replay()
        await reached(again, "pending")
        open_door("other")
        assert await other.result(int, timeout="10s") == 2
        open_door("again")
        assert await again.result(int, timeout="10s") == 1
