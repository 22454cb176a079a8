"""Workflows without a server: the real engine and worker, in no time, whoever runs the test."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from pydantic import BaseModel

from dagnats import Abort, DagnatsError, Fixed, Retry, SyncTaskContext, TaskContext, Workflow, connect, handler
from dagnats.errors import ConflictError, DefinitionError, InputError, NotFoundError, ResultTimeout, RunFailed
from dagnats.testing import Harness
from tests.support import hands

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.runtime.serve import Serving


class Order(BaseModel):
    id: str
    cents: int


@handler("shop.price")
async def price(order: Order) -> int:
    return order.cents


@handler("shop.charge")
def charge(cents: int, ctx: SyncTaskContext) -> str:
    return f"{cents} cents in attempt {ctx.attempt}"


def shop() -> Workflow[Any, Any]:
    workflow = Workflow("shop")
    first = workflow.task("price", price)
    second = workflow.task("charge", charge).after(first).with_timeout("30s")
    second.with_retry(Fixed(max_attempts=2, initial_delay="1h"))
    workflow.task("send", "shop.send").after(second)  # nobody here serves it
    return workflow


ORDER = Order(id="1", cents=900)


async def story() -> str:
    async with Harness([shop()]) as h:
        h.stub("shop.send", returns={"sent": True})
        run = await h.run("shop", ORDER)
    assert (run.status, run.output) == ("completed", {"sent": True})
    assert [(step.id, step.status) for step in run.steps] == [
        ("price", "completed"),
        ("charge", "completed"),
        ("send", "completed"),
    ]
    assert run.steps[1].output == "900 cents in attempt 1"
    return "told"


def by_nobody(work: Coroutine[Any, Any, str]) -> str:
    """Without any event loop."""
    with suppress(StopIteration):
        work.send(None)
        raise AssertionError("it waits for something outside")
    return "told"


def debugged(work: Coroutine[Any, Any, str]) -> str:
    return asyncio.run(work, debug=True)


@pytest.mark.parametrize("run", [asyncio.run, debugged, uvloop.run, by_nobody])
def test_a_workflow_runs_to_its_end_whoever_runs_the_test(run: Callable[[Coroutine[Any, Any, str]], str]) -> None:
    assert run(story()) == "told"


async def test_the_tests_own_event_loop_goes_on_where_it_was() -> None:
    ticked = asyncio.Event()
    asyncio.get_running_loop().call_soon(ticked.set)
    task = asyncio.current_task()
    await story()
    assert asyncio.current_task() is task
    assert not ticked.is_set(), "it stood still meanwhile"
    async with asyncio.timeout(5):
        await ticked.wait()


async def test_delays_are_kept_by_the_clock_and_take_no_time() -> None:
    begun = time.monotonic()
    async with Harness([shop()]) as h:
        assert h.clock.now == datetime(2026, 1, 1, tzinfo=UTC)
        h.stub("shop.charge", raises=RuntimeError("busy"), times=2)
        h.stub("shop.send", returns=None)
        run = await h.run("shop", ORDER)
        assert (run.status, h.calls("shop.charge")) == ("completed", 3)
        assert timedelta(hours=2) <= h.clock.elapsed < timedelta(hours=2, seconds=5)
        assert run.ended_ns - run.created_ns >= 2 * 3600 * 10**9
        await h.advance(days=300)
        assert h.clock.now > datetime(2026, 10, 28, tzinfo=UTC)
    assert time.monotonic() - begun < 20


async def test_a_started_run_goes_on_as_time_is_let_pass() -> None:
    async with Harness([shop()]) as h:
        h.stub("shop.send", raises=Retry(after=timedelta(minutes=1)))
        h.stub("shop.charge", raises=RuntimeError("busy"), times=1)
        run = await h.start("shop", ORDER)
        await h.advance(minutes=59)
        waiting = (await run.view()).steps[1]
        assert (waiting.attempts, waiting.retry_at_ns > 0) == (1, True)
        await h.advance(minutes=2)
        view = await run.view()
        assert (view.status, view.failed_step) == ("failed", "send")
        assert [event.type for event in await run.history()].count("step.failed") == 2
        with pytest.raises(RunFailed, match="asked for a retry"):
            await run.result()


async def test_a_handler_that_never_answers_meets_its_timeout() -> None:
    cancelled = 0

    async def hang(cents: int) -> str:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return str(cents)

    workflow = Workflow("hang", timeout="1h")
    workflow.task("hang", handler("hang")(hang)).with_timeout("10m")
    async with Harness([workflow]) as h:
        run = await h.run(workflow, 1)
        assert (run.status, cancelled) == ("failed", 1)
        assert "timeout of 10m" in run.error
        assert timedelta(minutes=10) <= h.clock.elapsed < timedelta(minutes=11)


async def test_while_a_thread_works_time_passes_as_it_really_does() -> None:
    threads: list[int] = []

    @handler("slow")
    def slow(ctx: SyncTaskContext) -> bool:
        threads.append(threading.get_ident())
        while not ctx.is_cancelled:
            time.sleep(0.005)  # a thread has nothing else to wait for
        return True

    workflow = Workflow("slow")
    workflow.task("slow", slow).with_timeout("200ms")
    async with Harness([workflow]) as h:
        begun = time.monotonic()
        run = await h.run(workflow)
        assert run.status == "failed"
        assert time.monotonic() - begun >= 0.2
        assert h.clock.elapsed < timedelta(seconds=60)
    assert threads != [threading.get_ident()]


async def test_another_engine_goes_on_where_a_killed_one_was(caplog: pytest.LogCaptureFixture) -> None:
    async with Harness([shop()]) as h:
        h.stub("shop.charge", raises=RuntimeError("busy"), times=1)
        h.stub("shop.send", returns=None)
        run = await h.start("shop", ORDER)
        for _ in range(3):
            await h.crash_engine()
            await h.advance(minutes=10)
        assert h.calls("shop.charge") == 1
        view = await run.wait()
        assert (view.status, h.calls("shop.price"), h.calls("shop.charge")) == ("completed", 1, 2)
        assert h.clock.elapsed < timedelta(hours=1, seconds=5)
    assert "no longer leading" not in caplog.text, "a dead engine notices nothing"


async def test_a_run_is_saved_though_nothing_was_for_a_long_time() -> None:
    async with Harness([shop()]) as h:
        h.stub("shop.send", returns=None)
        h.stub("shop.charge", raises=RuntimeError("busy"), times=2)
        await h.advance(days=30)
        run = await h.start("shop", ORDER)
        await h.advance(minutes=1)
        assert h.drive(h.client.connection.ports.snapshots.load(run.run_id)) is not None


async def test_a_stub_that_is_a_function_is_called_like_the_handler_it_stands_for() -> None:
    async def double(order: Order, ctx: TaskContext) -> int:
        return 2 * order.cents * ctx.attempt

    def thread(cents: int) -> str:
        return f"{cents} of {type(cents).__name__}"

    async with Harness([shop()]) as h:
        h.stub("shop.price", double)
        h.stub("shop.charge", thread)
        h.stub("shop.send", returns=None)
        run = await h.run("shop", ORDER)
        assert run.steps[1].output == "1800 of int"
        h.stub("shop.price", returns="many")
        run = await h.run("shop", ORDER)
        assert (run.status, run.failed_step) == ("failed", "price")
        assert "the result does not fit int" in run.error


async def test_a_stub_for_a_task_that_only_a_string_names_brings_its_own_types() -> None:
    class Parcel(BaseModel):
        text: str

    async def send(text: str) -> Parcel:
        return Parcel(text=text)

    async with Harness([shop()]) as h:
        h.stub("shop.send", send)
        assert (await h.run("shop", ORDER)).output == {"text": "900 cents in attempt 1"}
        h.stub("shop.send", returns=Parcel(text="given"))
        assert (await h.run("shop", ORDER)).output == {"text": "given"}

    def open_parcel(parcel: Parcel) -> str:
        return parcel.text

    workflow = Workflow("unpack")
    workflow.task("open", "unpack.open")
    async with Harness([workflow]) as h:
        h.stub("unpack.open", open_parcel)
        assert (await h.run(workflow, {"text": "a model"})).output == "a model"


async def test_a_stub_that_has_said_its_part_leaves_the_stage_to_the_one_before() -> None:
    async with Harness([shop()]) as h:
        h.stub("shop.send", returns="always")
        h.stub("shop.send", returns="twice", times=2)
        outputs = [(await h.run("shop", ORDER)).output for _ in range(3)]
        assert outputs == ["twice", "twice", "always"]
        assert h.calls("shop.send") == 3


async def test_a_task_that_nobody_can_do_fails_the_test_with_its_name() -> None:
    async with Harness([shop()]) as h:
        with pytest.raises(NotFoundError, match=r"no handler 'shop\.send'") as refused:
            await h.run("shop", ORDER)
        assert "h.stub('shop.send', returns=…)" in refused.value.hint


async def test_a_task_type_that_no_step_has_cannot_be_stubbed() -> None:
    async with Harness([shop()]) as h:
        with pytest.raises(NotFoundError) as refused:
            h.stub("shop.prize", returns=1)
        assert "did you mean 'shop.price'" in refused.value.hint
        with pytest.raises(DefinitionError):
            h.stub("shop.price", str.upper)
        with pytest.raises(NotFoundError, match="no workflow 'shopp'"):
            await h.run("shopp")


async def test_a_run_that_waits_for_ever_is_told_at_once() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    workflow = Workflow("hang")
    workflow.task("hang", "hang")
    async with Harness([workflow]) as h:
        h.stub("hang", hang)
        with pytest.raises(ResultTimeout):
            await h.run(workflow)
        run = await h.start(workflow)
        with pytest.raises(ResultTimeout, match="within 60 s"):
            await run.wait(within=timedelta(minutes=1))
        await run.cancel()
        assert (await run.wait()).status == "cancelled"
        with pytest.raises(ConflictError):
            await run.cancel()


async def test_a_handler_that_asks_for_a_process_runs_in_one() -> None:
    workflow = Workflow("pool")
    workflow.task("double", hands.double)
    workflow.task("pid", hands.pid)
    async with Harness([workflow]) as h:
        run = await h.run("pool", 21)
    outputs = {step.id: step.output for step in run.steps}
    assert outputs["double"] == 42
    assert outputs["pid"] != os.getpid()


async def test_what_a_worker_refuses_is_told_when_the_harness_is_opened() -> None:
    @handler("shop.price")
    async def other(order: Order) -> int:
        return order.cents

    with pytest.raises(ConflictError, match=r"two handlers serve task type 'shop\.price'"):
        Harness([shop(), other])
    with pytest.raises(DagnatsError, match="the harness is not open"):
        await Harness([shop()]).run("shop", ORDER)
    async with Harness([shop()]) as h:
        run = await h.start("shop", ORDER)
    with pytest.raises(DagnatsError, match="the harness is not open"):
        await run.view()


async def test_handlers_under_way_are_cancelled_when_the_harness_closes() -> None:
    cleaned: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cleaned.append("up")
            raise

    workflow = Workflow("hang")
    workflow.task("hang", "hang")
    async with Harness([workflow]) as h:
        h.stub("hang", hang)
        await h.start(workflow)
        await h.advance(seconds=1)
        h.close()
    assert cleaned == ["up"]


async def test_two_harnesses_know_nothing_of_each_other() -> None:
    async with Harness([shop()]) as one, Harness([shop()]) as other:
        for h in (one, other):
            h.stub("shop.send", returns=None)
        await one.run("shop", ORDER, run_id="r1")
        await one.advance(hours=1)
        assert (one.calls("shop.price"), other.calls("shop.price")) == (1, 0)
        assert other.clock.elapsed == timedelta(0)
        await other.run("shop", ORDER, run_id="r1")


def test_the_fixture_closes_what_it_opened(dagnats_harness: Callable[..., Harness]) -> None:
    h = dagnats_harness([shop()])
    h.stub("shop.send", raises=Abort("lost"))
    assert asyncio.run(h.run("shop", ORDER)).error == "lost"


async def test_the_server_fixture_is_a_real_server_with_an_engine(dagnats_server: Serving) -> None:
    workflow = Workflow("nothing")
    workflow.task("price", price)
    async with connect(dagnats_server.url, token=dagnats_server.token) as client:
        await client.register(workflow)
        run = await client.start(workflow, ORDER)
        await run.cancel()
        assert (await run.wait(timeout="20s")).status == "cancelled"


# -- what people and others outside say ------------------------------------------------------------------------


def purchase() -> Workflow[Any, Any]:
    """Two approvals at once, then the payment's event."""
    workflow = Workflow("purchase")
    form = {"type": "object", "required": ["cost_centre"]}
    asked = [workflow.approval(who, subject="ask.them", timeout="72h", form=form) for who in ("boss", "owner")]
    paid = workflow.wait_for_event(
        "paid", "shop.paid", match=workflow.event["id"] == workflow.input["id"], timeout="30d"
    )
    workflow.task("send", "shop.send").after(*asked, paid)
    return workflow


