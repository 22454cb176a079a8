"""The worker: what it does with its tasks, whoever queued them; most of it needs no engine."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Fixed, Retry, RunCancelled, RunFailed, SyncTaskContext, TaskContext, Workflow, handler
from dagnats.model.cancellation import Cancellation, encode_cancellation
from dagnats.model.event import AnyEvent, Failure, StepCompleted, StepFailed, WorkflowPoisoned, event_type, failure_of
from dagnats.model.json import encode
from dagnats.model.task import Task, encode_task
from dagnats.runtime.cancellation import Cancelled
from dagnats.runtime.desk import Desk
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.pool import ProcessPool
from dagnats.runtime.record import decoded
from dagnats.runtime.slots import Slots
from dagnats.runtime.sweep import NEVER, Sweep
from dagnats.runtime.workbench import Workbench
from dagnats.runtime.worker import Worker
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

TYPE = "solo.work"
SHORT = timedelta(milliseconds=100)


class Yard:
    """A system without an engine: tasks are put by hand, results are read from the log."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.ports = system.jetstream.ports

    async def put(self, run_id: str, *, attempt: int = 1, **settings: Any) -> None:
        task = Task(task_id=f"{run_id}.work", run_id=run_id, step_id="work", attempt=attempt, **settings)
        await self.ports.tasks.put(TYPE, run_id, encode_task(task), id=f"{run_id}.{attempt}")

    def cancel(self, run_id: str, *, attempt: int = 1) -> None:
        steps = (("work", attempt),)
        self.ports.tasks.cancel(run_id, encode_cancellation(Cancellation(run_id=run_id, steps=steps)))

    async def events(self, run_id: str) -> list[AnyEvent]:
        return [record.event for record in decoded(await self.ports.log.read(run_id))]

    async def types(self, run_id: str) -> list[str]:
        return [event_type(event) for event in await self.events(run_id)]

    async def has(self, run_id: str, kind: str, *, count: int = 1) -> None:
        """Wait until a run's history has so many events of a type."""

        async def there() -> bool:
            return (await self.types(run_id)).count(kind) >= count

        await until(there, what=f"{count} {kind} of {run_id}")

    async def holds(self, count: int) -> None:
        """Wait until all tasks but `count` are acknowledged."""

        async def held() -> bool:
            return (await self.system.jetstream.link.api("STREAM.INFO.TASK_QUEUES"))["state"]["messages"] == count

        await until(held, what=f"{count} tasks in the queue")

    async def is_empty(self) -> None:
        await self.holds(0)


@asynccontextmanager
async def yard(server: EmbeddedServer) -> AsyncGenerator[Yard]:
    async with running(server, engine=False) as system:
        yield Yard(system)


def one_step(function: Any, **settings: Any) -> Workflow:
    """A workflow of the one step `work`."""
    workflow = Workflow("solo")
    workflow.step(task=TYPE, **settings)(function)
    return workflow


# -- cancellation ----------------------------------------------------------------------------------------------


async def test_the_handlers_of_a_cancelled_run_hear_it_at_once(nats_server: EmbeddedServer) -> None:
    inside, heard = asyncio.Event(), asyncio.Event()

    async def work(ctx: TaskContext) -> str:
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert ctx.is_cancelled
            heard.set()
            raise
        return "never"

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)
        await inside.wait()
        await run.cancel()
        async with asyncio.timeout(1):
            await heard.wait()
        with pytest.raises(RunCancelled):
            await run.result(timeout="10s")
        await Yard(system).is_empty()
        assert "step.completed" not in await Yard(system).types(run.run_id)


async def test_a_sync_handler_sees_that_its_attempt_was_cancelled(nats_server: EmbeddedServer) -> None:
    inside = threading.Event()

    def work(ctx: SyncTaskContext) -> str:
        inside.set()
        while not ctx.is_cancelled:
            time.sleep(0.001)
        return "too late"

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.put("r1")
        await asyncio.to_thread(inside.wait)
        queue.cancel("r1")
        await queue.is_empty()
        assert "step.completed" not in await queue.types("r1")


