"""What handlers do with their context, under the real worker and engine, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from pydantic import BaseModel

from dagnats import Abort, Continue, Fixed, NotFoundError, SyncTaskContext, TaskContext, Workflow, handler
from dagnats.errors import ConflictError, RefusedError
from dagnats.handling.role import Checkpointing, Streaming
from dagnats.model.pulse import decode_pulse
from dagnats.runtime.waitpoint import KEY, Place, opened
from dagnats.testing import Harness
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.client.run import RunHandle
    from dagnats.client.view import RunView
    from dagnats.runtime.embedded import EmbeddedServer


class Order(BaseModel):
    id: str
    cents: int


ORDER = Order(id="42", cents=900)


def alone(act: Callable[..., Any], **settings: Any) -> Workflow:
    """A workflow of one step, `it`, which does this."""
    workflow = Workflow("alone")
    step = workflow.task("it", handler("it.act")(act))
    for name, value in settings.items():
        getattr(step, f"with_{name}")(value) if not isinstance(value, dict) else getattr(step, f"with_{name}")(**value)
    return workflow


async def ran(act: Callable[..., Any], input: Any = None, **settings: Any) -> RunView:
    async with Harness([alone(act, **settings)]) as harness:
        return await harness.run("alone", input)


def pulse_of(harness: Harness, run_id: str) -> Any:
    data = harness.drive(harness.client.connection.ports.pulses.newest(run_id, "it"))
    return decode_pulse(data) if data is not None else None


# -- the run -------------------------------------------------------------------------------------------------


async def test_a_handler_reads_the_runs_input_and_what_any_step_above_has_returned() -> None:
    seen: dict[str, Any] = {}
    workflow = Workflow("three")

    @workflow.step
    async def first(order: Order) -> Order:
        return Order(id=order.id, cents=order.cents + 1)

    @workflow.step(after=first)
    async def second(order: Order) -> int:
        return order.cents

    @workflow.step(after=second)
    async def third(cents: int, ctx: TaskContext) -> None:
        seen["input"] = await ctx.run_input(Order)
        seen["first"] = await ctx.output("first", Order)
        seen["second"] = await ctx.output("second")
        with pytest.raises(NotFoundError, match="no step above 'frist'") as unknown:
            await ctx.output("frist")
        seen["hint"] = unknown.value.hint
        with pytest.raises(NotFoundError, match="no step above 'third'"):
            await ctx.output("third")
        with pytest.raises(Abort, match="the output of step 'second' does not fit Order"):
            await ctx.output("second", Order)

    async with Harness([workflow]) as harness:
        view = await harness.run("three", ORDER)
    assert view.status == "completed", view.error
    assert seen == {
        "input": ORDER, "first": Order(id="42", cents=901), "second": 901, "hint": "did you mean 'first'?",
    }  # fmt: skip


async def test_an_item_of_a_map_and_a_compensation_know_what_is_above_them() -> None:
    seen: list[Any] = []
    workflow = Workflow("wide")

    @workflow.step
    async def listed() -> list[int]:
        return [1, 2]

    @handler("wide.item")
    async def item(number: int, ctx: TaskContext) -> int:
        seen.append((ctx.step_id, await ctx.output("listed", list[int])))
        return number

    @handler("wide.undo")
    async def undo(_: Any, ctx: TaskContext) -> None:
        seen.append((ctx.step_id, await ctx.output("items", list[int]), await ctx.output("listed")))

    @handler("wide.fail")
    async def fail() -> None:
        raise Abort("no")

    items = workflow.map("items", item).after(listed).with_compensation("undo")
    workflow.task("undo", undo)
    workflow.task("failing", fail).after(items)
    async with Harness([workflow]) as harness:
        view = await harness.run("wide")
    assert view.status == "compensated", view.error
    assert sorted(seen) == [("items.map.0", [1, 2]), ("items.map.1", [1, 2]), ("undo", [1, 2], [1, 2])]


async def test_a_handler_knows_its_metadata_deadline_trace_and_that_nothing_is_granted() -> None:
    seen: dict[str, Any] = {}

    async def act(ctx: TaskContext) -> None:
        seen.update(metadata=dict(ctx.metadata), deadline=ctx.deadline, control=ctx.control_plane, trace=ctx.trace)

    view = await ran(act, metadata={"team": "a"}, timeout="30s")
    assert view.status == "completed", view.error
    begun = datetime.fromtimestamp(view.created_ns / 1e9, UTC)
    assert seen["deadline"] - begun == timedelta(seconds=30)
    assert (seen["metadata"], seen["control"]) == ({"team": "a"}, None)
    assert seen["trace"].startswith("00-")


async def test_a_run_that_a_handler_starts_is_started_once_however_often_the_handler_is_tried() -> None:
    started: list[list[str]] = []
    child = Workflow("child")

    @child.step
    async def done(number: int) -> int:
        return number

    async def act(ctx: TaskContext) -> None:
        started.append([await ctx.start(child, ctx.attempt), await ctx.start("child", 7)])
        if ctx.attempt < 3:
            raise ValueError("again")

    async with Harness([alone(act, retries=3), child]) as harness:
        view = await harness.run("alone")
        assert view.status == "completed", view.error
        first, second = started[0]
        assert started == [[first, second]] * 3
        assert first != second
        runs = [harness.drive(harness.client.handle(run_id).wait()) for run_id in (first, second)]
        history = harness.drive(harness.client.handle(first).history())
    assert [(run.input, run.status) for run in runs] == [(1, "completed"), (7, "completed")]
    assert [event.type for event in history].count("workflow.started") == 1


async def test_a_handler_that_goes_on_from_its_checkpoint_starts_by_key_what_is_left() -> None:
    begun: list[str] = []

    async def act(ctx: TaskContext) -> list[str]:
        done = await ctx.load_checkpoint(int) or 0
        for item in range(done, 3):
            begun.append(await ctx.start("other", item, key=f"item {item}"))
            await ctx.emit_event("item.started", item, key=f"item {item}")
            await ctx.checkpoint(item + 1)
            if item == 0:
                raise ValueError("again, from the second item on")
        begun.append(await ctx.start("other", 1, key="item 1"))
        return begun

    other = Workflow("other")
    other.task("it", handler("other.it")(echoed))
    async with Harness([alone(act, retry={"max_attempts": 2, "initial_delay": "1s"}), other]) as harness:
        view = await harness.run("alone")
        assert view.status == "completed", view.error
        children = [harness.drive(harness.client.handle(run_id).wait()) for run_id in begun]
        assert [child.output for child in children] == [0, 1, 2, 1]
        assert begun[3] == begun[1]
        events = harness.client.connection.ports.events
        found = harness.drive(events.page("item.started", since_ns=0, after=0, upto=100))
    assert [event.data for event in found] == [b"0", b"1", b"2"]


async def echoed(value: int) -> int:
    return value


async def test_a_workflow_that_is_not_registered_cannot_be_started() -> None:
    async def act(ctx: TaskContext) -> None:
        await ctx.start("alon")

    view = await ran(act)
    assert (view.status, view.error) == ("failed", "NotFoundError: no workflow 'alon'; did you mean 'alone'?")


async def test_an_event_that_a_handler_publishes_is_published_once_when_it_is_tried_again() -> None:
    async def act(ctx: TaskContext) -> None:
        await ctx.emit_event("order.paid", {"id": ctx.run_id})
        if ctx.attempt == 1:
            raise ValueError("again")

    async with Harness([alone(act, retry={"max_attempts": 2, "initial_delay": "1s"})]) as harness:
        view = await harness.run("alone")
        events = harness.client.connection.ports.events
        found = harness.drive(events.page("order.paid", since_ns=0, after=0, upto=100))
    assert view.status == "completed", view.error
    assert [event.data for event in found] == [msgspec.json.encode({"id": view.run_id})]


async def test_a_handler_has_the_token_of_a_wait_that_comes_after_it() -> None:
    workflow = Workflow("paying")

    @workflow.step
    async def order(ctx: TaskContext) -> str:
        return await ctx.waitpoint_token("paid")

    workflow.wait_for_event("paid", "order.paid", match=workflow.event["id"] == 1, timeout="1h").after(order)
    async with Harness([workflow]) as harness:
        view = await harness.run("paying")
        key = harness.drive(harness.client.connection.ports.secrets.key(KEY))
    assert opened(key, view.steps[0].output) == Place(view.run_id, "paid", 1)


# -- how far it is -------------------------------------------------------------------------------------------


async def test_the_next_attempt_reads_what_the_last_one_gave_to_heartbeat() -> None:
    seen: list[Any] = []

    async def act(ctx: TaskContext) -> None:
        seen.append(await ctx.heartbeat_details(Order))
        if ctx.attempt == 1:
            await ctx.heartbeat({"id": "1", "cents": 1})
            await ctx.heartbeat(ORDER)
            await ctx.progress(0.5, "half")
            seen.append(await ctx.heartbeat_details())
            raise ValueError("again")
        await ctx.progress(1)
        if ctx.attempt == 2:
            raise ValueError("again")

    async with Harness([alone(act, retries=2)]) as harness:
        view = await harness.run("alone")
        pulse = pulse_of(harness, view.run_id)
    assert view.status == "completed", view.error
    assert seen == [None, None, ORDER, ORDER]
    assert (pulse.attempt, pulse.fraction, pulse.message) == (3, 1.0, "")


async def test_heartbeats_are_stored_once_a_second_at_most_and_the_last_one_always() -> None:
    async def act(ctx: TaskContext) -> None:
        for number in range(300):
            await ctx.heartbeat(number)
            await asyncio.sleep(0.01)

    async with Harness([alone(act)]) as harness:
        pulses = harness.client.connection.ports.pulses
        run = await harness.start("alone")
        seen: list[bytes] = []
        for _ in range(301):
            await harness.advance(seconds=0.01)
            pulse = pulse_of(harness, run.run_id)
            seen += [bytes(pulse.details)] if pulse is not None else []
        assert (await run.wait()).status == "completed"
        seen.append(bytes(pulse_of(harness, run.run_id).details))
        assert len(harness.drive(pulses.of(run.run_id))) == 1
    stored = list(dict.fromkeys(seen))
    assert (len(stored), stored[0], stored[-1]) == (4, b"0", b"299")


async def test_progress_is_a_fraction_and_heartbeats_are_small() -> None:
    async def act(ctx: TaskContext) -> None:
        with pytest.raises(ValueError, match=r"the fraction is 1\.5; it is from 0 to 1"):
            await ctx.progress(1.5)
        with pytest.raises(RefusedError, match="heartbeat has 300002 bytes"):
            await ctx.heartbeat("x" * 300_000)

    view = await ran(act)
    assert view.status == "completed", view.error


async def test_a_checkpoint_of_any_size_is_there_for_the_next_attempt() -> None:
    seen: list[Any] = []

    async def act(ctx: Checkpointing) -> int:
        at = await ctx.load_checkpoint(list[str])
        seen.append(len(at) if at is not None else None)
        await ctx.checkpoint(["x" * 100_000] * 2 * ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("again")
        return 1

    view = await ran(act, retries=3)
    assert view.status == "completed", view.error
    assert seen == [None, 2, 4]


async def test_a_checkpoint_is_there_for_the_next_turn_of_a_loop() -> None:
    seen: list[Any] = []
    workflow = Workflow("turns")

    @workflow.agent_loop(max_iterations=5)
    async def turn(number: int, ctx: TaskContext) -> int | Continue[int]:
        seen.append(await ctx.load_checkpoint(int))
        await ctx.checkpoint(number)
        return Continue(number + 1) if number < 3 else number

    async with Harness([workflow]) as harness:
        view = await harness.run("turns", 1)
    assert view.status == "completed", view.error
    assert seen == [None, 1, 2]


@pytest.mark.parametrize("value", [object(), float("nan"), print])
async def test_a_value_without_a_json_form_fails_the_step_for_good(value: Any) -> None:
    async def act(ctx: TaskContext) -> None:
        await ctx.checkpoint(value)

    view = await ran(act, retries=3)
    assert (view.status, view.steps[0].attempts) == ("failed", 1)
    assert view.error.startswith("what the context was given cannot be carried as JSON: ")


async def test_an_attempt_that_is_over_cannot_store_a_checkpoint() -> None:
    kept: list[TaskContext] = []

    async def act(ctx: TaskContext) -> None:
        kept.append(ctx)
        await ctx.checkpoint(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("again")
        with pytest.raises(ConflictError, match="attempt 1 of step 'it' cannot store a checkpoint"):
            await kept[0].checkpoint("zombie")
        assert await ctx.load_checkpoint() == 2

    view = await ran(act, retries=1)
    assert view.status == "completed", view.error


# -- pausing -------------------------------------------------------------------------------------------------


async def test_a_handler_that_pauses_begins_again_from_its_top_as_the_same_try_with_its_checkpoint() -> None:
    seen: list[Any] = []

    async def act(ctx: TaskContext) -> str:
        at = await ctx.load_checkpoint(int) or 0
        seen.append((ctx.attempt, at))
        if at < 2:
            await ctx.checkpoint(at + 1)
            try:
                await ctx.pause("1h")
            except Exception:  # noqa: BLE001  # the test's point
                return "swallowed"
        return "done"

    async with Harness([alone(act)]) as harness:
        view = await harness.run("alone")
        assert harness.clock.elapsed >= timedelta(hours=2)
    assert (view.status, view.output) == ("completed", "done")
    assert seen == [(1, 0), (1, 1), (1, 2)]


def test_a_sync_handler_pauses_too() -> None:
    def act(ctx: SyncTaskContext) -> int:
        at = ctx.load_checkpoint(int)
        if at is None:
            ctx.checkpoint(5)
            ctx.pause(timedelta(milliseconds=5))
        return at or 0

    with Harness([alone(act)]) as harness:
        run = harness.drive(harness.client.start("alone"))
        assert harness.drive(run.result()) == 5


# -- signals -------------------------------------------------------------------------------------------------


async def test_signals_are_taken_in_order_and_each_once() -> None:
    async def act(ctx: TaskContext) -> list[Any]:
        return [
            await ctx.wait_for_signal("go", int),
            await ctx.wait_for_signal("other"),
            await ctx.wait_for_signal("go", int),
            await ctx.wait_for_signal("go", int),
        ]

    async with Harness([alone(act)]) as harness:
        run = await harness.start("alone")
        for name, value in (("go", 1), ("go", 2), ("other", "x")):
            await harness.signal(run, name, value)
        await harness.advance(minutes=5)
        await harness.signal(run, "go", 3)
        view = await run.wait()
    assert view.output == [1, "x", 2, 3], view.error


async def test_two_waits_of_one_handler_for_one_name_get_one_signal_each() -> None:
    async def act(ctx: TaskContext) -> list[int]:
        return sorted(await asyncio.gather(ctx.wait_for_signal("go", int), ctx.wait_for_signal("go", int)))

    async with Harness([alone(act)]) as harness:
        run = await harness.start("alone")
        await harness.signal(run, "go", 1)
        await harness.signal(run, "go", 2)
        assert (await run.wait()).output == [1, 2]


async def test_a_signal_is_taken_again_after_a_failure_unless_a_checkpoint_was_stored_since() -> None:
    seen: list[Any] = []

    async def act(ctx: TaskContext) -> None:
        seen.append(await ctx.wait_for_signal("go", int))
        if ctx.attempt == 2:
            await ctx.checkpoint("one is done")
        if ctx.attempt < 3:
            raise ValueError("again")

    async with Harness([alone(act, retries=3)]) as harness:
        run = await harness.start("alone")
        await harness.signal(run, "go", 1)
        await harness.signal(run, "go", 2)
        assert (await run.wait()).status == "completed"
    assert seen == [1, 1, 2]


async def test_each_turn_of_a_loop_takes_the_next_signal() -> None:
    workflow = Workflow("chat")

    @workflow.agent_loop(max_iterations=5)
    async def turn(said: list[str], ctx: TaskContext) -> list[str] | Continue[list[str]]:
        word = await ctx.wait_for_signal("say", str)
        return said if word == "bye" else Continue([*said, word])

    async with Harness([workflow]) as harness:
        run = await harness.start("chat", [])
        for word in ("one", "two", "bye"):
            await harness.signal(run, "say", word)
        assert (await run.wait()).output == ["one", "two"]


async def test_a_wait_for_a_signal_ends_in_time_and_cannot_be_longer_than_an_hour() -> None:
    async def act(ctx: TaskContext) -> str:
        with pytest.raises(ValueError, match="an hour at most"):
            await ctx.wait_for_signal("go", timeout="61m")
        with pytest.raises(ValueError, match="above zero"):
            await ctx.wait_for_signal("go", timeout="0s")
        with pytest.raises(TimeoutError, match="no signal 'go' within 2700 s"):
            await ctx.wait_for_signal("go", timeout="45m")
        return "late"

    async with Harness([alone(act)]) as harness:
        view = await harness.run("alone")
        assert timedelta(minutes=45) <= harness.clock.elapsed < timedelta(minutes=46)
    assert view.output == "late", view.error


async def test_a_handler_sends_another_run_a_signal() -> None:
    waiting = Workflow("waiting")

    @waiting.step
    async def wait(ctx: TaskContext) -> Order:
        return await ctx.wait_for_signal("go", Order)

    async def act(run_id: str, ctx: TaskContext) -> None:
        await ctx.send_signal(run_id, "go", ORDER)

    async with Harness([waiting, alone(act)]) as harness:
        run = await harness.start("waiting")
        assert (await harness.run("alone", run.run_id)).status == "completed"
        assert (await run.wait()).output == {"id": "42", "cents": 900}


# -- streaming -----------------------------------------------------------------------------------------------


async def test_a_handler_streams_chunks_whose_offsets_go_on_with_the_next_attempt() -> None:
    offsets: list[int] = []

    async def act(ctx: Streaming) -> None:
        for chunk in ("a", b"b"):
            offsets.append(await ctx.stream(chunk))
        if ctx.attempt == 1:
            raise ValueError("again")

    async with Harness([alone(act, retries=1)]) as harness:
        view = await harness.run("alone")
        chunks = harness.drive(harness.client.connection.ports.chunks.read(view.run_id, "it"))
    assert offsets == [0, 1, 2, 3]
    assert [(chunk.data, chunk.attempt) for chunk in chunks] == [(b"a", 1), (b"b", 1), (b"a", 2), (b"b", 2)]


# -- ending by a call ----------------------------------------------------------------------------------------


def ending(end: Callable[[TaskContext], Any]) -> Callable[[TaskContext], Coroutine[Any, Any, None]]:
    async def act(ctx: TaskContext) -> None:
        end(ctx)

    return act


def completing(ctx: TaskContext) -> None:
    ctx.complete(ORDER)


def completing_with_nothing(ctx: TaskContext) -> None:
    ctx.complete()


def failing(ctx: TaskContext) -> None:
    ctx.fail("why")


def failing_by_an_exception(ctx: TaskContext) -> None:
    ctx.fail(ValueError("why"))


def failing_for_good(ctx: TaskContext) -> None:
    ctx.fail_permanent("why")


def failing_for_a_while(ctx: TaskContext) -> None:
    ctx.fail_retry_after("why", "2s")


@pytest.mark.parametrize(
    ("end", "status", "said", "calls"),
    [
        (completing, "completed", {"id": "42", "cents": 900}, 1),
        (completing_with_nothing, "completed", None, 1),
        (failing, "failed", "why", 3),
        (failing_by_an_exception, "failed", "ValueError: why", 3),
        (failing_for_good, "failed", "why", 1),
        (failing_for_a_while, "failed", "why", 3),
    ],
)
async def test_a_handler_may_end_its_attempt_by_a_call(
    end: Callable[[TaskContext], None], status: str, said: Any, calls: int
) -> None:
    async with Harness([alone(ending(end), retries=2)]) as harness:
        view = await harness.run("alone")
        assert harness.calls("it.act") == calls
    assert (view.status, view.output if status == "completed" else view.error) == (status, said)


@pytest.mark.parametrize(("after", "least", "most"), [("1ms", 0.1, 1), ("10m", 600, 601), ("3h", 3600, 3601)])
async def test_fail_retry_after_waits_as_long_as_it_says_within_bounds(after: str, least: float, most: float) -> None:
    async def act(ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            ctx.fail_retry_after("busy", after)

    async with Harness([alone(act, retries=1)]) as harness:
        assert (await harness.run("alone")).status == "completed"
        assert least <= harness.clock.elapsed.total_seconds() < most


async def test_a_loop_goes_on_by_a_call() -> None:
    workflow = Workflow("turns")
    seen: list[int] = []

    @workflow.agent_loop(max_iterations=5)
    async def turn(number: int, ctx: TaskContext) -> None:
        seen.append(number)
        if ctx.iteration == 0:
            ctx.continue_(number + 1)
        elif ctx.iteration == 1:
            ctx.continue_()
        else:
            ctx.complete()

    async with Harness([workflow]) as harness:
        view = await harness.run("turns", 1)
    assert view.status == "completed", view.error
    assert seen == [1, 2, 2]


async def test_who_has_said_the_end_returns_nothing_and_says_no_other() -> None:
    async def both(ctx: TaskContext) -> int:
        ctx.complete(1)
        return 2

    async def twice(ctx: TaskContext) -> None:
        ctx.complete(1)
        ctx.fail("no")

    async def fails(ctx: TaskContext) -> None:
        ctx.complete(1)
        raise ValueError("after all")

    errors = [(await ran(act)).error for act in (both, twice, fails)]
    assert errors == [
        "the handler has ended its attempt by a call (completed) and returned int as well",
        "the handler has ended its attempt twice: completed, then retriable",
        "ValueError: after all",
    ]


# -- sync handlers -------------------------------------------------------------------------------------------


def test_a_sync_handler_has_the_same_and_waits() -> None:
    seen: dict[str, Any] = {}

    def act(order: Order, ctx: SyncTaskContext) -> int:
        ctx.heartbeat({"at": 1})
        ctx.progress(0.5)
        ctx.checkpoint(order)
        seen["input"] = ctx.run_input(Order)
        seen["checkpoint"] = ctx.load_checkpoint(Order)
        seen["details"] = ctx.heartbeat_details()
        seen["signal"] = ctx.wait_for_signal("go", timeout="1h")
        seen["offset"] = ctx.stream("x")
        ctx.emit_event("it.happened")
        seen["started"] = ctx.start("child", 1)
        ctx.send_signal(ctx.run_id, "self")
        with pytest.raises(NotFoundError):
            ctx.output("nothing")
        return 1

    child = Workflow("child")
    child.task("done", "child.done")
    with Harness([alone(act), child]) as harness:
        harness.stub("child.done")
        run = harness.drive(harness.client.start("alone", ORDER))
        harness.drive(run.signal("go", "now"))
        assert harness.drive(run.result()) == 1
    started = seen.pop("started")
    assert len(started) == 32
    assert seen == {"input": ORDER, "checkpoint": ORDER, "details": None, "signal": "now", "offset": 0}


async def until_started(run: RunHandle) -> None:
    async for event in run.events():
        if event.type == "step.started":
            return


def test_a_sync_handler_that_waits_is_stopped_by_a_cancel() -> None:
    ended: list[str] = []

    def act(ctx: SyncTaskContext) -> None:
        try:
            ctx.wait_for_signal("never")
        except asyncio.CancelledError:
            ended.append("told")
            try:
                ctx.heartbeat()
            except asyncio.CancelledError:
                ended.append("and again")

    with Harness([alone(act)]) as harness:

        async def go() -> None:
            run = await harness.client.start("alone")
            await until_started(run)
            await run.cancel()

        harness.drive(go())
        harness.drive(asyncio.sleep(1))
    assert ended == ["told", "and again"]


# -- contexts of nobody --------------------------------------------------------------------------------------


def test_a_context_that_belongs_to_no_worker_says_so() -> None:
    context = TaskContext(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="k")
    with pytest.raises(RuntimeError, match=r"belongs to no worker: use MockTaskContext of dagnats\.testing"):
        context.complete()


# -- on a real server ----------------------------------------------------------------------------------------

served = Workflow("served")


@served.step(retry=Fixed(max_attempts=1, initial_delay="1ms"))
async def talk(words: list[str], ctx: TaskContext) -> list[Any]:
    at = await ctx.load_checkpoint(int) or 0
    if at == 0:
        await ctx.checkpoint(1)
        await ctx.stream(await ctx.wait_for_signal("say", str))
        await ctx.pause("10ms")
    if at == 1:
        await ctx.checkpoint(2)
        await ctx.heartbeat({"at": at})
        await ctx.stream(await ctx.wait_for_signal("say", str))
        raise ValueError("again")
    return [*await ctx.run_input(list[str]), (await ctx.heartbeat_details())["at"], await ctx.wait_for_signal("say")]


@served.step(after=talk)
def listen(said: list[Any], ctx: SyncTaskContext) -> list[Any]:
    ctx.stream("x")
    return [ctx.output("talk"), ctx.attempt]


async def test_all_of_it_works_on_a_real_server(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(served)
        system.start_worker([served])
        run = await system.client.start(served, ["input"])
        for word in ("one", "two"):
            await run.signal("say", word)
        async with asyncio.timeout(30):
            chunks = [(chunk.offset, chunk.data) async for chunk in run.stream("talk")]
            assert await run.result() == [["input", 1, "two"], 1]
    assert chunks == [(0, b"one"), (1, b"two")]


async def test_a_handler_whose_bucket_was_removed_waits_for_it_and_the_log_names_it(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(ctx: TaskContext) -> Any:
        await ctx.checkpoint(5)
        return await ctx.load_checkpoint()

    async def is_told() -> bool:
        return "$KV.checkpoints" in caplog.text or "KV_checkpoints" in caplog.text

    async with running(nats_server) as system:
        await system.client.register(alone(act))
        await system.jetstream.link.api("STREAM.DELETE.KV_checkpoints")
        system.start_worker([alone(act)])
        run = await system.client.start("alone")
        await until(is_told, what="the bucket's name in the log")
        await system.jetstream.ports.server.prepare()
        assert await run.result(timeout="30s") == 5