async def sent(done: Any) -> Any:
    return done


async def answered() -> None:
    answer = {"cost_centre": "R-12"}
    async with Harness([purchase()]) as h:
        h.stub("shop.send", sent)
        run = await h.start("purchase", {"id": "größe ☠"})
        with pytest.raises(ConflictError, match="waits for 2 approvals: boss, owner"):
            await h.approve(run)
        with pytest.raises(InputError, match="cost_centre"):
            await h.approve(run, "boss", {})
        assert await h.approve(run, "boss", answer, by="ann") == "boss"
        await h.crash_engine()
        await h.emit("shop.paid", {"id": "another"})
        await h.advance(hours=71)
        assert await h.approve(await run.view(), answer=answer) == "owner"
        with pytest.raises(ConflictError, match="waits for no approval"):
            await h.approve(run.run_id)
        await h.emit("shop.paid", {"id": "größe ☠", "cents": 1})
        ended = await run.wait()
    assert ended.output == {
        "boss": {"approved": True, **answer},
        "owner": {"approved": True, **answer},
        "paid": {"id": "größe ☠", "cents": 1},
    }
    assert timedelta(hours=71) <= h.clock.elapsed < timedelta(hours=72)


def test_approvals_are_answered_and_events_are_published_without_a_server() -> None:
    asyncio.run(answered())


async def refused() -> None:
    async with Harness([purchase()]) as h:
        run = await h.start("purchase", {"id": "1"})
        assert await h.reject(run, "owner", {"why": "no"}) == "owner"
        ended = await run.wait()
        with pytest.raises(ConflictError, match="has ended already: failed"):
            await h.signal(run, "go")
    assert (ended.status, ended.failed_step) == ("failed", "owner")
    assert h.clock.elapsed < timedelta(seconds=1)


def test_an_approval_is_answered_with_no() -> None:
    asyncio.run(refused())


async def signalled() -> None:
    async with Harness([purchase()]) as h:
        run = await h.start("purchase", {"id": "1"})
        await h.signal(run, "go", {"fast": True})
        said = [(event.type, event.payload) for event in await run.history()]
    assert ("signal.received", {"fast": True}) in said


def test_a_signal_is_in_the_runs_history() -> None:
    asyncio.run(signalled())


def test_an_approval_that_nobody_answers_expires_after_its_hours() -> None:
    async def forgotten() -> None:
        async with Harness([purchase()]) as h:
            ended = await h.run("purchase", {"id": "1"})
        assert (ended.status, h.clock.elapsed >= timedelta(hours=72)) == ("failed", True)

    asyncio.run(forgotten())
