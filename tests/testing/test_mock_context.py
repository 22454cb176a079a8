"""Contexts for unit tests of handlers."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from pydantic import BaseModel

from dagnats import Abort, NotFoundError, SyncTaskContext, TaskContext, Workflow
from dagnats.errors import RefusedError
from dagnats.handling.operation import Operations
from dagnats.handling.plane import Budget
from dagnats.testing import Given, MockSyncTaskContext, MockTaskContext, Paused
from dagnats.testing.context import _Recorder  # pyright: ignore[reportPrivateUsage]


class Order(BaseModel):
    id: str


ORDER = Order(id="42")
GIVEN = Given(
    run_input=ORDER,
    outputs={"reserve": ORDER},
    checkpoint=ORDER,
    heartbeat_details=3,
    signals=[("go", 1), ("other", ORDER), ("go", 2)],
    resources="pool",
    metadata={"team": "a"},
    trace="00-x",
)


def test_a_mock_is_a_context_and_says_which_attempt_it_is() -> None:
    context: TaskContext[Any] = MockTaskContext(attempt=3, iteration=2, previous="x", task="t")
    assert (context.attempt, context.iteration, context.previous, context.task) == (3, 2, "x", "t")
    assert isinstance(context, TaskContext)
    assert isinstance(MockSyncTaskContext(), SyncTaskContext)
    assert context.logger.extra == {
        "run_id": "run-1",
        "workflow": "workflow",
        "step_id": "step",
        "attempt": 3,
        "trace_parent": "",
    }
    with pytest.raises(FrozenInstanceError):
        context.attempt = 4  # pyright: ignore[reportAttributeAccessIssue]  # the test's point


def test_a_handler_finds_what_it_is_given() -> None:
    async def act(ctx: TaskContext[str]) -> None:
        assert await ctx.run_input(Order) == ORDER
        assert await ctx.output("reserve", Order) == ORDER
        assert await ctx.load_checkpoint(Order) == ORDER
        assert await ctx.heartbeat_details(int) == 3
        assert [await ctx.wait_for_signal("go", int) for _ in range(2)] == [1, 2]
        assert await ctx.wait_for_signal("other", Order) == ORDER
        assert (ctx.resources, ctx.metadata, ctx.trace, ctx.deadline) == ("pool", {"team": "a"}, "00-x", None)
        with pytest.raises(TimeoutError):
            await ctx.wait_for_signal("go")
        with pytest.raises(NotFoundError, match="no step above 'reverse'"):
            await ctx.output("reverse")
        with pytest.raises(Abort, match="the checkpoint does not fit int"):
            await ctx.load_checkpoint(int)

    asyncio.run(act(MockTaskContext(given=GIVEN)))


def test_without_being_given_anything_there_is_nothing() -> None:
    async def act(ctx: TaskContext) -> list[Any]:
        return [await ctx.run_input(), await ctx.load_checkpoint(), await ctx.heartbeat_details(), ctx.control_plane]

    assert asyncio.run(act(MockTaskContext())) == [None] * 4


def test_a_handler_that_is_given_a_budget_has_a_control_plane() -> None:
    made = Workflow("made")
    made.task("it", "made.it")

    async def act(ctx: TaskContext) -> tuple[str, str, Budget]:
        plane = ctx.control_plane
        assert plane is not None
        return await plane.register(made), await plane.start("made", ORDER), await plane.budget()

    budget = Budget(active_runs=1, max_active_runs=2, registered_defs=3, max_registered_defs=4)
    context = MockTaskContext(given=Given(budget=budget))
    assert asyncio.run(act(context)) == ("agent.run-1.made", "started-1", budget)
    assert context.did.registered == [made.build()]
    assert context.did.started == [("made", {"id": "42"}, "started-1")]


def test_what_a_handler_does_is_kept_as_others_would_read_it() -> None:
    def act(ctx: SyncTaskContext) -> None:
        ctx.checkpoint(ORDER)
        assert ctx.load_checkpoint(Order) == ORDER
        ctx.heartbeat(ORDER)
        ctx.progress(0.5, "half")
        assert [ctx.stream("a"), ctx.stream(b"b")] == [0, 1]
        ctx.emit_event("order.paid", ORDER)
        assert ctx.waitpoint_token("paid") == "token-of-paid"
        assert ctx.start("audit", ORDER) == "started-1"
        ctx.send_signal("r2", "go", ORDER)
        ctx.complete(ORDER)
        with pytest.raises(RefusedError):
            ctx.stream(bytes(300_000))

    context = MockSyncTaskContext()
    act(context)
    did, plain = context.did, {"id": "42"}
    assert (did.checkpoints, did.heartbeats, did.progress) == ([plain], [plain], [(0.5, "half")])
    assert (did.chunks, did.events) == ([b"a", b"b"], [("order.paid", plain)])
    assert (did.started, did.signals) == ([("audit", plain, "started-1")], [("r2", "go", plain)])
    assert context.verdict is not None
    assert (context.verdict.kind, context.verdict.value) == ("completed", ORDER)


def test_a_pause_and_a_stop_are_seen() -> None:
    with pytest.raises(Paused) as paused:
        MockSyncTaskContext().pause("1h")
    assert paused.value.delay.total_seconds() == 3600
    stopped = MockSyncTaskContext()
    stopped.stop.asked = True
    with pytest.raises(asyncio.CancelledError):
        stopped.heartbeat()


def test_a_mock_can_all_that_a_worker_can() -> None:
    wanted = {name for name in vars(Operations) if not name.startswith("_")}
    assert wanted <= {*dir(_Recorder)}
    methods = {name for name, _ in inspect.getmembers(TaskContext, inspect.isfunction) if not name.startswith("_")}
    assert methods == {
        name for name, _ in inspect.getmembers(SyncTaskContext, inspect.isfunction) if not name.startswith("_")
    }
