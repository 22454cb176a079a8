"""What engines must not do to runs when they take over, each found by the simulation, made small."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats.model.check import load_definition
from dagnats.model.event import (
    CORE_VERSION,
    Failure,
    Record,
    SignalReceived,
    StepCompleted,
    StepFailed,
    TimerFired,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowReopened,
    decode_event,
    encode_event,
    event_type,
)
from dagnats.model.json import encode
from dagnats.model.task import decode_task
from dagnats.runtime.core.action import Decision, EnqueueTask
from dagnats.runtime.decider import Decider
from dagnats.runtime.memory.history import entry_of
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.position import REACH, Position, decode_position, encode_position
from dagnats.runtime.roster import Roster
from tests.simulation.network import Network
from tests.simulation.tracing import Trace
from tests.simulation.world import Machine, OneOfEach, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.client.client import AsyncClient
    from dagnats.model.event import AnyEvent

ONE = {"steps": [{"id": "s", "task": "do"}]}
SLEEPS = {"steps": [{"id": "s", "type": "sleep", "config": {"duration": "12s"}}]}
TURN_BY_TURN = {
    "steps": [{"id": "s", "task": "do"}, {"id": "t", "task": "do", "depends_on": ["s"], "max_task_concurrency": 1}]
}


def simulated(work: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run it in a world with an engine that was not started yet."""

    async def run() -> None:
        network = Network(Random(1), Trace(), Counter())
        world = World(loop, OneOfEach(), network, network.trace)
        del world.machines["worker0"]
        await work(world)

    loop = VirtualLoop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


async def begun(world: World, definition: dict[str, Any]) -> AsyncClient:
    """A client; an engine has led, and is gone; a run has begun since."""
    client = world.client()
    await client.register(load_definition({"name": "w", **definition}))
    world.start()
    await asyncio.sleep(1)
    world.machines["engine0"].kill()
    await client.start("w", run_id="r")
    return client


async def say(client: AsyncClient, *events: AnyEvent) -> None:
    for at, event in enumerate(events):
        await client.connection.ports.log.append("r", encode_event(event), id=f"said.{event_type(event)}.{at}")


def kinds(world: World) -> list[str]:
    return [event_type(decode_event(message.data)) for message in world.server.history.of("history.r")]


def test_a_run_that_was_opened_again_is_not_ended_by_its_old_end() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        failure = encode(Failure(error="boom", failure_type="non_retriable"))
        failed = StepFailed(run_id="r", step_id="s", attempt_number=1, payload=failure)
        await say(client, failed, WorkflowFailed(run_id="r"), WorkflowReopened(run_id="r"))
        world.start()
        await asyncio.sleep(10)
        assert kinds(world) == ["workflow.started", "step.failed", "workflow.failed", "workflow.reopened"]
        assert world.server.tasks.subjects() == ["task.do.r"]

    simulated(work)


def test_the_tasks_of_a_run_that_was_opened_again_are_not_dropped_with_those_before() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        await say(client, WorkflowCancelled(run_id="r"), WorkflowReopened(run_id="r"))
        world.start()
        await asyncio.sleep(10)
        assert world.server.tasks.subjects() == ["task.do.r"]

    simulated(work)


def test_the_tasks_of_a_run_that_was_opened_again_are_not_dropped_by_who_takes_over() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        await say(client, WorkflowCancelled(run_id="r"), WorkflowReopened(run_id="r"))
        await client.start("w", run_id="q")
        world.network.doom("engine", ("tasks.put", "unsent"), 1)  # the new one of `r` is there, that of `q` is not
        world.start()
        await asyncio.sleep(20)
        assert world.deaths
        tasks = [decode_task(message.data) for message in world.server.tasks.fitting("task.>")]
        assert {("r", 2), ("q", 1)} <= {(task.run_id, task.attempt) for task in tasks}

    simulated(work)


def test_a_run_that_is_opened_again_while_its_last_snapshot_is_stored_goes_on() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        await say(client, WorkflowCancelled(run_id="r"))
        await client.start("w", run_id="q")
        await say(client, WorkflowReopened(run_id="r"))
        ports, roster = client.connection.ports, Roster()
        decider = Decider(ports, roster)
        entries = [entry_of(message) for message in world.server.history.behind(0, 9)]
        read, _ = await decider.read(entries[:2])
        for record in read:
            assert isinstance(record, Record)
            decider.decide(record)
        roster.close_batch()
        roster.commit(after_s=0.0)
        (seat,) = roster.take(1)
        assert seat.run.ended
        reading = asyncio.create_task(decider.read(entries[2:]))
        await asyncio.sleep(0)  # it looks for the other run
        roster.saved(seat, 1, 100, rest_s=0.0)
        read, _ = await reading
        reopened = read[-1]
        assert isinstance(reopened, Record)
        decision = decider.decide(reopened)
        assert isinstance(decision, Decision)
        assert [type(action) for action in decision.actions] == [EnqueueTask]

    simulated(work)