@pytest.mark.parametrize("ending", ["returns", "raises", "lets it through"])
async def test_however_a_cancelled_handler_ends_nothing_is_said_about_it(
    nats_server: EmbeddedServer, ending: str
) -> None:
    inside = asyncio.Event()

    async def work(ctx: TaskContext) -> str:
        if ctx.run_id != "r1":
            return "fine"
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "lets it through":
                raise
            if ending == "raises":
                raise ValueError("in the middle of cleaning up") from None
        return "too late"

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.put("r1")
        await inside.wait()
        queue.cancel("r1")
        await queue.is_empty()
        await queue.put("r2")
        await queue.has("r2", "step.completed")
        assert not {"step.completed", "step.failed", "step.released"} & set(await queue.types("r1"))


async def test_a_cancellation_concerns_its_attempt_and_no_other(nats_server: EmbeddedServer) -> None:
    inside: asyncio.Queue[str] = asyncio.Queue()
    let_go = asyncio.Event()

    async def work(ctx: TaskContext) -> None:
        inside.put_nowait(ctx.run_id)
        await let_go.wait()

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.put("r1", attempt=2)
        await queue.put("r2")
        for _ in range(2):
            await inside.get()
        queue.cancel("r1", attempt=1)
        queue.cancel("r2")
        await queue.holds(1)
        let_go.set()
        await queue.is_empty()
        assert "step.completed" in await queue.types("r1")
        assert "step.completed" not in await queue.types("r2")


async def test_an_attempt_that_is_cancelled_before_it_arrives_is_never_run(nats_server: EmbeddedServer) -> None:
    calls: list[str] = []

    async def work(ctx: TaskContext) -> None:
        calls.append(f"{ctx.run_id} {ctx.attempt}")

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.put("r0")
        await queue.is_empty()  # the worker listens
        queue.cancel("r1")
        await queue.put("r1")
        await queue.put("r1", attempt=2)
        await queue.is_empty()
        assert calls == ["r0 1", "r1 2"]
        assert await queue.types("r1") == ["step.completed"]


class Delivery:
    """A task handed over by the test; `said` is what the worker says to the queue."""

    def __init__(self, run_id: str, *, deliveries: int = 1, **settings: Any) -> None:
        self.run_id = run_id
        self.data = encode_task(Task(run_id=run_id, step_id="work", attempt=1, **settings))
        self.deliveries = deliveries
        self.address = ""
        self.said: list[str] = []

    def acknowledge(self) -> None:
        self.said.append("acknowledge")

    def keep(self) -> None:
        self.said.append("keep")

    def hand_back(self, delay_s: float = 0.0) -> None:
        self.said.append(f"hand back {delay_s:g}")


async def test_an_attempt_that_is_cancelled_while_it_waits_for_a_slot_is_never_run(
    nats_server: EmbeddedServer,
) -> None:
    let_go = asyncio.Event()
    calls: list[str] = []

    @handler(TYPE)
    async def work(ctx: TaskContext) -> None:
        calls.append(ctx.run_id)
        await let_go.wait()

    async with yard(nats_server) as queue:
        desk = partial(Desk, queue.ports, queue.system.client, None)
        bench = Workbench(queue.ports, "w", ThreadPoolExecutor(1), ProcessPool(1), 1.0, desk=desk)
        slots = Slots(1)
        first, second, third = Delivery("r1"), Delivery("r2"), Delivery("r3")
        for delivery in (first, second):
            bench.take(work, delivery, slots)
        await asyncio.sleep(0)
        bench.take(work, third, slots)  # cancelled before a line of it has run
        for run_id in ("r2", "r3"):
            data = encode_cancellation(Cancellation(run_id=run_id, steps=(("work", 1),)))
            bench.cancel(run_id, data)
        let_go.set()
        await bench.drain(10)
        assert [delivery.said for delivery in (first, second, third)] == [["acknowledge"]] * 3
        assert (calls, slots.free) == (["r1"], 1)


