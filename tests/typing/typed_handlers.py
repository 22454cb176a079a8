"""What type checkers know of handlers. Checked by pyright, never run."""
# pyright: strict

from __future__ import annotations

from typing import Any, assert_type

from dagnats import Handler, SyncTaskContext, TaskContext, handler
from dagnats.handling.role import Checkpointing, Looping, Signalling, Simple, Streaming


class Order: ...


class Pool:
    def take(self) -> int: ...


class Receipt: ...


@handler("order.check")
async def check(order: Order, ctx: TaskContext, tries: int = 3, *, fast: bool = False) -> Receipt:
    return Receipt()


@handler("order.print")
def print_order(order: Order, ctx: SyncTaskContext) -> int:
    return 1


async def a_handler_keeps_its_exact_signature(order: Order, ctx: TaskContext, sync: SyncTaskContext) -> None:
    assert_type(await check(order, ctx), Receipt)
    assert_type(await check(order, ctx, 5, fast=True), Receipt)
    assert_type(print_order(order, sync), int)
    await check("order", ctx)  # pyright: ignore[reportArgumentType]
    await check(order)  # pyright: ignore[reportCallIssue]
    await check(order, ctx, slow=True)  # pyright: ignore[reportCallIssue]
    print_order(order, ctx)  # pyright: ignore[reportArgumentType]


def a_handler_is_generic_in_parameters_and_result() -> None:
    plain: Handler[[Order, SyncTaskContext], int] = print_order
    wider: Handler[..., object] = print_order
    narrower: Handler[[Order, SyncTaskContext], bool] = print_order  # pyright: ignore[reportAssignmentType]
    assert_type((plain.task, wider.is_async, narrower.input_type), tuple[str, bool, Any])
    assert_type(print_order.task, str)


@handler("order.pooled")
async def pooled(order: Order, ctx: TaskContext[Pool]) -> int:
    return ctx.resources.take()


@handler("order.narrow")
async def narrow(order: Order, ctx: Checkpointing) -> None:
    assert_type(await ctx.load_checkpoint(Order), Order | None)
    await ctx.stream("x")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


async def a_context_gives_what_is_asked_for(ctx: TaskContext, sync: SyncTaskContext[Pool]) -> None:
    assert_type(await ctx.run_input(Order), Order)
    assert_type(await ctx.run_input(), Any)
    assert_type(await ctx.output("reserve", list[Order]), list[Order])
    assert_type(await ctx.load_checkpoint(Order), Order | None)
    assert_type(await ctx.heartbeat_details(int), int | None)
    assert_type(await ctx.wait_for_signal("go", Order, timeout="1h"), Order)
    assert_type(await ctx.stream(b"x"), int)
    assert_type(await ctx.start("order", Order()), str)
    assert_type(ctx.resources, Any)
    assert_type(sync.resources, Pool)
    assert_type(sync.wait_for_signal("go", Order), Order)
    await ctx.checkpoint()  # pyright: ignore[reportCallIssue]
    await sync.checkpoint(1)  # pyright: ignore[reportGeneralTypeIssues]
    await ctx.pause("1h")


async def the_whole_context_does_for_a_narrow_one(order: Order, ctx: TaskContext) -> None:
    await narrow(order, ctx)
    _: tuple[Simple, Checkpointing, Looping, Streaming, Signalling] = (ctx, ctx, ctx, ctx, ctx)


def a_task_type_is_a_string() -> None:
    handler(5)  # pyright: ignore[reportArgumentType]
    handler()  # pyright: ignore[reportCallIssue]
