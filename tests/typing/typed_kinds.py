"""What type checkers know of every kind of step. Checked by pyright, never run."""
# pyright: strict

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from dagnats import Continue, KeyedRateLimit, RateLimit, SyncTaskContext, TaskContext, Workflow, handler
from dagnats.dsl.agent import AgentStep
from dagnats.dsl.child import SubWorkflowStep
from dagnats.dsl.loop import AgentLoopStep
from dagnats.dsl.map import MapStep
from dagnats.dsl.planner import PlannerStep
from dagnats.dsl.step import Group, Step
from dagnats.dsl.waitpoint import ApprovalStep, SleepStep, WaitStep


class Order: ...


class Receipt: ...


@handler("t")
async def start() -> Receipt: ...
@handler("t")
async def charge(order: Order, ctx: TaskContext) -> Receipt: ...
@handler("t")
def sync_charge(order: Order) -> Receipt: ...
@handler("t")
async def think(order: Order) -> Receipt | Continue[Order]: ...
@handler("t")
def sync_think(order: Order, ctx: SyncTaskContext) -> Receipt | Continue[Order] | None: ...


wf = Workflow("w")


def an_agent_takes_its_types_from_its_handler() -> None:
    assert_type(wf.agent("a", start), AgentStep[Any, Receipt])
    assert_type(wf.agent("a", charge), AgentStep[Order, Receipt])
    assert_type(wf.agent("a", sync_charge), AgentStep[Order, Receipt])
    assert_type(wf.agent("a", "elsewhere").with_timeout("1s"), AgentStep[Any, Any])


def a_loop_gives_what_ends_it() -> None:
    assert_type(wf.agent_loop("a", think), AgentLoopStep[Order, Receipt])
    assert_type(wf.agent_loop("a", sync_think), AgentLoopStep[Order, Receipt | None])
    assert_type(wf.agent_loop("a", charge), AgentLoopStep[Order, Receipt])
    assert_type(wf.agent_loop("a", "elsewhere").with_max_iterations(3), AgentLoopStep[Any, Any])
    assert_type(wf.agent_loop("a", think).with_loop_delay(timedelta(1)), AgentLoopStep[Order, Receipt])


def a_map_takes_and_gives_lists() -> None:
    assert_type(wf.map("a", charge), MapStep[list[Order], list[Receipt]])
    assert_type(wf.map("a", sync_charge, over="b"), MapStep[list[Order], list[Receipt]])
    assert_type(wf.map("a", start), MapStep[Any, list[Receipt]])
    assert_type(wf.map("a", "elsewhere"), MapStep[Any, Any])
    assert_type(wf.map("a", charge).with_on_item_failure("collect"), MapStep[list[Order], list[Receipt]])


def nobody_knows_what_a_planner_gives() -> None:
    assert_type(wf.planner("a", charge), PlannerStep[Order, Any])
    assert_type(wf.planner("a", "elsewhere"), PlannerStep[Any, Any])
    assert_type(wf.planner("a", charge).with_allowed_tasks("t", charge), PlannerStep[Order, Any])


def a_child_has_the_types_of_its_workflow() -> None:
    assert_type(wf.sub_workflow("a", Workflow("c", input=Order, output=Receipt)), SubWorkflowStep[Order, Receipt])
    assert_type(wf.sub_workflow("a", Workflow("c")), SubWorkflowStep[Any, Any])
    assert_type(wf.sub_workflow("a", "c").with_detach(), SubWorkflowStep[Any, Any])


def what_the_engine_runs_has_builders_only() -> None:
    assert_type(wf.sleep("a", "7d"), SleepStep)
    assert_type(
        wf.wait_for_event("a", "paid", match=wf.event["id"] == wf.input["id"], timeout="1h").with_lookback("5m"),
        WaitStep,
    )
    assert_type(wf.approval("a", subject="s", timeout="1h", form=Order), ApprovalStep)
    assert_type(wf.respond("a", status=201).after("b").id, str)