async def test_cancellations_that_cannot_be_read_are_ignored(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None: ...

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.put("r0")
        await queue.is_empty()  # the worker listens
        other = Cancellation(run_id="r2", steps=(("work", 1),))
        for data in (b"\xff", b'{"steps":[["work",1]]}', encode_cancellation(other)):
            queue.ports.tasks.cancel("r1", data)
        for run_id in ("r1", "r2"):
            await queue.put(run_id)
            await queue.has(run_id, "step.completed")
        ignored = [record.getMessage() for record in caplog.records if "is ignored" in record.getMessage()]
        assert len(ignored) == 3
        assert "run 'r2' in a cancellation for run 'r1'" in ignored[2]


async def test_a_handler_that_swallows_its_cancellation_is_left_alone_after_the_grace(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    inside, let_go, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(ctx: TaskContext) -> str:
        if ctx.run_id == "r1":
            inside.set()
            while not let_go.is_set():
                with suppress(asyncio.CancelledError):
                    await let_go.wait()
            over.set()
        return "done"

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(stubborn)], concurrency=1, cancel_grace=SHORT)
        await queue.put("r1")
        await inside.wait()
        queue.cancel("r1")
        await queue.put("r2")
        await queue.has("r2", "step.completed")
        await queue.is_empty()
        (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warning == (
            "handler stubborn of solo.work still runs 0.1 s after it was told to stop;"
            " it is left alone and its result dropped: let asyncio.CancelledError through"
        )
        let_go.set()
        await over.wait()
        await queue.put("r3")  # the slot that was freed was freed once
        await queue.has("r3", "step.completed")
        assert "step.completed" not in await queue.types("r1")


def test_the_oldest_of_too_many_cancellations_are_forgotten() -> None:
    cancelled = Cancelled(most=2)
    tasks = [Task(run_id="r1", step_id="work", attempt=attempt) for attempt in range(4)]
    assert not cancelled.has(tasks[0])
    for attempt in (1, 2, 2, 3):
        cancelled.add("r1", "work", attempt)
    assert [cancelled.has(task) for task in tasks] == [False, False, True, True]


# -- timeouts --------------------------------------------------------------------------------------------------


async def failure(queue: Yard, run_id: str) -> Failure:
    """How a run's one attempt failed."""
    await queue.has(run_id, "step.failed")
    (event,) = [event for event in await queue.events(run_id) if isinstance(event, StepFailed)]
    return failure_of(event.payload)


async def test_a_handler_whose_time_is_over_may_clean_up_and_has_timed_out_whatever_it_gives(
    nats_server: EmbeddedServer,
) -> None:
    async def work(ctx: TaskContext) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert ctx.is_cancelled
            await asyncio.sleep(0.05)  # it goes on for a while
            cleaned.set()
        return "after all"

    cleaned = asyncio.Event()
    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.put("r1", timeout_ms=100)
        failed = await failure(queue, "r1")
        assert cleaned.is_set()
        assert (failed.error, failed.detail) == ("no result within the step's timeout of 100ms", "timeout")
        await queue.is_empty()


async def test_a_sync_handler_that_ignores_its_timeout_is_left_alone_after_the_grace(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()

    def deaf(ctx: SyncTaskContext) -> str:
        if ctx.run_id == "r1":
            let_go.wait()
        return "done"

    try:
        async with yard(nats_server) as queue:
            queue.system.start_worker([handler(TYPE)(deaf)], concurrency=1, cancel_grace=SHORT)
            await queue.put("r1", timeout_ms=100)
            await queue.put("r2")
            await queue.has("r2", "step.completed")
            assert (await failure(queue, "r1")).detail == "timeout"
            await queue.is_empty()
            assert "return when ctx.is_cancelled is true" in caplog.text
    finally:
        let_go.set()


async def test_a_worker_that_ends_does_not_wait_for_a_handler_that_swallows_its_cancellation(
    nats_server: EmbeddedServer,
) -> None:
    inside, let_go, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(ctx: TaskContext) -> str:
        inside.set()
        while ctx.worker_id == "first" and not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()
                over.set()
        return ctx.worker_id

    async with yard(nats_server) as queue:
        patient = timedelta(minutes=10)  # only a hand-back brings the task to the second worker
        serves = [handler(TYPE)(stubborn)]
        first = Worker(
            queue.system.client, serves, worker_id="first", grace=timedelta(0), cancel_grace=SHORT, ack_wait=patient
        )
        working = asyncio.create_task(first.run())
        await queue.put("r1")
        await inside.wait()
        first.stop()
        async with asyncio.timeout(5):
            await working
        let_go.set()
        await over.wait()
        queue.system.start_worker(serves, worker_id="second", ack_wait=patient)
        await queue.is_empty()
        assert [event.worker_id for event in await queue.events("r1") if isinstance(event, StepCompleted)] == ["second"]


# -- heartbeats ------------------------------------------------------------------------------------------------


async def test_a_running_handler_beats_and_an_ended_one_does_not(nats_server: EmbeddedServer) -> None:
    let_go = {"r1": asyncio.Event(), "r2": asyncio.Event()}

    async def work(ctx: TaskContext) -> None:
        await let_go[ctx.run_id].wait()

    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)])
        began = time.monotonic()
        await queue.put("r1", heartbeat_ms=150)
        await queue.has("r1", "step.heartbeat", count=4)
        assert (await queue.types("r1")).count("step.heartbeat") <= (time.monotonic() - began) / 0.05
        let_go["r1"].set()
        await queue.has("r1", "step.completed")
        await queue.put("r2", heartbeat_ms=150)
        await queue.has("r2", "step.heartbeat", count=4)
        let_go["r2"].set()
        await queue.is_empty()
        seen = await queue.types("r1")
        assert (seen[0], seen[-1]) == ("step.started", "step.completed")
        assert set(seen[1:-1]) == {"step.heartbeat"}


