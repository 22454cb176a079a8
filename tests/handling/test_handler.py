"""Handlers: which functions can be one, what is read from their signature, and how problems point at them."""

from __future__ import annotations

import asyncio
import functools
import gc
import pickle
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest
from pydantic import BaseModel, Field

from dagnats.dsl.workflow import Workflow
from dagnats.errors import DefinitionError, Problem
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.handler import handler
from dagnats.handling.loop import Continue
from dagnats.handling.role import Checkpointing, Streaming
from dagnats.handling.source import source_of

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


def test_types_defined_further_down_in_a_module_resolve_when_they_are_needed() -> None:
    names: dict[str, Any] = {"handler": handler, "TaskContext": TaskContext, "__name__": "flow"}
    exec("@handler('t')\nasync def work(value: 'Later', ctx: 'TaskContext') -> 'list[Later]': ...", names)
    work = names["work"]
    with pytest.raises(DefinitionError) as caught:
        _ = work.input_type
    assert [problem.rule for problem in caught.value.problems] == ["unresolved-annotation"] * 2
    assert caught.value.title == "handler 't' cannot be used"
    names["Later"] = Order
    assert (work.input_type, work.output_type) == (Order, list[Order])
    assert (work.takes_input, work.takes_context) == (True, True)
    assert work.problems() == []


def test_types_defined_further_down_in_a_function_resolve_by_the_askers_names() -> None:
    @handler("t")
    async def local(value: "Later") -> None: ...  # noqa: UP037  # the test's point

    class Later(BaseModel):
        n: int

    assert [problem.rule for problem in local.problems()] == ["unresolved-annotation"]
    assert local.problems({"Later": Later}) == []
    assert local.input_type is Later


async def unresolved(order: Nowhere, ctx: TaskContext) -> Elsewhere: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]  # the test's point


UNRESOLVED: list[Callable[..., Any]] = [unresolved]


def test_what_does_not_resolve_is_told_for_each_annotation_with_the_handlers_line() -> None:
    made = handler("t")(UNRESOLVED[0])
    (order, result) = made.problems()
    assert order.rule == result.rule == "unresolved-annotation"
    assert order.message == (
        "handler 'unresolved' has an annotation of parameter 'order' that does not resolve:"
        " name 'Nowhere' is not defined"
    )
    assert order.hint == "is it imported under `if TYPE_CHECKING` only?"
    assert "annotation of its result" in result.message
    assert order.source == made.source


def test_an_annotation_that_is_no_type_expression_is_told_without_a_guess() -> None:
    def broken(order: Any) -> None: ...

    broken.__annotations__["order"] = "Order["
    (problem,) = handler("t")(broken).problems()
    assert problem.rule == "unresolved-annotation"
    assert problem.hint == ""


def test_a_shape_that_shows_only_when_types_resolve_is_told_then() -> None:
    names: dict[str, Any] = {"handler": handler, "__name__": "flow"}
    exec("@handler('t')\nasync def work(ctx: 'Context', value: int) -> None: ...", names)
    work = names["work"]
    assert [problem.rule for problem in work.problems()] == ["unresolved-annotation"]
    names["Context"] = TaskContext
    assert [problem.rule for problem in work.problems()] == ["handler-signature"]
    assert work.problems() == work.problems()
    with pytest.raises(DefinitionError, match=r"takes \(ctx, value\)"):
        _ = work.takes_input


def test_what_stands_beside_a_type_stays_with_it() -> None:
    @handler("t")
    async def bounded(value: Annotated[int, Field(ge=1)]) -> None: ...

    assert bounded.input_codec.schema("reading") == {"minimum": 1, "type": "integer"}


def test_the_callers_names_are_let_go_once_everything_is_resolved() -> None:
    class Heavy:
        pass

    def make() -> tuple[Any, weakref.ref[Heavy]]:
        heavy = Heavy()

        @handler("t")
        async def light(value: int) -> None: ...

        return light, weakref.ref(heavy)

    light, seen = make()
    gc.collect()
    assert seen() is None
    assert light.input_type is int


def test_a_context_may_say_which_resources_it_has() -> None:
    async def with_pool(order: Order, ctx: TaskContext[int]) -> None: ...
    def sync_with_pool(order: Order, ctx: SyncTaskContext[int]) -> None: ...

    assert handler("t")(with_pool).takes_context
    assert handler("t")(sync_with_pool).takes_context


