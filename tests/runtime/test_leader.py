"""What must not stop a leader, and what must not be lost on the way to the next one."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import TaskContext, Workflow, handler
from dagnats.errors import RunFailed
from dagnats.model.event import CORE_VERSION, Start, StepCompleted, WorkflowReopened, WorkflowStarted, encode_event
from dagnats.runtime import arrears, decider
from dagnats.runtime.core import advance as core
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.engine import Engine
from dagnats.runtime.position import decode_position
from tests.runtime.test_crash import engine
from tests.support.mortal import Fate
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.client.run import RunHandle

_calls: Counter[str] = Counter()
_gates: dict[str, asyncio.Event] = {}


@handler("leader.work")
async def work(value: int, ctx: TaskContext) -> int:
    _calls[f"{ctx.run_id}.{ctx.step_id}"] += 1
    return value


@handler("leader.wait")
async def wait(value: int) -> int:
    await _gates["wait"].wait()
    return value


one = Workflow("one")
one.task("work", work)
gated = Workflow("gated")
gated.task("last", work).after(gated.task("gate", wait).after(gated.task("first", work)))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    _calls.clear()
    _gates["wait"] = asyncio.Event()


async def inside(runs: list[RunHandle]) -> bool:
    """Whether each run is at its gate."""
    views = [await run.view() for run in runs]
    return all(step.status == "running" for view in views for step in view.steps if step.id == "gate")


async def covered(system: System, run: RunHandle) -> bool:
    """Whether the next engine begins after all that the run has so far, and loads it when there is more."""
    cell = await system.jetstream.ports.position.read()
    position = decode_position(cell.data) if cell is not None else None
    return position is not None and position.low > (await run.view()).seq


@pytest.mark.parametrize("word", ["\x01x", "\u200bx", "é"])
async def test_poison_on_a_subject_that_no_dead_letter_can_have_is_kept_under_another(
    nats_server: EmbeddedServer, word: str
) -> None:
    async with running(nats_server) as system:
        await system.client.register(one)
        system.start_worker([one])
        link = system.jetstream.link
        link.send(f"history.{word}", b"poison")
        link.send(f"task.leader.work.{word}", b"poison")
        assert await system.client.run(one, 1) == 1

        async def both() -> bool:
            return (await link.api("STREAM.INFO.DEAD_LETTERS"))["state"]["messages"] == 2

        await until(both)
        letters = await system.dead_letters()
        assert [data for _, _, data in letters] == [b"poison", b"poison"]


async def test_a_run_for_a_newer_core_is_parked_and_stops_nothing(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        identity = (await system.client.register(one)).identity
        system.start_worker([one])
        start = Start(workflow="one", def_hash=identity, core_version=CORE_VERSION + 1)
        event = WorkflowStarted(run_id="newer", payload=start)
        await system.jetstream.ports.log.append("newer", encode_event(event), id="newer")
        assert await system.client.run(one, 1) == 1
        ((subject, headers, _),) = await system.dead_letters()
        assert subject == "dead.orchestrator.parked.newer"
        assert headers["Dagnats-Dlq-Error"] == f"CoreError: it asks for core version {CORE_VERSION + 1}"


async def test_a_full_queue_fails_the_step_it_has_no_room_for_and_holds_up_nobody_else(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        await system.client.register(one)
        config = (await system.jetstream.link.api("STREAM.INFO.TASK_QUEUES"))["config"]
        await system.jetstream.link.api("STREAM.UPDATE.TASK_QUEUES", {**config, "max_msgs": 5})
        runs = [await system.client.start(one, at) for at in range(10)]
        for run in runs[5:]:
            with pytest.raises(RunFailed, match="the task could not be queued"):
                await run.result(timeout="10s")
        system.start_worker([one])
        for at, run in enumerate(runs[:5]):
            assert await run.result(int, timeout="10s") == at


async def test_definitions_that_are_forgotten_between_batches_are_there_for_the_next(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decider, "_MOST_GRAPHS", 3)
    async with running(nats_server) as system:
        flows = [Workflow(f"flow-{at}") for at in range(20)]
        for flow in flows:
            flow.task("work", work)
            await system.client.register(flow)
        system.start_worker([flows[0]])
        for _ in range(3):
            assert await asyncio.gather(*(system.client.run(flow, 1) for flow in flows)) == [1] * 20


async def test_a_restart_of_engine_and_server_runs_no_finished_step_again(nats_server: EmbeddedServer) -> None:
    """The restarted server remembers no ids of tasks that were answered."""
    server = nats_server
    async with running(server, engine=False) as system:
        await system.client.register(gated)
        system.start_worker([gated])
        fate = Fate()
        async with engine(system, fate):

            async def leads() -> bool:
                return fate.passed["position.write:stored"] > 0

            await until(leads)
            fate.hanging = {"position.write"}  # nobody will know how far it was
            runs = [await system.client.start(gated, at) for at in range(5)]
            await until(lambda: inside(runs))
        server = await _again(server)
        async with engine(system, Fate()):
            _gates["wait"].set()
            for at, run in enumerate(runs):
                assert await run.result(int, timeout="20s") == at
        assert set(_calls.values()) == {1}
        await system.close()
        await server.stop()


async def _again(server: EmbeddedServer) -> EmbeddedServer:
    port = int(server.url.rpartition(":")[2])
    await server.stop()
    again = EmbeddedServer(server.folder, port=port)
    await again.start()
    return again


async def test_an_engine_that_dies_while_it_makes_good_leaves_that_to_the_next(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(one)
        fate = Fate()
        async with engine(system, fate):
            runs = [await system.client.start(one, at) for at in range(60)]

            async def queued() -> bool:
                return fate.passed["tasks.put:stored"] == len(runs)

            await until(queued)
            await _position_at(system, tasks=len(runs))
        await system.jetstream.link.api("STREAM.DELETE.TASK_QUEUES")
        await system.jetstream.ports.server.prepare()
        for at in range(30):  # so that the queue is as long again before all is made good
            await system.jetstream.ports.tasks.put("filler", "f", b"x", id=f"filler-{at}")
        dying = Fate(("tasks.put:stored", 40))
        async with engine(system, dying):
            await dying.died.wait()
        async with engine(system, Fate()):
            system.start_worker([one])
            for at, run in enumerate(runs):
                assert await run.result(int, timeout="20s") == at


async def _position_at(system: System, *, tasks: int) -> None:
    async def stored() -> bool:
        position = await system.jetstream.ports.position.read()
        return position is not None and f'"tasks":{tasks}'.encode() in position.data

    await until(stored)


async def test_a_queue_that_lost_its_tail_is_noticed_when_it_gives_a_place_again(nats_server: EmbeddedServer) -> None:
    server = nats_server
    async with running(server) as system:
        await system.client.register(one)
        await system.client.start(one, 0)
        await _position_at(system, tasks=1)
        port = int(server.url.rpartition(":")[2])
        await server.stop()
        queue = next((server.folder / "jetstream").rglob("TASK_QUEUES"))
        shutil.copytree(queue, server.folder / "kept")
        server = EmbeddedServer(server.folder, port=port)
        await server.start()
        lost = await system.client.start(one, 1)
        await _position_at(system, tasks=2)
        await server.stop()
        shutil.rmtree(queue)
        shutil.copytree(server.folder / "kept", queue)
        server = EmbeddedServer(server.folder, port=port)
        await server.start()
        system.start_worker([one])
        assert await system.client.run(one, 2) == 2
        assert await lost.result(int, timeout="20s") == 1
        await system.close()
        await server.stop()


async def test_a_run_that_cannot_be_loaded_is_parked_with_a_letter_and_goes_on_later(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = core.advance

    def breaks(graph: Any, run: Any, record: Any) -> Any:
        if isinstance(record.event, StepCompleted) and record.event.step_id == "first":
            raise ZeroDivisionError("a bug")
        return real(graph, run, record)

    async with running(nats_server, engine=False) as system:
        await system.client.register(gated)
        system.start_worker([gated])
        async with engine(system, Fate()):
            run = await system.client.start(gated, 7, run_id="unlucky")
            await until(lambda: inside([run]))
            await system.client.register(one)
            assert await system.client.run(one, 1) == 1
            await until(lambda: covered(system, run))
        await system.jetstream.link.api("STREAM.PURGE.KV_workflow_runs")
        with monkeypatch.context() as broken:
            for module in (arrears, core, decider):
                broken.setattr(module, "advance", breaks)
            async with engine(system, Fate()):
                _gates["wait"].set()

                async def parked() -> bool:
                    return (await system.jetstream.link.api("STREAM.INFO.DEAD_LETTERS"))["state"]["messages"] == 1

                await until(parked)
        async with engine(system, Fate()):
            assert await run.result(int, timeout="10s") == 7


class _LateDrops:
    """Task queues that carry out removals only when they are allowed to."""

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks
        self.asked = asyncio.Event()
        self.allowed = asyncio.Event()
        self.done = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tasks, name)

    async def drop(self, *args: Any, **kwargs: Any) -> None:
        self.asked.set()
        await self.allowed.wait()
        await self._tasks.drop(*args, **kwargs)
        self.done.set()


async def test_a_late_removal_leaves_a_reopened_run_its_tasks(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(one)
        ports = system.jetstream.ports
        tasks = _LateDrops(ports.tasks)
        late = asyncio.create_task(Engine(replace(ports, tasks=tasks), system.jetstream.feeds).run())
        run = await system.client.start(one, 7)

        async def queued() -> bool:
            return len(await ports.tasks.waiting("leader.work", run.run_id)) == count

        count = 1
        await until(queued)
        await run.cancel()
        await tasks.asked.wait()
        await ports.log.append(run.run_id, encode_event(WorkflowReopened(run_id=run.run_id)), id="again")
        count = 2
        await until(queued)
        tasks.allowed.set()
        await tasks.done.wait()
        assert len(await ports.tasks.waiting("leader.work", run.run_id)) == 1
        system.start_worker([one])
        assert await run.result(int, timeout="10s") == 7
        late.cancel()
        with suppress(asyncio.CancelledError):
            await late
