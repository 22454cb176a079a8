"""What engines owe to runs when a server has lost what it had acknowledged last, each found by the simulation, made
small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import handler
from dagnats.handling.context import TaskContext
from dagnats.model.check import load_definition
from dagnats.model.event import (
    Failure,
    Outcome,
    StepCompleted,
    StepFailed,
    StepStarted,
    TimerFired,
    WaitMatched,
    WorkflowCancelled,
    WorkflowReopened,
    decode_event,
    encode_event,
    event_type,
)
from dagnats.model.json import encode
from dagnats.model.run import encode_run
from dagnats.model.task import Task, decode_task
from dagnats.model.waiter import decode_waiter
from dagnats.runtime.arrears import decided
from dagnats.runtime.core.action import EnqueueTask
from dagnats.runtime.core.gate.fold import Gates
from dagnats.runtime.decider import Decider
from dagnats.runtime.follower import Follower
from dagnats.runtime.memory.adapter import Memory
from dagnats.runtime.position import Position, PositionKeeper
from dagnats.runtime.reuse import said
from dagnats.runtime.roster import Roster
from dagnats.runtime.standing import standing
from dagnats.runtime.worker import Worker
from tests.simulation.test_read_again import ONE, begun, kinds, say, simulated

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.model.event import AnyEvent
    from tests.simulation.world import World

LESSER = load_definition({"name": "lesser", **ONE})
PARENT = {"steps": [{"id": "c", "type": "sub_workflow", "config": {"workflow": "lesser"}}]}
IN_TURN = {"steps": [{"id": "a", "task": "do"}, {"id": "b", "task": "do", "depends_on": ["a"]}]}
KEEPS = {**IN_TURN, "sticky": "soft"}
WAITS = {
    "steps": [
        {
            "id": "s",
            "type": "wait_for_event",
            "config": {"event": "e", "match": {"left": "k", "op": "eq", "right": "input.k"}, "timeout": "1h"},
        }
    ]
}
TWO = {
    "steps": [
        *({"id": step, "task": "do"} for step in "ab"),
        *({"id": f"after-{step}", "task": "do", "depends_on": [step]} for step in "ab"),
    ]
}
SLEEP_LONG_OR_SHORT = {
    "steps": [
        *({"id": step, "task": "do"} for step in ("long", "short")),
        {"id": "sleep-long", "type": "sleep", "config": {"duration": "1h"}, "depends_on": ["long"]},
        {"id": "sleep-short", "type": "sleep", "config": {"duration": "30s"}, "depends_on": ["short"]},
    ]
}


async def until(done: Callable[[], object]) -> None:
    while not done():  # noqa: ASYNC110  # nobody else says so
        await asyncio.sleep(0.01)


def test_a_child_whose_result_outlived_its_start_can_say_it_again() -> None:
    async def work(world: World) -> None:
        await world.client().register(LESSER)
        client = await begun(world, PARENT)
        world.network.doom("engine", ("engine.position", "unsent"), 1)  # all is done, and no position says so
        world.start()
        await until(lambda: world.deaths)
        (task,) = [decode_task(message.data) for message in world.server.tasks.fitting("task.>")]
        world.machines["engine0"].kill()
        world.server.restart(lost_events=world.server.history.last_seq - 1)
        assert kinds(world) == ["workflow.started"]
        result = encode_event(StepCompleted(run_id=task.run_id, step_id="s", attempt_number=1))
        ids = f"{task.run_id}.s.step.completed.1"
        await client.connection.ports.log.append(task.run_id, result, id=ids)
        world.start()
        await asyncio.sleep(10)
        tasks = [decode_task(message.data) for message in world.server.tasks.fitting("task.>")]
        assert [each.run_id for each in tasks] == [task.run_id, task.run_id]
        assert tasks[-1].epoch, "a result of it has an id of its own"

    simulated(work)


def test_a_run_whose_result_outlived_its_start_is_read_from_its_start_on() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        ports = client.connection.ports
        (start,) = world.server.history.of("history.r")
        world.server.restart(lost_events=1)
        await say(client, StepCompleted(run_id="r", step_id="s", attempt_number=1))
        receipt = await ports.log.append("r", start.data, id="again")
        assert (await client.handle("r").view()).status == "running"
        owed = await decided(ports, Decider(ports, Roster()), Gates(), "r", receipt.seq)
        assert [type(action) for action in owed] == [EnqueueTask]

    simulated(work)


@pytest.mark.parametrize("folded", [1, 2])
def test_what_a_standby_has_read_and_the_log_has_lost_since_does_not_count_when_it_leads(folded: int) -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        connection, roster = client.connection, Roster()
        assert isinstance(connection, Memory)
        ports = connection.ports
        keeper = PositionKeeper(ports.position, ports.dial, holder="standby")
        follower = Follower(ports, connection.feeds, keeper, roster, Decider(ports, roster))
        await say(client, StepCompleted(run_id="r", step_id="s", attempt_number=1))
        await follower.catch_up(Position(seq=folded, low=1))
        await asyncio.sleep(1)
        world.server.restart(lost_events=1)
        await say(client, WorkflowCancelled(run_id="r"), TimerFired(run_id="r", due_ns=1))
        await follower.lead_from(Position(seq=2, low=1))
        assert [seat.run.status for seat in roster] == ["cancelled"]
        assert [event_type(decode_event(entry.data)) for entry in await follower.batch()] == ["timer.fired"]
        await follower.close()

    simulated(work)


def test_a_waiter_that_nobody_asks_for_any_more_goes_though_the_engine_dies_before_it_is_forgotten() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        world.start()
        await until(lambda: world.server.tasks.subjects())
        await asyncio.sleep(1)
        await client.connection.ports.waiters.put(
            "r", "s", 1, b'{"id":"r.1.1","run_id":"r","step_id":"s","attempt":1,"event":"e"}'
        )
        await client.start("w", run_id="q")
        await asyncio.sleep(1)
        world.server.restart(lost_events=1)
        world.network.doom("engine", ("waiters.drop", "unsent"), 0)
        await until(lambda: world.deaths)
        await asyncio.sleep(30)
        assert not world.server.waiters.subjects()

    simulated(work)


def test_a_waiter_of_a_run_whose_start_was_lost_goes_though_a_late_wake_up_is_there() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        ports = client.connection.ports
        await ports.waiters.put("r", "s", 1, b'{"id":"r.1.1","run_id":"r","step_id":"s","attempt":1,"event":"e"}')
        world.server.restart(lost_events=1)
        await say(client, TimerFired(run_id="r", due_ns=1))
        world.start()
        await asyncio.sleep(30)
        world.machines["engine0"].kill()
        world.start()
        await asyncio.sleep(30)
        assert not world.server.waiters.subjects()

    simulated(work)


def test_a_waiter_of_a_run_that_has_ended_goes_though_late_news_came_since() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        ports = client.connection.ports
        world.start()
        await until(lambda: world.server.tasks.subjects())
        await say(client, WorkflowCancelled(run_id="r", payload=Outcome(error="enough")))
        await asyncio.sleep(20)
        await say(client, TimerFired(run_id="r", due_ns=1))
        await asyncio.sleep(1)
        await ports.waiters.put("r", "s", 1, b'{"id":"r.1.1","run_id":"r","step_id":"s","attempt":1,"event":"e"}')
        world.machines["engine0"].kill()
        world.start()
        await asyncio.sleep(30)
        assert not world.server.waiters.subjects()

    simulated(work)


def test_a_waiter_of_a_run_that_goes_on_stays_though_a_snapshot_ahead_of_the_log_has_ended_it() -> None:
    async def work(world: World) -> None:
        client = world.client()
        await client.register(load_definition({"name": "w", **WAITS}))
        await client.start("w", {"k": 1}, run_id="r")
        world.start()
        await until(lambda: world.server.waiters.subjects())
        await asyncio.sleep(5)
        world.machines["engine0"].kill()
        ports = client.connection.ports
        _, run = await standing(ports, "r")
        stored = await ports.snapshots.load("r")
        run.status, run.seq, run.time_ns = "cancelled", run.seq + 5, run.time_ns + 1
        await ports.snapshots.save("r", encode_run(run), revision=stored.revision if stored is not None else 0)
        world.start()
        await asyncio.sleep(40)
        assert world.server.waiters.subjects()

    simulated(work)


def test_a_result_of_a_planner_that_is_said_again_is_stored_once() -> None:
    async def work(world: World) -> None:
        plans = {"id": "p", "type": "planner", "task": "plan", "config": {"max_steps": 2}}
        client = await begun(world, {"steps": [plans]})
        world.start()
        await until(lambda: world.server.tasks.subjects())
        payload = msgspec.Raw(encode({"steps": [{"id": "x", "task": "do"}]}))
        planned = StepCompleted(run_id="r", step_id="p", attempt_number=1, payload=payload)
        ports = client.connection.ports
        task = Task(task_id="r.p", run_id="r", step_id="p", attempt=1)
        for _ in range(3):  # as when the answer is lost
            await said(ports, task, encode_event(planned), "r.p.step.completed.1")
            await asyncio.sleep(1)
        assert kinds(world).count("step.completed") == 1

    simulated(work)


def test_a_waiter_that_a_lost_event_asked_for_goes_though_its_run_goes_on() -> None:
    async def work(world: World) -> None:
        client = world.client()
        await client.register(load_definition({"name": "w", **WAITS}))
        await client.start("w", {"k": 1}, run_id="r")
        world.start()
        await until(lambda: world.server.waiters.subjects())
        await asyncio.sleep(1)
        lost = b'{"id":"r.99.1","run_id":"r","step_id":"later","attempt":1,"event":"e"}'
        await client.connection.ports.waiters.put("r", "later", 1, lost)
        world.machines["engine0"].kill()
        world.start()
        await asyncio.sleep(30)
        (left,) = await client.connection.ports.waiters.all()
        assert decode_waiter(left).step_id == "s"

    simulated(work)


def test_a_task_whose_cancellation_was_lost_is_run_again_by_the_worker_that_had_heard_of_it() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        calls: list[str] = []

        async def do(ctx: TaskContext) -> None:
            calls.append(ctx.run_id)
            if len(calls) == 1:
                await asyncio.Event().wait()

        world.start()
        working = asyncio.create_task(Worker(world.client("worker"), [handler("do")(do)]).run())
        await until(lambda: calls)
        await asyncio.sleep(1)
        kept = world.server.history.last_seq
        await client.handle("r").cancel()
        await asyncio.sleep(1)
        assert kinds(world)[-1] == "workflow.cancelled"
        world.server.restart(lost_events=world.server.history.last_seq - kept)
        async with asyncio.timeout(60):
            await until(lambda: kinds(world)[-1] == "workflow.completed")
        assert calls == ["r", "r"]
        working.cancel()

    simulated(work)


def test_a_task_that_was_begun_in_time_and_is_put_again_may_be_begun_at_any_time() -> None:
    async def work(world: World) -> None:
        client = await begun(world, {"steps": [{"id": "s", "task": "do", "queue_timeout": "60s"}]})
        world.network.doom("engine", ("engine.position", "unsent"), 1)  # the task is there, and no position says so
        world.start()
        await until(lambda: world.deaths)
        begun_and_done = [kind(run_id="r", step_id="s", attempt_number=1) for kind in (StepStarted, StepCompleted)]
        await say(client, *begun_and_done)
        world.server.tasks.purge("task.>")
        world.server.restart(lost_events=1)
        await until(lambda: world.server.tasks.subjects())
        (task,) = [decode_task(message.data) for message in world.server.tasks.fitting("task.>")]
        assert not task.expires, "else a worker drops it, and the step runs for ever"

    simulated(work)


def test_a_task_for_a_worker_that_is_gone_is_taken_out_though_the_engine_dies_first() -> None:
    async def work(world: World) -> None:
        network = world.network

        def lose_it(*_: object) -> None:
            network.down = True
            world.later(0.0, lambda: setattr(network, "down", False))

        client = await begun(world, KEEPS)
        world.start()
        await say(client, StepCompleted(run_id="r", step_id="a", attempt_number=1, worker_id="gone"))
        await until(lambda: world.server.own_tasks.subjects())
        network.killed = lose_it
        network.doom("engine", ("tasks.drop_own", "unsent"), 0)
        await until(lambda: not network.is_anybody_doomed)  # whoever was to begin it has not
        await asyncio.sleep(1)
        world.machines["engine0"].kill()
        world.start()
        await asyncio.sleep(20)
        assert world.server.tasks.subjects() == ["task.do.r"]
        assert not world.server.own_tasks.subjects()

    simulated(work)


async def cut_unseen(
    world: World, definition: dict[str, Any], lost: AnyEvent, shown: Callable[[], object], instead: AnyEvent
) -> None:
    """Have an engine go on after a cut that nothing shows: an event is lost with the position that knew of it, and has
    another one in its place.

    Args:
        shown: Whether what the lost one led to is there.
    """
    client = await begun(world, definition)
    world.start()
    await until(lambda: len(world.server.tasks) == 2)
    await asyncio.sleep(1)
    position = world.server.engine.last("engine.position")
    assert position is not None
    await say(client, lost)
    await until(shown)
    world.machines["engine0"].kill()
    world.server.restart(lost_events=world.server.history.last_seq - 1)
    world.server.engine.put("engine.position", position.data)
    await client.connection.ports.log.append("r", encode_event(instead), id="other")
    world.start()
    await asyncio.sleep(10)


def test_a_task_is_queued_though_one_that_a_lost_event_led_to_has_its_id_and_no_position_shows_the_loss() -> None:
    async def work(world: World) -> None:
        tasks = world.server.tasks
        a, b = (StepCompleted(run_id="r", step_id=step, attempt_number=1) for step in "ab")
        await cut_unseen(world, TWO, a, lambda: len(tasks) == 3, b)
        assert "after-b" in [decode_task(message.data).step_id for message in tasks.fitting("task.>")]

    simulated(work)


def test_a_wake_up_comes_in_time_though_one_that_a_lost_event_asked_for_has_its_id() -> None:
    async def work(world: World) -> None:
        timers = world.server.timers
        long, short = (StepCompleted(run_id="r", step_id=step, attempt_number=1) for step in ("long", "short"))
        await cut_unseen(world, SLEEP_LONG_OR_SHORT, long, timers.subjects, short)
        world.machines["engine0"].kill()  # who takes over may not know when it is due
        await asyncio.sleep(30)
        (wakeup,) = timers.fitting(">")
        assert wakeup.subject.startswith("due.r.")

    simulated(work)


def test_a_dead_letter_is_kept_though_one_that_a_lost_event_led_to_has_its_id() -> None:
    async def work(world: World) -> None:
        letters = world.server.letters
        failure = encode(Failure(error="boom", failure_type="non_retriable"))
        a, b = (StepFailed(run_id="r", step_id=step, attempt_number=1, payload=failure) for step in "ab")
        await cut_unseen(world, TWO, a, letters.subjects, b)
        assert [subject for subject in letters.subjects() if subject.endswith(".r.b")]

    simulated(work)


def test_a_step_is_done_though_a_task_that_a_lost_event_led_to_had_the_same_result() -> None:
    async def work(world: World) -> None:
        client = await begun(world, IN_TURN)
        early = encode_event(StepCompleted(run_id="r", step_id="b", attempt_number=1))
        await client.connection.ports.log.append("r", early, id="r.b.step.completed.1")
        calls: list[str] = []

        async def do(ctx: TaskContext) -> None:
            calls.append(ctx.step_id)

        world.start()
        working = asyncio.create_task(Worker(world.client("worker"), [handler("do")(do)]).run())
        async with asyncio.timeout(20):
            await until(lambda: kinds(world)[-1] == "workflow.completed")
        assert calls == ["a", "b"]
        working.cancel()

    simulated(work)


def test_a_wait_is_over_though_one_that_a_lost_event_led_to_had_the_same_match() -> None:
    async def work(world: World) -> None:
        client = world.client()
        await client.register(load_definition({"name": "w", **WAITS}))
        await client.start("w", {"k": 1}, run_id="r")
        world.start()
        await until(world.server.waiters.subjects)
        await say(client, WorkflowCancelled(run_id="r"))
        early = encode_event(WaitMatched(run_id="r", step_id="s", attempt_number=2, event_seq=1))
        await client.connection.ports.log.append("r", early, id="r.s.2.matched.1")
        await say(client, WorkflowReopened(run_id="r"))
        await client.publish_event("e", {"k": 1})
        async with asyncio.timeout(20):
            await until(lambda: kinds(world)[-1] == "workflow.completed")

    simulated(work)