async def test_a_sync_handler_beats_as_long_as_its_worker_lives(nats_server: EmbeddedServer) -> None:
    let_go = threading.Event()

    def work() -> None:
        let_go.wait()

    try:
        async with yard(nats_server) as queue:
            queue.system.start_worker([handler(TYPE)(work)])
            await queue.put("r1", heartbeat_ms=90)
            await queue.has("r1", "step.heartbeat", count=3)
            let_go.set()
            await queue.has("r1", "step.completed")
    finally:
        let_go.set()


async def test_heartbeats_keep_a_handler_alive_and_one_that_blocks_its_worker_loses_its_attempt(
    nats_server: EmbeddedServer,
) -> None:
    async def work(ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            time.sleep(1)  # noqa: ASYNC251  # the mistake that is tested
        else:
            await Yard(system).has(ctx.run_id, "step.heartbeat", count=7)
        return ctx.attempt

    workflow = one_step(work, heartbeat_timeout="300ms", retry=Fixed(max_attempts=1, initial_delay="1ms"))
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)
        assert await run.result(int, timeout="20s") == 2
        assert [step.attempts for step in (await run.view()).steps] == [2]


# -- tasks that are not run ------------------------------------------------------------------------------------


def unix_ms(seconds_from_now: float) -> int:
    return int((time.time() + seconds_from_now) * 1_000)