def test_a_context_may_be_annotated_by_what_it_is_used_for() -> None:
    async def narrow(order: Order, ctx: Checkpointing) -> None: ...
    def sync(order: Order, ctx: Streaming) -> None: ...

    made = handler("t")(narrow)
    assert (made.takes_input, made.takes_context) == (True, True)
    with pytest.raises(DefinitionError, match="is sync: annotate its context SyncTaskContext"):
        handler("t")(sync)


# -- what a handler is told beside its task type -----------------------------------------------------------


def test_a_handler_knows_which_exceptions_are_permanent() -> None:
    assert handler("t", abort_on=(ValueError, KeyError))(with_input).abort_on == (ValueError, KeyError)
    assert handler("t")(with_input).abort_on == ()


@pytest.mark.parametrize("given", [ValueError, (ValueError, "x"), [ValueError], (BaseException,), None])
def test_what_is_no_tuple_of_exception_types_is_a_type_error(given: Any) -> None:
    with pytest.raises(TypeError, match="abort_on is a tuple of exception types, such as"):
        handler("t", abort_on=given)(with_input)


@handler("picture.scale", process=True)
def scale(width: int) -> int:
    return 2 * width


class Nested:
    @staticmethod
    @handler("picture.nested", process=True)
    def scale(width: int) -> int:
        return width


def test_a_handler_for_processes_travels_as_its_import_path() -> None:
    sent = pickle.dumps(scale)
    assert pickle.loads(sent) is scale
    assert b"scale" in sent
    assert len(sent) < 200
    assert pickle.loads(pickle.dumps(Nested.scale)) is Nested.scale
    assert scale.process
    assert not check_order.process


@Workflow("w").step(process=True)
def decorated(width: int) -> int:
    return width


def test_the_handler_of_a_decorated_step_travels_too() -> None:
    assert decorated.handler is not None
    assert pickle.loads(pickle.dumps(decorated.handler)) is decorated.handler


def test_a_handler_that_no_other_process_can_run_is_refused() -> None:
    def local() -> None: ...

    refused: list[tuple[Callable[..., Any], str]] = [
        (nothing, "is async: only a sync handler runs in a process"),
        (sync_with_both, "takes a context: none reaches another process"),
        (local, "is defined in a function: another process cannot import it"),
    ]
    for function, reason in refused:
        with pytest.raises(DefinitionError) as caught:
            handler("t", process=True)(function)
        (problem,) = caught.value.problems
        assert problem.rule == "handler-process"
        assert problem.message == f"handler {function.__name__!r} has process=True, but {reason}"
        assert problem.source == source_of(function)


# -- loops -------------------------------------------------------------------------------------------------


async def looping(n: int) -> str | Continue[int] | None: ...
async def forever(n: int) -> Continue[int] | Continue[str]: ...
async def vaguely(n: int) -> Any: ...
async def staying(n: int) -> str | Continue[None]: ...


vaguely.__annotations__["return"] = Optional[Continue]  # noqa: UP045  # pyright: ignore[reportMissingTypeArgument]  # old and vague
LOOPS: list[tuple[Callable[..., Any], Any, Any]] = [
    # function, output type, type of the next input
    (looping, str | None, int),
    (forever, Any, int | str),
    (vaguely, type(None), Any),
    (staying, str, type(None)),
    (nothing, type(None), None),
]


@pytest.mark.parametrize(("function", "output_type", "continue_type"), LOOPS)
def test_continue_is_no_part_of_a_handlers_output(
    function: Callable[..., Any], output_type: Any, continue_type: Any
) -> None:
    made = handler("t")(function)
    assert made.output_type == output_type
    assert made.continue_type == continue_type
    assert made.problems() == []


def test_what_a_loop_continues_with_has_a_codec() -> None:
    assert handler("t")(looping).continue_codec.encode(3) == b"3"


def test_a_type_to_continue_with_that_cannot_be_carried_is_told() -> None:
    def think() -> int | Continue[Event]: ...

    (problem,) = handler("t")(think).problems()
    assert "its next input type Event cannot be carried as JSON" in problem.message


def test_continue_carries_a_value_or_none() -> None:
    assert (Continue(None).has_value, Continue(None).value) == (True, None)
    assert (Continue().has_value, Continue().value) == (False, None)
    assert Continue(3) == Continue(3) != Continue(4)
    assert Continue() != Continue(None)
    assert Continue(3) != 3
    assert (repr(Continue(3)), repr(Continue())) == ("Continue(3)", "Continue()")
    with pytest.raises(TypeError, match="unhashable"):
        hash(Continue(3))


# -- codecs ------------------------------------------------------------------------------------------------


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
