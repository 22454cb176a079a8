"""Typed edges: what a step gives must be what the next one takes, told with both types and the edge."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel, create_model

from dagnats.dsl.workflow import Workflow
from dagnats.handling.context import SyncTaskContext
from dagnats.handling.handler import handler
from dagnats.handling.info import Compensation, FailureInfo
from dagnats.handling.loop import Continue
from tests.dsl.said import line, problems_of, told, untyped


class Order(BaseModel):
    id: str


class Receipt(BaseModel):
    receipt: str


NUMBERS = itertools.count()


class Lock:
    """Nothing that JSON can carry."""


def giving(declared: Any) -> Any:
    """A handler that takes nothing."""

    def gives() -> None: ...

    gives.__annotations__["return"] = declared
    return handler(f"gives.{next(NUMBERS)}")(gives)


def taking(declared: Any, result: Any = None) -> Any:
    """A handler that takes one type, and gives one."""

    def takes(value: Any) -> None: ...

    takes.__annotations__ = {"value": declared, "return": result}
    return handler(f"takes.{next(NUMBERS)}")(takes)


def _messages(wf: Workflow[Any, Any]) -> list[str]:
    problems = problems_of(wf)
    assert {problem.rule for problem in problems} == {"edge-type"}
    return [problem.message for problem in problems]


# -- one dependency ----------------------------------------------------------------------------------------


def test_an_edge_names_both_types_and_itself_and_points_at_the_line_that_drew_it() -> None:
    wf = Workflow("w")
    reserve = wf.task("reserve", giving(Receipt))
    charge = wf.task("charge", taking(Order))
    charge.after(reserve)
    assert told(wf) == [("steps[1].depends_on[0]", "edge-type", line() - 1)]
    assert _messages(wf) == [
        'step "reserve" gives Receipt, but step "charge" takes Order (reserve → charge): id is missing'
    ]


def test_an_edge_by_id_to_a_later_step_is_checked_too() -> None:
    wf = Workflow("w")
    wf.task("b", taking(int)).after("a")
    wf.task("a", giving(str))
    assert _messages(wf) == ['step "a" gives str, but step "b" takes int (a → b): it is string, not integer']


SILENT: list[Callable[[Workflow[Any, Any]], object]] = [
    lambda wf: wf.task("b", taking(int)).after(wf.task("a", giving(int))),
    lambda wf: wf.task("b", taking(int)).after(wf.task("a", "elsewhere")),
    lambda wf: wf.task("b", "elsewhere").after(wf.task("a", giving(str))),
    lambda wf: wf.task("b", giving(str)).after(wf.task("a", giving(int))),
    lambda wf: wf.task("b", taking(Any)).after(wf.task("a", giving(int))),
    lambda wf: wf.task("b", taking(int)).after(wf.task("a", giving(Any))),
    lambda wf: wf.task("b", taking(int)).after(wf.sleep("a", "1h")),
    lambda wf: wf.task("b", taking(int)).after(wf.planner("a", giving(str)).with_max_steps(1)),
    lambda wf: wf.task("b", taking(int)).after(wf.sub_workflow("a", "elsewhere")),
    lambda wf: wf.task("b", taking(int)).after(wf.sub_workflow("a", Workflow("child"))),
    lambda wf: wf.task("b", taking(int)).after(wf.sub_workflow("a", Workflow("child", output=str)).with_detach()),
    lambda wf: wf.sub_workflow("b", Workflow("child", input={"type": "string"})).after(wf.task("a", giving(int))),
    lambda wf: wf.task("b", taking(int)).after(wf.approval("a", subject="s", timeout="1h")),
]


@pytest.mark.parametrize("build", SILENT)
def test_an_edge_that_fits_or_is_unknown_is_silent(build: Callable[[Workflow[Any, Any]], object]) -> None:
    wf = Workflow("w")
    build(wf)
    wf.build()


def test_a_step_that_may_be_skipped_gives_null_too() -> None:
    wf = Workflow("w")
    first = wf.task("first", giving(int))
    maybe = wf.task("maybe", taking(int, int)).after(first).skip_if(first.output["n"] == 0)
    wf.task("needs", taking(int)).after(maybe)
    wf.task("takes", taking(int | None)).after(maybe)
    assert _messages(wf) == [
        'step "maybe" gives int | None, but step "needs" takes int (maybe → needs): it is null, not integer'
    ]


# -- several dependencies ----------------------------------------------------------------------------------


class Both(BaseModel):
    a: int
    b: str | None


def _fan_in(takes: Any, a: Any = int, b: Any = str) -> Workflow[Any, Any]:
    wf = Workflow("w")
    wf.task("a", giving(a) if a else "elsewhere")
    wf.task("b", giving(b) if b else "elsewhere")
    wf.task("join", taking(takes)).after("a", "b")
    return wf


def test_several_outputs_are_checked_by_dependency_id() -> None:
    _fan_in(Both).build()
    _fan_in(dict[str, int | str]).build()
    _fan_in(Both, a=None).build()
    _fan_in(Any).build()
    assert _messages(_fan_in(Both, a=str, b=int)) == [
        'step "a" gives str, but step "join" takes Both (a → join): a is string, not integer',
        'step "b" gives int, but step "join" takes Both (b → join): b is integer, not string or null',
    ]
    assert [problem.path for problem in problems_of(_fan_in(Both, a=str, b=int))] == [
        "steps[2].depends_on[0]",
        "steps[2].depends_on[1]",
    ]
    assert _messages(_fan_in(Both, b=Order)) == [
        'step "b" gives Order, but step "join" takes Both (b → join): b is object, not string or null'
    ]


class Three(BaseModel):
    a: int
    b: str
    c: int


@pytest.mark.parametrize(
    ("takes", "reason"),
    [(Three, "c is missing"), (list[int], "it is object, not array"), (str | None, "it is object, not string or null")],
)
def test_several_outputs_that_do_not_fit_as_a_whole_are_one_problem(takes: Any, reason: str) -> None:
    (problem,) = problems_of(_fan_in(takes, b=None))
    assert (problem.path, problem.rule) == ("steps[2].depends_on", "edge-type")
    name = "Three" if takes is Three else str(takes)
    assert problem.message == (
        f'the steps before it give {{a: int, b: Any}}, but step "join" takes {name} (a, b → join): {reason}'
    )


class Deep(BaseModel):
    a: Three
    b: Any


def test_a_dependency_that_does_not_fit_in_several_ways_is_one_problem() -> None:
    (message,) = _messages(_fan_in(Deep, a=Order))
    assert message.endswith("(a → join): a.a is missing")


def test_a_dependency_that_may_be_skipped_is_null_among_several() -> None:
    class Strict(BaseModel):
        a: int
        b: int

    wf = Workflow("w")
    a = wf.task("a", giving(int))
    wf.task("b", taking(int, int)).after(a).skip_if(a.output["n"] == 0)
    wf.task("join", taking(Strict)).after("a", "b")
    assert _messages(wf) == [
        'step "b" gives int | None, but step "join" takes Strict (b → join): b is null, not integer'
    ]


def test_types_of_one_name_from_two_modules_are_kept_apart() -> None:
    class Inner(BaseModel):
        order: Order

    def with_other_order() -> type[BaseModel]:
        class Order(BaseModel):
            number: int

        return create_model("Other", order=Order)

    class Joined(BaseModel):
        a: Inner
        b: Inner

    messages = _messages(_fan_in(Joined, a=Inner, b=with_other_order()))
    assert messages == ['step "b" gives Other, but step "join" takes Joined (b → join): b.order.id is missing']


# -- maps and loops ----------------------------------------------------------------------------------------


def test_a_map_strips_the_list_from_its_input_and_adds_it_to_its_output() -> None:
    wf = Workflow("w")
    wf.task("list", giving(list[int]))
    wf.map("good", taking(int, str), over="list")
    wf.map("bad", taking(str, str), over="list")
    wf.task("after", taking(list[int])).after("good")
    assert _messages(wf) == [
        'step "list" gives list[int], but step "bad" takes list[str] (list → bad): [] is integer, not string',
        'step "good" gives list[str], but step "after" takes list[int] (good → after): [] is string, not integer',
    ]


def test_a_map_over_what_is_no_list_is_told() -> None:
    wf = Workflow("w")
    wf.map("map", taking(int, int), over=wf.task("one", giving(int)))
    assert _messages(wf) == [
        'step "one" gives int, but step "map" takes list[int] (one → map): it is integer, not array'
    ]


def test_a_map_that_collects_errors_gives_a_list_of_anything() -> None:
    wf = Workflow("w")
    wf.task("list", giving(list[int]))
    wf.map("map", taking(int, int), over="list").with_on_item_failure("collect")
    wf.task("fine", taking(list[str])).after("map")
    wf.build()
    wf.task("wrong", taking(int)).after("map")
    assert _messages(wf) == [
        'step "map" gives list[…], but step "wrong" takes int (map → wrong): it is array, not integer'
    ]


def test_a_loop_gives_its_result_and_not_what_it_continues_with() -> None:
    wf = Workflow("w")

    @wf.agent_loop(max_iterations=3)
    def think(n: int) -> str | Continue[int]: ...

    wf.task("fine", taking(str)).after(think)
    wf.build()
    wf.task("wrong", taking(int)).after(think)
    assert _messages(wf) == [
        'step "think" gives str, but step "wrong" takes int (think → wrong): it is string, not integer'
    ]


def test_a_loops_next_iteration_must_take_what_it_continues_with() -> None:
    wf = Workflow("w")

    @wf.agent_loop(max_iterations=3)
    def keeps(n: int) -> str | Continue[None]: ...

    @wf.agent_loop(max_iterations=3)
    def forgets(ctx: SyncTaskContext) -> str | Continue[str]: ...

    wf.agent_loop("named", "elsewhere").with_max_iterations(3)
    untyped(forgets)
    untyped(keeps)
    wf.build()
    at = line()

    @wf.agent_loop(max_iterations=3)
    def think(n: int) -> str | Continue[str]: ...

    assert untyped(think).id == "think"
    assert _messages(wf) == [
        'step "think" continues with str, but its next iteration takes int (think → think): it is string, not integer'
    ]
    ((path, _, where),) = told(wf)
    assert path == "steps[3].task"
    assert at + 2 <= where <= at + 3


def test_a_loop_that_continues_with_what_cannot_be_carried_is_told_once() -> None:
    wf = Workflow("w")

    @wf.agent_loop(max_iterations=3)
    def think(n: int) -> str | Continue[Lock]: ...

    assert untyped(think).continues() is None
    assert [problem.rule for problem in problems_of(wf)] == ["unsupported-type"]


# -- auxiliary steps ---------------------------------------------------------------------------------------


def _saga(undo: Any = "t", sorry: Any = "t") -> Workflow[Any, Any]:
    wf = Workflow("w")
    wf.task("charge", taking(Order, Receipt)).with_compensation("undo").with_on_failure("sorry")
    wf.task("undo", undo)
    wf.task("sorry", sorry)
    return wf


def test_auxiliary_steps_receive_the_original_output_and_input() -> None:
    _saga(taking(Compensation[Receipt]), taking(FailureInfo[Order])).build()
    _saga(taking(Compensation[Any]), taking(FailureInfo[Any])).build()
    _saga(giving(str), giving(str)).build()
    _saga(taking(dict[str, Any]), taking(dict[str, Any])).build()


def test_auxiliary_steps_that_take_something_else_are_told() -> None:
    wf = _saga(taking(Compensation[Order]), taking(FailureInfo[Receipt]))
    assert _messages(wf) == [
        'step "charge" gives its `compensate` step Compensation[Receipt], but step "undo" takes Compensation[Order]'
        " (charge → undo): original_output.id is missing",
        'step "charge" gives its `on_failure` step FailureInfo[Order], but step "sorry" takes FailureInfo[Receipt]'
        " (charge → sorry): input.receipt is missing",
    ]
    assert [problem.path for problem in problems_of(wf)] == ["steps[0].compensate", "steps[0].on_failure"]


def test_an_auxiliary_step_that_takes_the_bare_value_is_told_even_if_that_is_unknown() -> None:
    wf = Workflow("w")
    wf.task("charge", "elsewhere").with_compensation("undo")
    wf.task("undo", taking(str))
    assert _messages(wf) == [
        'step "charge" gives its `compensate` step Compensation[Any], but step "undo" takes str'
        " (charge → undo): it is object, not string"
    ]


def test_the_compensation_of_a_map_receives_the_list() -> None:
    wf = Workflow("w")
    wf.task("list", giving(list[int]))
    wf.map("map", taking(int, str), over="list").with_compensation("undo").with_on_failure("sorry")
    wf.task("undo", taking(Compensation[list[str]]))
    wf.task("sorry", taking(FailureInfo[list[int]]))
    wf.build()


# -- the run itself ----------------------------------------------------------------------------------------


def test_a_declared_input_is_checked_against_the_first_steps() -> None:
    wf = Workflow("w", input=Order)
    wf.task("fine", taking(Order))
    wf.task("any", "elsewhere")
    wf.task("wrong", taking(Receipt))
    wf.task("later", taking(int)).after("any")
    assert _messages(wf) == [
        'the run\'s input is Order, but step "wrong" takes Receipt (input → wrong): receipt is missing'
    ]
    assert [problem.path for problem in problems_of(wf)] == ["steps[2].task"]


def test_a_declared_output_is_checked_against_the_last_steps() -> None:
    wf = Workflow("w", output=Receipt)
    at = line() - 1
    wf.task("last", giving(Order))
    assert _messages(wf) == [
        'step "last" gives Order, but the run\'s output is Receipt (last → output): receipt is missing'
    ]
    assert told(wf) == [("output_schema", "edge-type", at)]


class Result(TypedDict):
    a: int
    b: str


def test_a_declared_output_of_several_last_steps_is_an_object_by_step_id() -> None:
    def build(b: Any) -> Workflow[Any, Any]:
        wf = Workflow("w", output=dict[str, int | str])
        wf.task("a", giving(int))
        wf.task("b", giving(b))
        return wf

    build(str).build()
    assert _messages(build(Order)) == [
        "the last steps give {a: int, b: Order}, but the run's output is dict[str, int | str] (a, b → output):"
        " b is object, not integer or string"
    ]


def test_a_child_workflow_takes_and_gives_what_it_declares() -> None:
    child: Workflow[Order, Receipt] = Workflow("child", input=Order, output=Receipt)
    wf = Workflow("w")
    wf.task("a", giving(Receipt))
    wf.sub_workflow("child", child).after("a")
    wf.task("b", taking(Order)).after("child")
    assert _messages(wf) == [
        'step "a" gives Receipt, but step "child" takes Order (a → child): id is missing',
        'step "child" gives Receipt, but step "b" takes Order (child → b): id is missing',
    ]


def test_a_graph_with_other_mistakes_is_checked_as_far_as_it_goes() -> None:
    wf = Workflow("w")
    wf.task("a", giving(str)).with_on_failure("nobody")
    wf.task("b", taking(int)).after("a", "nowhere")
    wf.task("c", taking(int)).after("a")
    wf.task("c", giving(int))
    rules = [problem.rule for problem in problems_of(wf)]
    assert rules.count("edge-type") == 1  # nobody knows what `b` receives
    assert {"unknown-step", "duplicate-step"} <= set(rules)


def test_equal_edges_are_compared_once() -> None:
    wf = Workflow("w")
    number, text = giving(int), taking(str)
    for at in range(3):
        wf.task(f"a{at}", number)
        wf.task(f"b{at}", text).after(f"a{at}")
    assert len(_messages(wf)) == 3
