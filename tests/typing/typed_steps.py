"""What type checkers know of steps: input and output come from the handler. Checked by pyright, never run."""
# pyright: strict

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from dagnats import Exponential, Fixed, Linear, Step, SyncTaskContext, TaskContext, Workflow, handler


class Order: ...


class Receipt: ...


@handler("t")
async def nothing() -> Receipt: ...
@handler("t")
async def with_input(order: Order) -> Receipt: ...
@handler("t")
async def with_context(ctx: TaskContext) -> Receipt: ...
@handler("t")
async def with_both(order: Order, ctx: TaskContext) -> Receipt: ...
@handler("t")
async def with_defaults(order: Order, ctx: TaskContext, tries: int = 3) -> Receipt: ...
@handler("t")
def sync_nothing() -> Receipt: ...
@handler("t")
def sync_input(order: Order) -> Receipt: ...
@handler("t")
def sync_context(ctx: SyncTaskContext) -> Receipt: ...
@handler("t")
def sync_both(order: Order, ctx: SyncTaskContext) -> Receipt: ...


wf = Workflow("w", version="2", timeout="10m", default_retry=Linear(max_attempts=1))


def a_step_takes_its_types_from_its_handler() -> None:
    assert_type(wf.task("a", nothing), Step[Any, Receipt])
    assert_type(wf.task("a", with_input), Step[Order, Receipt])
    assert_type(wf.task("a", with_context), Step[Any, Receipt])
    assert_type(wf.task("a", with_both), Step[Order, Receipt])
    assert_type(wf.task("a", sync_nothing), Step[Any, Receipt])
    assert_type(wf.task("a", sync_input), Step[Order, Receipt])
    assert_type(wf.task("a", sync_context), Step[Any, Receipt])
    assert_type(wf.task("a", sync_both), Step[Order, Receipt])
    assert_type(wf.task("a", "elsewhere"), Step[Any, Any])


def every_setter_keeps_the_steps_types() -> None:
    step = wf.task("a", with_both)
    assert_type(step.after("b", step), Step[Order, Receipt])
    assert_type(step.with_timeout("30s").with_timeout(timedelta(seconds=30)), Step[Order, Receipt])
    assert_type(step.with_retry(Exponential(max_attempts=3, multiplier=1.5)), Step[Order, Receipt])
    assert_type(step.with_retry(max_attempts=3, strategy="fixed", jitter=0.1), Step[Order, Receipt])
    assert_type(step.with_on_failure("b").with_compensation(step), Step[Order, Receipt])


def wrong_use_of_a_builder_is_a_type_error() -> None:
    Workflow("w", timeout=30)  # pyright: ignore[reportArgumentType]
    Workflow("w", "2")  # pyright: ignore[reportCallIssue]
    wf.task("a", print)  # pyright: ignore[reportCallIssue, reportArgumentType]
    wf.task(5, "t")  # pyright: ignore[reportCallIssue, reportArgumentType]
    step = wf.task("a", "t")
    step.after(with_input)  # pyright: ignore[reportArgumentType]
    step.with_timeout(30)  # pyright: ignore[reportArgumentType]
    step.with_retry("often")  # pyright: ignore[reportArgumentType]
    step.with_retry(max_attempts=3, strategy="random")  # pyright: ignore[reportArgumentType]
    step.with_retry()  # pyright: ignore[reportCallIssue]
    Fixed(max_attempts=1, multiplier=2.0)  # pyright: ignore[reportCallIssue]
    Fixed(3)  # pyright: ignore[reportCallIssue]


@wf.step
async def bare(order: Order) -> Receipt:
    return Receipt()


@wf.step(after=bare, timeout="30s", retry=Exponential(max_attempts=3))
async def called(receipt: Receipt, ctx: TaskContext) -> str:
    return ""


async def a_decorated_step_is_still_its_function(order: Order, receipt: Receipt, ctx: TaskContext) -> None:
    assert_type(await bare(order), Receipt)
    assert_type(await called(receipt, ctx), str)
    assert_type(bare.id, str)
    called.after(bare)
    await bare(receipt)  # pyright: ignore[reportArgumentType]
    await called(receipt)  # pyright: ignore[reportCallIssue]


def wrong_settings_of_a_decorated_step_are_type_errors() -> None:
    wf.step(after=3)  # pyright: ignore[reportArgumentType]
    wf.step(speed="high")  # pyright: ignore[reportCallIssue]