def setters_of_a_kind_exist_on_that_kind_only() -> None:
    wf.task("a", charge).with_max_iterations(3)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    wf.agent("a", charge).with_max_items(3)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    wf.agent_loop("a", think).with_max_parallel(3)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    wf.map("a", charge).with_loop_delay("1s")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    wf.planner("a", charge).with_detach()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    wf.sub_workflow("a", "c").with_max_depth(3)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    wf.sleep("a", "1s").with_lookback("1s")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def wrong_use_of_a_builder_is_a_type_error() -> None:
    wf.agent("a", print)  # pyright: ignore[reportCallIssue, reportArgumentType]
    wf.agent("a")  # pyright: ignore[reportArgumentType]
    wf.map("a", charge, over=3)  # pyright: ignore[reportCallIssue, reportArgumentType]
    wf.map("a", charge).with_on_item_failure("ignore")  # pyright: ignore[reportArgumentType]
    wf.sub_workflow("a", charge)  # pyright: ignore[reportCallIssue, reportArgumentType]
    wf.sleep("a", 30)  # pyright: ignore[reportArgumentType]
    wf.wait_for_event("a", "paid", timeout="1h")  # pyright: ignore[reportCallIssue]
    wf.wait_for_event("a", "paid", match=True, timeout="1h")  # pyright: ignore[reportArgumentType]
    wf.approval("a", timeout="1h")  # pyright: ignore[reportCallIssue]


@wf.agent
async def bare_agent(order: Order) -> Receipt: ...
@wf.agent_loop(max_iterations=3, loop_delay="1s", after=bare_agent)
async def loop(order: Order) -> Receipt | Continue[Order]: ...
@wf.map(over=loop, max_parallel=3, on_item_failure="collect")
def each(order: Order, ctx: SyncTaskContext) -> int: ...
@wf.planner(max_steps=3, allowed_tasks=["t", charge])
async def plan() -> dict[str, Any]: ...
@wf.step(
    after=[bare_agent, "b"],
    abort_on=(ValueError,),
    process=True,
    rate_limit=RateLimit(1, "1s"),
    keyed_rate_limit=KeyedRateLimit("id", 1, timedelta(seconds=1)),
    skip_if=(loop.output["a"][0] == 3) & ~(loop.output["b"] < 4),
    metadata={"a": "b"},
    capabilities=["control-plane"],
)
def everything(order: Order) -> int: ...


async def a_decorated_step_is_still_its_function(order: Order, ctx: SyncTaskContext) -> None:
    assert_type(await bare_agent(order), Receipt)
    assert_type(await loop(order), Receipt | Continue[Order])
    assert_type(each(order, ctx), int)
    assert_type(await plan(), dict[str, Any])
    loop.with_max_duration("1h").after(each)
    each.with_max_items(3)
    plan.with_max_depth(3)
    each(order)  # pyright: ignore[reportCallIssue]
    await loop("order")  # pyright: ignore[reportArgumentType]


def a_decorator_takes_the_settings_of_its_kind_only() -> None:
    wf.agent(max_iterations=3)  # pyright: ignore[reportCallIssue]
    wf.agent_loop(over="a")  # pyright: ignore[reportCallIssue]
    wf.map(over="a", max_items="3")  # pyright: ignore[reportArgumentType]
    wf.planner(speed=3)  # pyright: ignore[reportCallIssue]
    wf.step(abort_on=ValueError)  # pyright: ignore[reportArgumentType]
    wf.step(rate_limit=3)  # pyright: ignore[reportArgumentType]
    wf.step(skip_if=loop.output["a"])  # pyright: ignore[reportArgumentType]


def a_chain_gives_its_last_step() -> None:
    a, b = wf.task("a", charge), wf.map("b", charge)
    assert_type(a >> b, MapStep[list[Order], list[Receipt]])
    assert_type(a >> [a, b], Group)
    assert_type(a >> [b] >> a, Step[Order, Receipt])
    assert_type([a, "b"] >> a, Step[Order, Receipt])
    assert_type("b" >> a, Step[Order, Receipt])
    a >> "b"  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    a >> 3  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]


def what_a_loop_continues_with_is_typed() -> None:
    assert_type(Continue(3), Continue[int])
    wider: Continue[object] = Continue(3)
    without: Continue[Order] = Continue()
    narrower: Continue[bool] = Continue(3)  # pyright: ignore[reportAssignmentType]
    assert_type((wider.has_value, without.value, narrower.value), tuple[bool, Any, Any])


def what_a_handler_is_told_is_typed() -> None:
    handler("t", abort_on=(ValueError, KeyError), process=True)
    handler("t", abort_on=ValueError)  # pyright: ignore[reportArgumentType]
    handler("t", abort_on=(3,))  # pyright: ignore[reportArgumentType]
    handler("t", process="yes")  # pyright: ignore[reportArgumentType]
