"""What becomes of engines, workers and runs when a server has lost the ends of other streams than the log, each found
by the simulation, made small."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import handler
from dagnats.handling.context import TaskContext
from dagnats.model.event import ChildCompleted, ChildOutcome, StepCompleted, StepStarted, encode_event
from dagnats.model.run import decode_run, encode_run
from dagnats.model.task import decode_task
from dagnats.runtime.core.child import child_id
from dagnats.runtime.lease import Leadership, LeaseLost
from dagnats.runtime.worker import Worker
from tests.simulation.test_cut_log import IN_TURN, LESSER, TWO, until
from tests.simulation.test_read_again import ONE, SLEEPS, begun, kinds, say, simulated

if TYPE_CHECKING:
    from tests.simulation.world import World

WAITER = b'{"id":"r.1.1","run_id":"r","step_id":"s","attempt":1,"event":"e"}'


def test_a_standby_waits_for_a_lease_that_was_written_just_now_at_the_place_of_one_that_is_lost() -> None:
    async def work(world: World) -> None:
        lease = world.client().connection.ports.lease
        leader, standby = (Leadership(lease, name) for name in ("leader", "standby"))
        await leader.acquire()
        waiting = asyncio.create_task(standby.acquire())
        await asyncio.sleep(4.1)
        world.server.engine.cut(0)
        await leader.acquire()
        await asyncio.sleep(4)
        assert not waiting.done()
        await asyncio.sleep(2)
        assert waiting.done()

    simulated(work)


@pytest.mark.parametrize("is_over", [False, True], ids=["it goes on", "it ends"])
def test_a_leader_whose_lease_is_lost_takes_none_that_is_at_its_place(is_over: bool) -> None:
    async def work(world: World) -> None:
        lease = world.client().connection.ports.lease
        first, second = (Leadership(lease, name) for name in ("first", "second"))
        await first.acquire()
        world.server.engine.cut(0)
        await second.acquire()
        if is_over:
            await first.release()
        else:
            with pytest.raises(LeaseLost, match="somebody else has it now"):
                await asyncio.wait_for(first.keep(), 20)
        stored = await lease.read()
        assert stored is not None
        assert stored.data == b"second"

    simulated(work)


def test_a_leader_whose_lease_is_lost_has_it_again_where_nobody_else_took_it() -> None:
    async def work(world: World) -> None:
        lease = world.client().connection.ports.lease
        leader = Leadership(lease, "leader")
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(4)
        world.server.engine.cut(0)
        await asyncio.sleep(4)
        leader.check()
        stored = await lease.read()
        assert stored is not None
        assert stored.data == b"leader"
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    simulated(work)


def test_a_leader_that_cannot_look_at_its_lease_renews_it_all_the_same() -> None:
    async def work(world: World) -> None:
        class Blind:
            """A lease that gives no answers once it was taken."""

            def __init__(self) -> None:
                self.reads = 0

            def __getattr__(self, call: str) -> Any:
                return getattr(lease, call)

            async def read(self) -> Any:
                self.reads += 1
                return await (lease.read() if self.reads < 3 else asyncio.Event().wait())

        lease = world.client().connection.ports.lease
        blind: Any = Blind()
        leader = Leadership(blind, "leader")
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(20)
        leader.check()
        assert blind.reads > 3
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    simulated(work)


def test_ids_have_an_epoch_though_all_tasks_are_lost_and_another_one_though_the_clock_was_set_back() -> None:
    async def work(world: World) -> None:
        client = await begun(world, IN_TURN)
        tasks, epochs = world.server.tasks, [0]
        for set_s in (0, -10):
            world.start()
            await until(lambda: len(tasks) == 1)
            await client.connection.ports.log.append(
                "r", b'{"type":"step.completed","run_id":"r","step_id":"a","attempt_number":1}', id=f"a.{set_s}"
            )
            await until(lambda: len(tasks) == 2)
            await asyncio.sleep(1)
            world.machines["engine0"].kill()
            world.server.clock.jump(set_s * 1_000_000_000)
            world.server.restart(lost_events=1, lost_tasks=2)
            world.start()
            await until(lambda: len(tasks) == 1)
            (message,) = tasks.fitting("task.>")
            epochs.append(decode_task(message.data).epoch)
        assert sorted({*epochs}) == epochs

    simulated(work)


@pytest.mark.parametrize("is_older", [True, False], ids=["an older one is there", "none is there"])
def test_a_waiter_of_a_run_that_has_ended_goes_though_its_newest_snapshot_is_lost(is_older: bool) -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        snapshots = world.server.runs
        world.start()
        await until(lambda: snapshots.last("run.r"))
        older = snapshots.last("run.r")
        assert older is not None
        await client.handle("r").cancel()
        await asyncio.sleep(20)
        world.machines["engine0"].kill()
        snapshots.purge("run.r")
        if is_older:
            snapshots.put("run.r", older.data)
        await client.connection.ports.waiters.put("r", "s", 1, WAITER)
        world.start()
        await asyncio.sleep(30)
        assert not world.server.waiters.subjects()

    simulated(work)


def test_a_run_that_was_opened_again_wakes_up_though_its_newest_snapshot_is_of_its_end() -> None:
    async def work(world: World) -> None:
        client = await begun(world, SLEEPS)
        world.start()
        await until(world.server.timers.subjects)
        await client.handle("r").cancel()
        await asyncio.sleep(5)
        ended = world.server.runs.last("run.r")
        assert ended is not None
        await client.handle("r").replay()
        await asyncio.sleep(5)
        world.machines["engine0"].kill()
        world.server.runs.put("run.r", ended.data)
        world.start()
        await asyncio.sleep(30)
        assert kinds(world)[-1] == "workflow.completed"

    simulated(work)


def test_a_run_wakes_up_in_time_though_one_that_a_lost_event_asked_for_had_its_place() -> None:
    async def work(world: World) -> None:
        await begun(world, SLEEPS)
        timers = world.server.timers
        world.start()
        await until(timers.subjects)
        (asked,) = timers.fitting("sleep.r.*")
        timers.put(f"due{asked.subject.removeprefix('sleep')}", b"%d" % (int(asked.data) - 10_000_000_000))
        await asyncio.sleep(5)
        assert kinds(world)[-1] == "timer.fired"
        await asyncio.sleep(10)
        assert kinds(world)[-1] == "workflow.completed"

    simulated(work)


def test_a_task_that_was_begun_in_time_is_done_though_its_queue_has_forgotten_that_it_was_answered() -> None:
    async def work(world: World) -> None:
        calls: list[str] = []

        async def do(ctx: TaskContext) -> None:
            calls.append(ctx.run_id)

        client = await begun(world, {"steps": [{"id": "s", "task": "do", "queue_timeout": "10s"}]})
        worker = Worker(world.client("worker"), [handler("do")(do)])
        world.start()
        await until(world.server.tasks.subjects)
        await say(client, StepStarted(run_id="r", step_id="s", attempt_number=1))
        await asyncio.sleep(20)
        working = asyncio.create_task(worker.run())
        async with asyncio.timeout(20):
            await until(lambda: kinds(world)[-1] == "workflow.completed")
        assert calls == ["r"]
        working.cancel()

    simulated(work)


def test_a_task_is_queued_though_one_that_a_lost_event_led_to_had_its_id_and_was_answered() -> None:
    async def work(world: World) -> None:
        client = await begun(world, TWO)
        history, tasks = world.server.history, world.server.tasks
        world.start()
        await until(lambda: len(tasks) == 2)
        await asyncio.sleep(1)
        position = world.server.engine.last("engine.position")
        assert position is not None
        await say(client, StepCompleted(run_id="r", step_id="a", attempt_number=1))
        await until(lambda: len(tasks) == 3)
        world.machines["engine0"].kill()
        world.server.restart(lost_events=history.last_seq - 1)
        world.server.engine.put("engine.position", position.data)
        tasks.remove(tasks.last_seq)
        other = encode_event(StepCompleted(run_id="r", step_id="b", attempt_number=1))
        await client.connection.ports.log.append("r", other, id="other")
        world.start()
        await asyncio.sleep(10)
        assert "after-b" in [decode_task(message.data).step_id for message in tasks.fitting("task.>")]

    simulated(work)


def test_a_run_hears_of_a_child_that_had_ended_before_it_was_asked_for() -> None:
    async def work(world: World) -> None:
        await world.client().register(LESSER)
        parent = {"id": "c", "type": "sub_workflow", "config": {"workflow": "lesser"}, "depends_on": ["a"]}
        client = await begun(world, {"steps": [{"id": "a", "task": "do"}, parent]})
        early = child_id("r", "c", 1)
        await client.start("lesser", run_id=early)
        await say(
            client,
            ChildCompleted(
                run_id="r", step_id="c", attempt_number=1, payload=ChildOutcome(child_run_id=early, status="completed")
            ),
            StepCompleted(run_id="r", step_id="a", attempt_number=1),
        )
        world.start()
        async with asyncio.timeout(20):
            await until(lambda: kinds(world)[-1] == "workflow.completed")

    simulated(work)


def test_a_run_has_the_snapshot_of_its_end_though_one_of_a_lost_event_is_in_its_place() -> None:
    async def work(world: World) -> None:
        client = await begun(world, ONE)
        history, snapshots = world.server.history, world.server.runs
        world.start()
        await until(lambda: snapshots.last("run.r"))
        await asyncio.sleep(1)
        older = snapshots.last("run.r")
        assert older is not None
        lost = decode_run(older.data)
        lost.seq, lost.time_ns = history.last_seq + 1, 1
        snapshots.put("run.r", encode_run(lost))
        await client.handle("r").cancel()
        await asyncio.sleep(5)
        (end,) = history.of("history.r", after=lost.seq - 1)
        stored = snapshots.last("run.r")
        assert stored is not None
        kept = decode_run(stored.data)
        assert (kept.status, kept.time_ns) == ("cancelled", end.time_ns)

    simulated(work)