async def test_a_first_delivery_that_comes_too_late_is_not_run_and_a_later_one_is(nats_server: EmbeddedServer) -> None:
    async def work(ctx: TaskContext) -> str:
        return ctx.run_id

    async with yard(nats_server) as queue:
        await queue.put("again", expires=unix_ms(-60))
        feed = await queue.system.jetstream.feeds.tasks(TYPE, ack_wait_s=10, most=1)
        (delivery,) = await feed.take(1)
        delivery.hand_back()
        await feed.close()
        await queue.put("late", expires=unix_ms(-60))
        await queue.put("near", expires=unix_ms(-0.5))  # clocks differ
        await queue.put("early", expires=unix_ms(60))
        queue.system.start_worker([handler(TYPE)(work)])
        await queue.is_empty()
        assert await queue.types("late") == []
        for run_id in ("again", "near", "early"):
            assert "step.completed" in await queue.types(run_id)


async def test_a_task_nobody_can_read_fails_its_run_visibly(nats_server: EmbeddedServer) -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        run = await system.client.start(workflow)
        await system.jetstream.link.publish(f"task.{TYPE}.{run.run_id}", b"not a task")
        system.start_worker([workflow])
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="10s")
        assert f"a task of {TYPE} cannot be read, see dead letter" in failed.value.error
        assert f"dead.{TYPE}.{run.run_id}.unmarshal-failed: not a task" in failed.value.error
        ((subject, _, data),) = await system.dead_letters()
        assert (subject, data) == (f"dead.{TYPE}.{run.run_id}.unmarshal-failed", b"not a task")


async def test_a_task_nobody_can_read_makes_no_history_for_a_run_that_has_none(nats_server: EmbeddedServer) -> None:
    async def work() -> None: ...

    async with yard(nats_server) as queue:
        await queue.ports.log.append("r1", b"the first event", id="r1.start")
        queue.system.start_worker([handler(TYPE)(work)])
        for run_id in ("r1", "ghost"):
            await queue.system.jetstream.link.publish(f"task.{TYPE}.{run_id}", b"not a task")
        await queue.is_empty()
        assert len(await queue.system.dead_letters()) == 2
        assert await queue.ports.log.read("ghost") == []
        (poisoned,) = await queue.events("r1")
        assert isinstance(poisoned, WorkflowPoisoned)


# -- results that are not taken --------------------------------------------------------------------------------


@asynccontextmanager
async def full_history(queue: Yard) -> AsyncGenerator[None]:
    """The log takes nothing more while this lasts."""
    link = queue.system.jetstream.link
    found = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
    await queue.ports.log.append("filler", b"it", id="filler")
    await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "max_msgs": 1})
    try:
        yield
    finally:
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", found)