def test_a_wake_up_is_not_early_when_the_snapshot_is_ahead_of_the_event_that_is_read_again() -> None:
    async def work(world: World) -> None:
        client = await begun(world, SLEEPS)
        await asyncio.sleep(1)
        await say(client, SignalReceived(run_id="r", name="go"))
        world.network.doom("engine", ("engine.position", "unsent"), 1)  # behind its snapshot
        world.start()
        await asyncio.sleep(20)
        assert world.deaths
        fired = [m for m in world.server.history.of("history.r") if isinstance(decode_event(m.data), TimerFired)]
        event = decode_event(fired[0].data)
        assert isinstance(event, TimerFired)
        assert fired[0].time_ns >= event.due_ns

    simulated(work)


def test_a_wake_up_that_was_lost_with_the_logs_tail_is_not_gone() -> None:
    async def work(world: World) -> None:
        await begun(world, SLEEPS)
        world.start()
        while "timer.fired" not in kinds(world):  # noqa: ASYNC110  # nobody else says so
            await asyncio.sleep(0.01)
        world.machines["engine0"].kill()  # its position is written a little later
        world.server.restart(lost_events=len(kinds(world)) - kinds(world).index("timer.fired"))
        assert "timer.fired" not in kinds(world)
        world.start()
        await asyncio.sleep(60)
        assert kinds(world)[-1] == "workflow.completed"

    simulated(work)


def test_a_decided_end_is_sent_again_though_a_cancellation_came_after_it() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        await say(client, StepCompleted(run_id="r", step_id="s", attempt_number=1))
        world.network.doom("engine", ("log.append", "unsent"), 0)
        world.start()
        while not world.deaths:  # noqa: ASYNC110  # nobody else says so
            await asyncio.sleep(0.01)
        await say(client, WorkflowCancelled(run_id="r"))
        await asyncio.sleep(30)
        assert kinds(world)[2:] == ["workflow.cancelled", "workflow.completed"]

    simulated(work)


def test_a_log_with_holes_that_are_wider_than_an_engine_reaches_is_read_to_its_end() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        for run_id in ("p", "q"):
            world.server.history.last_seq += 3 * REACH
            await client.start("w", run_id=run_id)
        world.start()
        await asyncio.sleep(60)
        assert world.server.tasks.subjects() == ["task.do.r", "task.do.p", "task.do.q"]

    simulated(work)


@pytest.mark.parametrize("engine", ["engine0", "engine1"])
def test_what_snapshots_say_is_done_again_when_the_position_went_back_behind_them(engine: str) -> None:
    async def work(world: World) -> None:
        client = await begun(world, TURN_BY_TURN)
        world.start()
        await asyncio.sleep(10)
        await say(client, StepCompleted(run_id="r", step_id="s", attempt_number=1))
        await asyncio.sleep(20)
        assert world.server.runs.subjects() == ["run.r"]
        world.machines.setdefault(engine, Machine(world, engine)).start()
        await asyncio.sleep(1)
        world.machines["engine0"].kill()
        first, *_ = world.server.history.of("history.r")
        back = Position(seq=first.seq, time_ns=first.time_ns, low=first.seq, active=1, tasks=1)
        world.server.engine.put("engine.position", encode_position(back))
        world.server.restart(lost_tasks=1)
        world.machines[engine].start()
        await asyncio.sleep(20)
        stored = world.server.engine.last("engine.position")
        position = decode_position(stored.data) if stored is not None else None
        assert position is not None
        assert list(position.gates.page.tasks) == ["r/t/1"], "its slot is taken"
        assert world.server.tasks.subjects() == ["task.do.r"]

    simulated(work)


def test_what_an_engine_cannot_decide_that_stood_by_when_another_could_has_a_letter_when_it_leads() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        data = world.server.history.of("history.r")[0].data
        start = msgspec.json.decode(data)
        start["run_id"], start["payload"]["core_version"] = "newer", CORE_VERSION + 1
        seq = (await client.connection.ports.log.append("newer", msgspec.json.encode(start), id="newer")).seq
        (newer,) = world.server.history.of("history.newer")
        decided = Position(seq=seq, time_ns=newer.time_ns, low=seq, active=2)
        world.server.engine.put("engine.position", encode_position(decided))
        world.start()
        await asyncio.sleep(20)
        assert [message.subject for message in world.server.letters.fitting(">")] == ["dead.orchestrator.parked.newer"]

    simulated(work)
