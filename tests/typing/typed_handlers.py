"""What type checkers know of handlers. Checked by pyright, never run."""
# pyright: strict

from __future__ import annotations

from typing import Any, assert_type

from dagnats import Handler, SyncTaskContext, TaskContext, handler


class Order: ...


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


def a_task_type_is_a_string() -> None:
    handler(5)  # pyright: ignore[reportArgumentType]
    handler()  # pyright: ignore[reportCallIssue]
