"""Handlers: which functions can be one, what is read from their signature, and how problems point at them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from dagnats.errors import DefinitionError, Problem
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.handler import handler, source_of

HERE = Path(__file__)
CONTEXT = TaskContext(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="k")


class Order(BaseModel):
    id: str


@handler("order.check")
async def check_order(order: Order) -> bool:
    """Whether it is fine."""
    return order.id != ""


def _problems(function: Callable[..., Any]) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        handler("t")(function)
    return caught.value.problems


def test_a_handler_is_still_its_function() -> None:
    assert asyncio.run(check_order(Order(id="1"))) is True
    assert check_order.__name__ == "check_order"
    assert check_order.__doc__ == "Whether it is fine."
    assert check_order.task == "order.check"


def test_a_handler_knows_where_it_was_written() -> None:
    line = HERE.read_text().splitlines().index('@handler("order.check")') + 1
    assert check_order.source == f"{HERE}:{line}"
    assert repr(check_order) == f"<handler 'order.check' at {check_order.source}>"


def test_what_has_no_python_source_has_no_place() -> None:
    assert source_of(len) == ""


async def nothing() -> None: ...
async def with_input(order: Order) -> str: ...
async def with_context(ctx: TaskContext) -> list[int]: ...
async def with_both(order: Order, ctx: TaskContext) -> dict[str, int]: ...
async def with_defaults(order: Order, ctx: TaskContext, tries: int = 3, *, fast: bool = False) -> None: ...
async def positional_only(order: Order, ctx: TaskContext, /) -> None: ...
async def unannotated(order, ctx: TaskContext): ...  # pyright: ignore[reportUnknownParameterType, reportMissingParameterType]  # the test's point
def sync_with_both(order: Order, ctx: SyncTaskContext) -> str: ...
def sync_nothing() -> int: ...


SHAPES: list[tuple[Callable[..., Any], bool, bool, bool, Any, Any]] = [
    # function, async, input, context, input type, output type
    (nothing, True, False, False, Any, type(None)),
    (with_input, True, True, False, Order, str),
    (with_context, True, False, True, Any, list[int]),
    (with_both, True, True, True, Order, dict[str, int]),
    (with_defaults, True, True, True, Order, type(None)),
    (positional_only, True, True, True, Order, type(None)),
    (unannotated, True, True, True, Any, Any),
    (sync_with_both, False, True, True, Order, str),
    (sync_nothing, False, False, False, Any, int),
]


@pytest.mark.parametrize(("function", "is_async", "takes_input", "takes_context", "input_type", "output_type"), SHAPES)
def test_every_shape_is_read_from_the_signature(
    function: Callable[..., Any],
    is_async: bool,
    takes_input: bool,
    takes_context: bool,
    input_type: Any,
    output_type: Any,
) -> None:
    made = handler("t")(function)
    assert (made.is_async, made.takes_input, made.takes_context) == (is_async, takes_input, takes_context)
    assert (made.input_type, made.output_type) == (input_type, output_type)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(nothing, ()), (with_input, ("in",)), (with_context, (CONTEXT,)), (with_both, ("in", CONTEXT))],
)
def test_a_handler_is_called_with_what_it_takes(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    assert handler("t")(function).arguments("in", CONTEXT) == arguments


async def two_inputs(one: int, two: int) -> None: ...
async def two_contexts(one: TaskContext, two: TaskContext) -> None: ...
async def context_first(ctx: TaskContext, order: Order) -> None: ...
async def many(*orders: Order) -> None: ...
async def options(**options: Order) -> None: ...
async def keyword_only(*, order: Order) -> None: ...
async def async_with_sync_context(ctx: SyncTaskContext) -> None: ...
def sync_with_async_context(ctx: TaskContext) -> None: ...
async def unresolved(order: Nowhere) -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  # the test's point


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Service:
    def method(self, order: Order) -> None: ...
    def __call__(self, order: Order) -> None: ...


REFUSED: list[tuple[Callable[..., Any], str, str]] = [
    (two_inputs, "handler-signature", "takes (one, two); a handler takes (), (input), (ctx) or (input, ctx)"),
    (two_contexts, "handler-signature", "takes (one, two)"),
    (context_first, "handler-signature", "takes (ctx, order)"),
    (many, "handler-signature", "takes `*orders`;"),
    (options, "handler-signature", "takes `**options`;"),
    (keyword_only, "handler-signature", "needs the keyword argument 'order'"),
    (async_with_sync_context, "handler-signature", "is async: annotate its context TaskContext"),
    (sync_with_async_context, "handler-signature", "is sync: annotate its context SyncTaskContext"),
    (unresolved, "unresolved-annotation", "has an annotation that does not resolve: name 'Nowhere' is not defined"),
    (generator, "handler-kind", "is a generator"),
    (async_generator, "handler-kind", "is a generator"),
    (lambda order: order, "handler-kind", "is not a plain function"),  # pyright: ignore[reportUnknownLambdaType]
    (Service().method, "handler-kind", "is not a plain function"),
    (Service(), "handler-kind", "is not a plain function"),
    (functools.partial(with_input, Order(id="1")), "handler-kind", "is not a plain function"),
    (len, "handler-kind", "is not a plain function"),
    (check_order, "handler-kind", "is not a plain function"),
]


@pytest.mark.parametrize(("function", "rule", "complaint"), REFUSED)
def test_other_functions_are_refused_at_their_own_line(function: Callable[..., Any], rule: str, complaint: str) -> None:
    (problem,) = _problems(function)
    assert problem.rule == rule
    assert complaint in problem.message
    assert problem.source == source_of(function)


def test_all_that_is_wrong_with_a_signature_comes_at_once() -> None:
    async def wrong(one: int, two: int, ctx: SyncTaskContext, *rest: int, key: int) -> None: ...

    assert [problem.rule for problem in _problems(wrong)] == ["handler-signature"] * 4


def test_a_function_that_can_be_no_handler_is_told_as_a_handler_and_not_as_a_workflow() -> None:
    with pytest.raises(DefinitionError) as caught:
        handler("order.check")(two_inputs)
    title, line = str(caught.value).splitlines()
    assert title == "handler 'order.check' cannot be used:"
    assert line.startswith("  handler 'two_inputs' takes (one, two); ")
    assert caught.value.title == "handler 'order.check' cannot be used"


@pytest.mark.parametrize("task", ["odd type!", "", ".t", "t.", "a..b", "größe", "t\n", "t" * 129])
def test_a_task_type_that_cannot_be_a_subject_is_refused_when_it_is_given(task: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        handler(task)(with_input)
    (problem,) = caught.value.problems
    assert problem.rule == "identifier"
    assert problem.source == source_of(with_input)
    assert problem.message == (
        f"task type {task!r} is not valid: letters, digits, '_' and '-', in parts joined by single dots,"
        " at most 128 characters"
    )


@pytest.mark.parametrize("task", ["t", "order.check-2", "A_b.c", "t" * 128])
def test_a_task_type_that_can_be_a_subject_is_taken(task: str) -> None:
    assert handler(task)(with_input).task == task


def test_a_wrong_task_type_and_a_wrong_signature_come_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        handler("odd type!")(two_inputs)
    assert [problem.rule for problem in caught.value.problems] == ["identifier", "handler-signature"]


def test_a_decorator_without_its_task_type_says_how_it_is_written() -> None:
    bare: Any = handler
    with pytest.raises(TypeError, match=r"write @handler\('…'\)"):
        bare(with_input)


def test_types_defined_in_a_function_resolve() -> None:
    class Local(BaseModel):
        n: int

    @handler("t")
    async def local(value: Local) -> list[Local]: ...

    assert local.input_type is Local
    assert local.output_codec.encode([Local(n=1)]) == b'[{"n":1}]'


def test_a_handlers_codecs_carry_its_types_and_are_made_once() -> None:
    assert check_order.input_codec.decode(b'{"id":"7"}') == Order(id="7")
    assert check_order.output_codec.encode(True) == b"true"
    assert check_order.input_codec is check_order.input_codec


class Event:
    pass


def test_a_type_that_cannot_be_carried_names_the_handler_and_its_role() -> None:
    @handler("t")
    async def bad(value: Event) -> Callable[[int], int]: ...

    with pytest.raises(DefinitionError) as caught:
        _ = bad.input_codec
    (problem,) = caught.value.problems
    assert problem.rule == "unsupported-type"
    assert problem.source == bad.source
    assert "handler 'bad': its input type Event cannot be carried as JSON" in problem.message
    assert caught.value.title == "handler 't' cannot be used"