async def refused(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the log has refused an event of r1."""
    await until(lambda: _true("history.r1 again" in caplog.text), what="a refusal")


async def _true(condition: bool) -> bool:
    return condition


async def test_a_result_the_log_has_no_room_for_is_kept_until_it_has_and_the_handler_runs_once(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    async def work(ctx: TaskContext) -> str:
        calls.append(ctx.run_id)
        return "done"

    async with yard(nats_server) as queue:
        async with full_history(queue):
            queue.system.start_worker([handler(TYPE)(work)], ack_wait=timedelta(milliseconds=300))
            await queue.put("r1", timeout_ms=1_000)
            await refused(caplog)
            later = asyncio.get_running_loop().time() + 1.2  # several ack waits, and more than the step's timeout
            await until(lambda: _true(asyncio.get_running_loop().time() > later))
        await queue.is_empty()
        assert calls == ["r1"]
        assert await queue.types("r1") == ["step.completed"]


async def test_a_worker_that_cannot_say_that_it_begins_does_not_lose_the_task(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = asyncio.Event()
    calls: list[int] = []

    async def work(ctx: TaskContext) -> str:
        calls.append(ctx.attempt)
        await let_go.wait()
        return "done"

    async with yard(nats_server) as queue:
        async with full_history(queue):
            queue.system.start_worker([handler(TYPE)(work)], ack_wait=timedelta(minutes=10))
            await queue.put("r1")
            await refused(caplog)
            assert calls == [1], "it runs all the same"
            assert await queue.types("r1") == []
        let_go.set()
        await queue.is_empty()
        assert calls == [1]
        assert await queue.types("r1") in (["step.completed"], ["step.started", "step.completed"])


async def test_a_cancelled_attempt_whose_result_is_not_taken_is_let_go(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> str:
        return "done"

    async with yard(nats_server) as queue, full_history(queue):
        queue.system.start_worker([handler(TYPE)(work)], ack_wait=timedelta(minutes=10))
        await queue.put("r1")
        await refused(caplog)
        queue.cancel("r1")
        await queue.is_empty()


async def test_a_handler_runs_once_though_nats_restarts_under_it(nats_server: EmbeddedServer) -> None:
    inside, let_go = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def work(ctx: TaskContext) -> str:
        calls.append(ctx.run_id)
        inside.set()
        await let_go.wait()
        return "done"

    again = nats_server
    async with yard(nats_server) as queue:
        queue.system.start_worker([handler(TYPE)(work)], ack_wait=timedelta(seconds=30))
        await queue.put("r1", heartbeat_ms=60)
        await inside.wait()
        port = int(nats_server.url.rpartition(":")[2])
        await nats_server.stop()
        let_go.set()
        again = EmbeddedServer(nats_server.folder, port=port)
        await again.start()
        try:
            await queue.has("r1", "step.completed")
            await queue.is_empty()
            assert calls == ["r1"]
        finally:
            await queue.system.close()
            await again.stop()


# -- the sweep -------------------------------------------------------------------------------------------------


async def test_a_sweep_looks_when_the_first_thing_is_due_and_sleeps_when_nothing_is() -> None:
    loop = asyncio.get_running_loop()
    looks: list[float] = []
    dues = [loop.time() + 0.02, NEVER]
    done = asyncio.Event()

    def look(now: float) -> float:
        looks.append(now)
        if not dues:
            done.set()
        return dues.pop(0) if dues else NEVER

    sweep = Sweep(look)
    began = loop.time()
    sweep.expect(began + 3_600)
    sweep.expect(began + 0.01)  # sooner: it counts
    sweep.expect(began + 5)
    await until(lambda: _true(len(looks) == 2))
    assert looks[0] >= began + 0.01
    assert looks[1] >= began + 0.02
    sweep.expect(loop.time())
    async with asyncio.timeout(5):
        await done.wait()
    sweep.expect(loop.time() + 3_600)
    sweep.close()


# -- what a handler's decorator says ---------------------------------------------------------------------------


class OutOfStock(LookupError):
    pass


async def test_an_exception_that_aborts_fails_the_step_at_once_and_its_subclasses_do_too(
    nats_server: EmbeddedServer,
) -> None:
    @handler(TYPE, abort_on=(LookupError,))
    async def work(kind: str) -> None:
        raise {"listed": OutOfStock, "other": ValueError}[kind]("none left")

    async with yard(nats_server) as queue:
        queue.system.start_worker([work])
        for kind in ("listed", "other"):
            await queue.put(kind, input=encode(kind))
        await queue.is_empty()
        found = [await failure(queue, kind) for kind in ("listed", "other")]
        assert [(it.error, it.failure_type) for it in found] == [
            ("OutOfStock: none left", "non_retriable"),
            ("ValueError: none left", "retriable"),
        ]


async def test_a_handler_may_ask_for_a_retry_whatever_aborts_it(nats_server: EmbeddedServer) -> None:
    @handler(TYPE, abort_on=(Exception,))
    def work() -> None:
        raise Retry(after=SHORT)

    async with yard(nats_server) as queue:
        queue.system.start_worker([work])
        await queue.put("r1")
        await queue.is_empty()
        assert (await failure(queue, "r1")).failure_type == "retry_after"
