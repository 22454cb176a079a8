"""Engine and worker on a real NATS server: runs end as they should, whatever comes in between."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic import BaseModel

from dagnats import (
    Abort,
    ConflictError,
    Fixed,
    NotFoundError,
    ResultTimeout,
    Retry,
    RunCancelled,
    RunFailed,
    SyncTaskContext,
    TaskContext,
    Workflow,
    handler,
)
from dagnats.model.event import Start, StepCompleted, WorkflowStarted, encode_event
from dagnats.runtime.jetstream.queue import durable_name
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.client import RunHandle, RunView, StepView
    from dagnats.runtime.embedded import EmbeddedServer


class Order(BaseModel):
    id: str
    cents: int


def step(view: RunView, step_id: str) -> StepView:
    return next(step for step in view.steps if step.id == step_id)


def one_step(function: Any, **settings: Any) -> Workflow:
    """A workflow of the one step `work`."""
    workflow = Workflow("solo")
    built = workflow.task("work", handler("solo.work")(function))
    if "timeout" in settings:
        built.with_timeout(settings["timeout"])
    if "retry" in settings:
        built.with_retry(settings["retry"])
    return workflow


async def test_a_typed_chain_gives_its_last_output(nats_server: EmbeddedServer) -> None:
    @handler("chain.double")
    async def double(order: Order) -> Order:
        return Order(id=order.id, cents=order.cents * 2)

    @handler("chain.describe")
    def describe(order: Order, ctx: SyncTaskContext) -> str:
        return f"{ctx.step_id}: {order.cents}"

    workflow = Workflow("chain")
    doubled = workflow.task("double", double)
    workflow.task("describe", describe).after(doubled)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, Order(id="a", cents=21))
        assert await run.result(str, timeout="10s") == "describe: 42"
        view = await run.view()
        assert [(s.id, s.status, s.attempts) for s in view.steps] == [
            ("double", "completed", 1),
            ("describe", "completed", 1),
        ]
        assert view.created_ns <= step(view, "double").started_ns <= step(view, "double").ended_ns <= view.ended_ns


async def test_a_fast_step_costs_one_event_and_a_slow_one_says_that_it_started(nats_server: EmbeddedServer) -> None:
    gate = asyncio.Event()

    async def fast() -> int:
        return 1

    async def slow(_: int) -> int:
        await gate.wait()
        return 2

    workflow = Workflow("speeds")
    first = workflow.task("fast", handler("speeds.fast")(fast))
    workflow.task("slow", handler("speeds.slow")(slow)).after(first)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start("speeds")
        seen: list[str] = []
        async for event in run.events():
            seen.append(f"{event.type} {event.step_id}".strip())
            if event.type == "step.started":
                assert step(await run.view(), "slow").status == "running"
                gate.set()
        assert seen == [
            "workflow.started",
            "step.completed fast",
            "step.started slow",
            "step.completed slow",
            "workflow.completed",
        ]


async def test_input_that_does_not_validate_fails_the_step_at_once_whatever_its_retries(
    nats_server: EmbeddedServer,
) -> None:
    async def work(order: Order) -> None:
        raise AssertionError("never called")

    workflow = one_step(work, retry=Fixed(max_attempts=5, initial_delay="1ms"))
    async with running(nats_server) as system:
        # With its schema the start would be refused; old definitions have none, and other programs start runs too.
        await system.client.register(workflow.build().model_copy(update={"input_schema": None}))
        system.start_worker([workflow])
        run = await system.client.start(workflow, {"id": 1, "cents": "many"})
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="10s")
        assert failed.value.step == "work"
        for place in ("does not fit Order", "id:", "cents:"):
            assert place in failed.value.error
        events = await run.history()
        failures = [event.payload["failure_type"] for event in events if event.type == "step.failed"]
        assert failures == ["non_retriable"]


async def _ints() -> int:
    return "no number"  # pyright: ignore[reportReturnType]  # the mistake that is tested


async def _aborts() -> None:
    raise Abort("over the limit")


async def _exits() -> None:
    raise SystemExit(3)


async def _cancels_itself() -> None:
    raise asyncio.CancelledError


async def _too_long() -> None:
    await asyncio.Event().wait()


def _raises_in_a_thread() -> None:
    raise KeyError("x")


def _stops_in_a_thread() -> None:
    next(iter([]))


async def _surrogate() -> None:
    raise ValueError("bad \udcff name")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def _mute() -> None:
    raise Mute


async def _mute_abort() -> None:
    raise Abort("\udcff")


class Odd(BaseException):
    pass


async def _odd() -> None:
    raise Odd("odd")


async def _huge() -> str:
    return "x" * 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_ints, "the result does not fit int: got str"),
        (_aborts, "over the limit"),
        (_exits, "SystemExit: 3"),
        (_cancels_itself, "the handler cancelled itself"),
        (_too_long, "no result within the step's timeout of 200ms"),
        (_raises_in_a_thread, "KeyError: 'x'"),
        (_huge, "the result could not be stored: the result is too large: 67108866 bytes"),
        (_stops_in_a_thread, "StopIteration"),
        (_surrogate, "ValueError: bad \\udcff name"),
        (_mute, "Mute: (its text cannot be read"),
        (_mute_abort, "\\udcff"),
        (_odd, "Odd: odd"),
    ],
)
async def test_whatever_a_handler_does_wrong_is_the_steps_error_and_the_worker_goes_on(
    nats_server: EmbeddedServer, function: Any, said: str
) -> None:
    async def fine() -> str:
        return "still here"

    workflow = one_step(function, timeout="200ms" if function is _too_long else "10s")
    after = Workflow("after")
    after.task("fine", handler("after.fine")(fine))
    async with running(nats_server) as system:
        for each in (workflow, after):
            await system.client.register(each)
        system.start_worker([workflow, after])
        run = await system.client.start(workflow)
        with pytest.raises(RunFailed) as failed:
            await run.result(timeout="10s")
        assert said in failed.value.error
        assert await system.client.run(after) == "still here"


async def test_a_failed_attempt_is_tried_again_no_earlier_than_its_delay(nats_server: EmbeddedServer) -> None:
    calls: list[float] = []

    async def work(ctx: TaskContext) -> int:
        calls.append(time.monotonic())
        if ctx.attempt == 1:
            raise RuntimeError("busy")
        if ctx.attempt == 2:
            raise Retry("wait for it", after=timedelta(milliseconds=300))
        return ctx.attempt

    workflow = one_step(work, retry=Fixed(max_attempts=2, initial_delay="150ms"))
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        assert await system.client.run(workflow) == 3
        assert calls[1] - calls[0] >= 0.15
        assert calls[2] - calls[1] >= 0.3
        # Both timers of a wake-up, the engine's and the server's, write one event.
        run = await system.client.newest()
        assert [event.type for event in await run.history()].count("timer.fired") == 2


async def test_a_retry_that_waits_is_carried_out_by_the_next_engine_with_nothing_else_happening(
    nats_server: EmbeddedServer,
) -> None:
    async def work(ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            raise RuntimeError("busy")
        return ctx.attempt

    workflow = one_step(work, retry=Fixed(max_attempts=1, initial_delay="1s"))
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)

        async def waits() -> bool:
            return step(await run.view(), "work").retry_at_ns > 0 and await _timer_count(system) == 1

        await until(waits)
        await system.stop_engine()
        system.start_engine()
        assert await run.result(int, timeout="15s") == 2


async def test_a_wake_up_whose_event_cannot_be_stored_is_told_once_it_can(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            raise RuntimeError("busy")
        return ctx.attempt

    workflow = one_step(work, retry=Fixed(max_attempts=1, initial_delay="1s"))
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)

        async def waits() -> bool:
            return await _timer_count(system) == 1

        async def refused() -> bool:
            return f"history.{run.run_id} again" in caplog.text

        await until(waits)
        link = system.jetstream.link
        found = await link.api("STREAM.INFO.WORKFLOW_HISTORY")
        full = {**found["config"], "max_msgs": found["state"]["messages"]}
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", full)
        await until(refused, what="a wake-up that the log has no room for")
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", found["config"])
        assert await run.result(int, timeout="15s") == 2


async def _timer_count(system: Any) -> int:
    state = (await system.jetstream.link.api("STREAM.INFO.SLEEP_TIMERS"))["state"]
    return state["messages"]


async def test_an_engine_that_starts_late_carries_on_where_the_log_is(nats_server: EmbeddedServer) -> None:
    async def work(ctx: TaskContext) -> str:
        return ctx.run_id

    workflow = one_step(work)
    async with running(nats_server, engine=False) as system:
        await system.client.register(workflow)
        runs = [await system.client.start(workflow) for _ in range(20)]
        system.start_worker([workflow])
        system.start_engine()
        for run in runs:
            assert await run.result(str, timeout="20s") == run.run_id

        async def is_idle() -> bool:  # the engine notes it a little later
            status = await system.client.status()
            return (status.runs, status.active_runs) == (20, 0)

        await until(is_idle)


async def _pass(value: str) -> str:
    return value


async def test_a_run_that_is_cancelled_ends_and_drops_what_its_handlers_still_say(nats_server: EmbeddedServer) -> None:
    inside = asyncio.Event()

    async def work() -> str:
        inside.set()
        await asyncio.Event().wait()
        return "never"

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)
        await inside.wait()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.result(timeout="10s")
        # As from a worker that knows no cancellations.
        late = StepCompleted(run_id=run.run_id, step_id="work", attempt_number=1, payload=msgspec.Raw(b'"too late"'))
        await system.jetstream.ports.log.append(run.run_id, encode_event(late), id="late")
        view = await run.view()
        assert (view.status, step(view, "work").status) == ("cancelled", "cancelled")
        with pytest.raises(ConflictError, match="has ended already: cancelled"):
            await run.cancel()


async def test_messages_nobody_can_read_go_to_the_dead_letters_and_stop_nothing(nats_server: EmbeddedServer) -> None:
    async def work() -> str:
        return "done"

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        link = system.jetstream.link
        poison = [
            ("history.r1", b"\xff not an event"),
            ("history.r2", b'{"type":"step.exploded","run_id":"r2"}'),
            ("history.r6", b'{"type":"step.completed","run_id":"r6","step_id":"a","payload":"\xff"}'),
            ("history.r7", b'{"type":"timer.fired","run_id":"r7","due_ns":10000000000000000000000000}'),
            ("history.r8", b"\xff" * (8 * 1024 * 1024 - 600)),
            ("history.a.b", b'{"type":"timer.fired","run_id":"a.b","due_ns":1}'),
            ("history.r3", b'{"type":"workflow.cancelled","run_id":"another"}'),
            ("task.solo.work.r4", b"not a task"),
            ("task.solo.work.r9", b"\xff" * (8 * 1024 * 1024 - 600)),
            ("task.solo.work.r5", b'{"run_id":"another","step_id":"work"}'),
        ]
        for subject, data in poison:
            await link.publish(subject, data)
        assert await system.client.run(workflow) == "done"

        async def all_there() -> bool:
            return len(await system.dead_letters()) == len(poison)

        await until(all_there)
        letters = {
            headers["Dagnats-Dlq-Run-Id"]: (subject, data) for subject, headers, data in await system.dead_letters()
        }
        for subject, data in poison:
            run_id = subject.removeprefix("history.").removeprefix("task.solo.work.")
            assert letters[run_id][1] == data[: len(letters[run_id][1])]
            assert len(letters[run_id][1]) in (len(data), 64 * 1024)
        assert letters["r1"][0] == "dead.orchestrator.unmarshal-failed.r1"
        assert letters["r4"][0] == "dead.solo.work.r4.unmarshal-failed"
        assert all(headers["Dagnats-Dlq-Error"] for _, headers, _ in await system.dead_letters())


@pytest.mark.parametrize("subject", ["history.{}", "task.solo.work.{}"])
async def test_what_nobody_can_read_fails_the_run_it_belongs_to(nats_server: EmbeddedServer, subject: str) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        inside.set()
        await asyncio.Event().wait()

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)
        await inside.wait()
        await system.jetstream.link.publish(subject.format(run.run_id), b"\xff not ours")
        with pytest.raises(RunFailed, match=r"cannot be read.*dead letter"):
            await run.result(timeout="10s")
        ((_, headers, data),) = await system.dead_letters()
        assert (headers["Dagnats-Dlq-Run-Id"], data) == (run.run_id, b"\xff not ours")


async def test_a_step_that_failed_for_good_leaves_its_task_in_the_dead_letters(nats_server: EmbeddedServer) -> None:
    workflow = one_step(_aborts)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, {"n": 1})
        await run.wait(timeout="10s")
        ((subject, headers, data),) = await system.dead_letters()
        assert subject == f"dead.solo.work.{run.run_id}.work"
        assert headers["Dagnats-Dlq-Error"] == "over the limit"
        assert headers["Dagnats-Dlq-Task-Subject"] == f"task.solo.work.{run.run_id}"
        assert msgspec.json.decode(data)["input"] == {"n": 1}


async def test_a_run_whose_definition_is_missing_fails_and_says_so(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        event = WorkflowStarted(run_id="r1", payload=Start(workflow="gone", def_hash="ab" * 32))
        await system.jetstream.ports.log.append("r1", encode_event(event), id="r1.start")
        with pytest.raises(RunFailed, match="of workflow 'gone' is not stored"):
            await system.client.handle("r1").result(timeout="10s")


@pytest.mark.parametrize(("workflow", "identity"), [("a b", "c d"), ("", ""), ("x.y", "*"), ("a\r\nPING", "h")])
async def test_a_start_with_names_that_cannot_be_looked_up_fails_and_stops_nothing(
    nats_server: EmbeddedServer, workflow: str, identity: str
) -> None:
    async def work() -> str:
        return "done"

    healthy = one_step(work)
    async with running(nats_server) as system:
        event = WorkflowStarted(run_id="odd", payload=Start(workflow=workflow, def_hash=identity))
        await system.jetstream.ports.log.append("odd", encode_event(event), id="odd.start")
        with pytest.raises(RunFailed, match="is not stored"):
            await system.client.handle("odd").result(timeout="10s")
        await system.client.register(healthy)
        system.start_worker([healthy])
        assert await system.client.run(healthy) == "done"


async def test_a_run_keeps_the_definition_it_was_started_with(nats_server: EmbeddedServer) -> None:
    let_go = asyncio.Event()

    async def work() -> str:
        await let_go.wait()
        return "old"

    old = one_step(work)
    new = one_step(work)
    new.task("more", handler("solo.more")(_pass)).after("work")
    async with running(nats_server) as system:
        await system.client.register(old)
        system.start_worker([old, new.handlers[1]])
        run = await system.client.start(old)
        assert (await system.client.register(new)).action == "updated"
        await system.stop_engine()
        system.start_engine()
        let_go.set()
        assert (await run.wait(timeout="10s")).status == "completed"
        assert [s.id for s in (await run.view()).steps] == ["work"]


async def test_starting_again_under_the_same_id_is_one_run_and_another_input_is_refused(
    nats_server: EmbeddedServer,
) -> None:
    async def work(value: int) -> int:
        return value

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        first = await system.client.start(workflow, 1, run_id="mine")
        assert await first.result(int, timeout="10s") == 1
        again = await system.client.start(workflow, 1, run_id="mine")
        assert await again.result(int, timeout="10s") == 1
        with pytest.raises(ConflictError, match="was started differently"):
            await system.client.start(workflow, 2, run_id="mine")
        assert (await system.client.status()).runs == 1


async def test_waiting_for_a_result_ends_with_the_patience_and_the_run_goes_on(nats_server: EmbeddedServer) -> None:
    async def work() -> int:
        return 1

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        run: RunHandle = await system.client.start(workflow)
        with pytest.raises(ResultTimeout, match=r"did not end within 0\.1 s"):
            await run.result(timeout="100ms")
        system.start_worker([workflow])
        assert await run.result(int, timeout="10s") == 1


async def test_a_start_with_no_input_bytes_is_a_start_with_null(nats_server: EmbeddedServer) -> None:
    async def work(value: int | None) -> bool:
        return value is None

    workflow = one_step(work)
    async with running(nats_server) as system:
        registered = (await system.client.register(workflow)).definition
        system.start_worker([workflow])
        run = await system.client.start_json(registered, b"")
        assert await run.result(bool, timeout="10s") is True


async def test_unknown_names_are_told_with_near_ones(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(one_step(_aborts))
        with pytest.raises(NotFoundError) as missing:
            await system.client.start("sole")
        assert "'solo'" in missing.value.hint
        with pytest.raises(NotFoundError, match="no run 'feedbeef'"):
            await system.client.find("feedbeef")


async def test_a_stopping_worker_finishes_what_it_has_begun(nats_server: EmbeddedServer) -> None:
    inside, let_go = asyncio.Event(), asyncio.Event()

    async def work(ctx: TaskContext) -> str:
        inside.set()
        await let_go.wait()
        return ctx.worker_id

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        worker = system.start_worker([workflow], worker_id="first")
        run = await system.client.start(workflow)
        await inside.wait()
        worker.stop()
        let_go.set()
        assert await run.result(str, timeout="10s") == "first"


async def test_a_worker_without_patience_hands_its_tasks_to_the_next_one(nats_server: EmbeddedServer) -> None:
    inside = asyncio.Event()

    async def work(ctx: TaskContext) -> str:
        if ctx.worker_id == "first":
            inside.set()
            await asyncio.Event().wait()
        return ctx.worker_id

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        # An ack wait that would outlast the test: only a hand-back can bring the task to the second worker.
        patient = timedelta(minutes=10)
        first = system.start_worker([workflow], worker_id="first", grace=timedelta(0), ack_wait=patient)
        run = await system.client.start(workflow)
        await inside.wait()
        first.stop()
        system.start_worker([workflow], worker_id="second", ack_wait=patient)
        assert await run.result(str, timeout="10s") == "second"


async def test_one_worker_runs_as_many_handlers_at_a_time_as_it_is_told(nats_server: EmbeddedServer) -> None:
    running_now = most = 0
    full, let_go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        if running_now == 3:
            full.set()
        await let_go.wait()
        running_now -= 1

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow], concurrency=3)
        runs = [await system.client.start(workflow) for _ in range(8)]
        await full.wait()
        let_go.set()
        for run in runs:
            await run.result(timeout="10s")
        assert most == 3


async def test_two_handlers_for_one_task_type_are_refused(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        with pytest.raises(ConflictError, match=r"two handlers serve task type 'solo\.work'"):
            system.start_worker([one_step(_aborts), one_step(_exits)])


async def test_a_task_type_that_finds_no_room_runs_each_of_its_tasks_once(nats_server: EmbeddedServer) -> None:
    full, let_go = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def slow(ctx: TaskContext) -> None:
        calls.append(f"slow {ctx.run_id}")
        if len(calls) == 4:
            full.set()
        await let_go.wait()

    async def quick(ctx: TaskContext) -> None:
        calls.append(f"quick {ctx.run_id}")

    busy, other = Workflow("busy"), Workflow("other")
    busy.task("slow", handler("busy.slow")(slow))
    other.task("quick", handler("other.quick")(quick))
    async with running(nats_server) as system:
        for each in (busy, other):
            await system.client.register(each)
        # An ack wait this short has passed several times before there is room again.
        system.start_worker([busy, other], concurrency=4, ack_wait=timedelta(milliseconds=300))
        runs = [await system.client.start(busy) for _ in range(4)]
        await full.wait()
        runs += [await system.client.start(other) for _ in range(6)]
        link = system.jetstream.link

        async def waited() -> bool:
            info = await link.api("CONSUMER.INFO.TASK_QUEUES." + durable_name("other.quick"))
            return info["delivered"]["consumer_seq"] >= 4 and info["num_redelivered"] + info["num_pending"] >= 0

        await until(waited)
        elapsed = asyncio.get_running_loop().time() + 1.0

        async def several_ack_waits_later() -> bool:
            return asyncio.get_running_loop().time() >= elapsed

        await until(several_ack_waits_later)
        let_go.set()
        for run in runs:
            await run.result(timeout="10s")
        assert sorted(calls) == sorted(set(calls)), "a task ran twice"


async def test_one_busy_worker_leaves_the_next_task_to_an_idle_one(nats_server: EmbeddedServer) -> None:
    let_go = asyncio.Event()
    both = asyncio.Event()
    workers: set[str] = set()

    async def work(ctx: TaskContext) -> None:
        workers.add(ctx.worker_id)
        if len(workers) == 2:
            both.set()
        await let_go.wait()

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        for name in ("one", "two"):
            system.start_worker([workflow], worker_id=name, concurrency=1, ack_wait=timedelta(minutes=10))
        runs = [await system.client.start(workflow) for _ in range(2)]
        async with asyncio.timeout(10):
            await both.wait()
        let_go.set()
        for run in runs:
            await run.result(timeout="10s")


async def test_workers_that_stop_are_not_counted_as_lost(nats_server: EmbeddedServer) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()
    last = asyncio.Event()

    async def work(ctx: TaskContext) -> str:
        begun.put_nowait(ctx.worker_id)
        if not last.is_set():
            await asyncio.Event().wait()
        return ctx.worker_id

    workflow = one_step(work, timeout="900ms")  # short enough that every start is announced
    async with running(nats_server) as system:
        await system.client.register(workflow)
        run = await system.client.start(workflow)
        for n in range(5):
            worker = system.start_worker([workflow], worker_id=f"w{n}", grace=timedelta(0))
            async with asyncio.timeout(10):
                assert await begun.get() == f"w{n}"
            worker.stop()
        last.set()
        system.start_worker([workflow], worker_id="last")
        assert await run.result(str, timeout="10s") == "last"
        events = [event.type for event in await run.history()]
        assert events.count("step.released") == 5


async def test_tasks_that_a_cancelled_run_left_in_the_queue_are_not_run(nats_server: EmbeddedServer) -> None:
    calls: list[str] = []

    async def work(ctx: TaskContext) -> None:
        calls.append(ctx.run_id)

    workflow = one_step(work)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        cancelled = await system.client.start(workflow)
        wanted = await system.client.start(workflow)
        await cancelled.cancel()

        async def only_one_is_left() -> bool:
            return (await system.jetstream.link.api("STREAM.INFO.TASK_QUEUES"))["state"]["messages"] == 1

        await until(only_one_is_left)
        system.start_worker([workflow])
        await wanted.result(timeout="10s")
        assert calls == [wanted.run_id]


async def test_a_stored_definition_nobody_can_read_blocks_neither_its_name_nor_the_list(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server, engine=False) as system:
        await system.jetstream.ports.definitions.set_newest("solo", b'{"from":"elsewhere"}', revision=0)
        await system.jetstream.ports.definitions.set_newest("odd", b"\xff", revision=0)
        assert (await system.client.register(one_step(_aborts))).action == "updated"
        assert [definition.name for definition in await system.client.workflows()] == ["solo"]


async def test_a_number_no_python_value_can_hold_is_shown_as_it_is(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(one_step(_aborts))
        run = await system.client.start("solo")
        event = b'{"type":"step.completed","run_id":"%b","step_id":"work","payload":1e999}' % run.run_id.encode()
        await system.jetstream.ports.log.append(run.run_id, event, id="huge")
        view = await run.wait(timeout="10s")
        assert step(view, "work").output == "1e999"
