"""Saying a workflow: both forms give one definition, and every mistake is told at the user's own line."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from syrupy.assertion import SnapshotAssertion

import dagnats
from dagnats.dsl.retry import Exponential, Fixed, Linear
from dagnats.dsl.workflow import Workflow
from dagnats.errors import DefinitionError, Problem
from dagnats.handling.context import TaskContext
from dagnats.handling.handler import handler
from dagnats.handling.source import caller_place, shown_place, shown_source
from dagnats.model.check import load_definition
from tests.dsl.said import line, problems_of, told

HERE = os.path.relpath(__file__)


class Order(BaseModel):
    id: str


class Receipt(BaseModel):
    id: str


@handler("inventory.reserve")
async def reserve_stock(order: Order) -> Receipt:
    return Receipt(id=order.id)


@handler("payment.charge")
async def charge_card(receipt: Receipt, ctx: TaskContext) -> str:
    return f"{receipt.id} {ctx.attempt}"


def order_workflow() -> Workflow:
    wf = Workflow("order", version="1.0", timeout="10m", default_retry=Linear(max_attempts=1, initial_delay="2s"))
    reserve = wf.task("reserve", reserve_stock).with_timeout("30s").with_compensation("release")
    (
        wf.task("charge", charge_card)
        .after(reserve)
        .with_timeout(timedelta(seconds=30))
        .with_retry(max_attempts=3, strategy="exponential", initial_delay="1s", max_delay="30s", multiplier=3.0)
        .with_on_failure("sorry")
    )
    wf.task("release", "inventory.release")
    wf.task("sorry", "mail.sorry").with_retry(Fixed(max_attempts=2, jitter=0.5))
    return wf


# -- what is said ------------------------------------------------------------------------------------------


def test_a_workflow_compiles_to_its_definition(snapshot: SnapshotAssertion) -> None:
    written = order_workflow().to_json()
    assert written.decode() == snapshot
    assert load_definition(written).steps[1].depends_on == ("reserve",)


def test_building_twice_gives_equal_definitions() -> None:
    wf = order_workflow()
    assert wf.build() == wf.build() == order_workflow().build()
    assert wf.to_json() == wf.to_json()


def test_building_changes_nothing_so_a_workflow_can_grow_after_it() -> None:
    wf = order_workflow()
    before = wf.build()
    wf.task("extra", "t").after("charge")
    assert len(wf.build().steps) == len(before.steps) + 1


def test_the_decorator_form_gives_the_same_definition_as_the_builders() -> None:
    said = Workflow("report")

    @said.step(timeout="30s")
    async def fetch(query: Order) -> list[int]: ...

    @said.step(after=fetch, retry=Exponential(max_attempts=3), compensation="undo")
    async def render(rows: list[int]) -> str: ...

    @said.step(id="send", task="mail.send", after=[fetch, render], on_failure="undo")
    async def post(everything: dict[str, Any]) -> None: ...

    @said.step
    async def undo() -> None: ...

    built = Workflow("report")
    built.task("fetch", handler("report.fetch")(fetch.function)).with_timeout("30s")
    again = Exponential(max_attempts=3)
    built.task("render", handler("report.render")(render.function)).after("fetch").with_retry(again).with_compensation(
        "undo"
    )
    built.task("send", handler("mail.send")(post.function)).after("fetch", "render").with_on_failure("undo")
    built.task("undo", handler("report.undo")(undo.function))

    assert said.build() == built.build()
    assert said.build().identity == built.build().identity
    assert [made.task for made in said.handlers] == ["report.fetch", "report.render", "mail.send", "report.undo"]
    assert post.id == "send"


def test_a_decorated_function_is_a_step_and_still_callable() -> None:
    wf = Workflow("w")

    @wf.step
    async def double(n: int) -> int:
        return 2 * n

    assert asyncio.run(double(21)) == 42
    assert (double.id, double.task) == ("double", "w.double")
    assert repr(double) == "<step 'double' of workflow 'w'>"


def test_after_takes_steps_and_ids_and_adds_up() -> None:
    wf = Workflow("w")
    a = wf.task("a", "t")
    wf.task("d", "t").after(a, "b").after("c")
    wf.task("b", "t")
    wf.task("c", "t")
    assert wf.build().steps[1].depends_on == ("a", "b", "c")


def test_a_decorators_after_takes_one_step_or_several() -> None:
    wf = Workflow("w")

    @wf.step
    def a() -> None: ...

    @wf.step(after=a)
    def b() -> None: ...

    @wf.step(after="a")
    def c() -> None: ...

    @wf.step(after=(b, "c"))
    def d() -> None: ...

    assert [found.depends_on for found in wf.build().steps] == [(), ("a",), ("a",), ("b", "c")]
    assert [found.id for found in (a, b, c, d)] == ["a", "b", "c", "d"]


def test_a_handler_serves_several_steps_and_is_listed_once() -> None:
    wf = Workflow("w")
    wf.task("a", reserve_stock)
    wf.task("b", reserve_stock)
    wf.task("c", "elsewhere")
    assert wf.handlers == (reserve_stock,)
    assert [found.task for found in wf.build().steps] == ["inventory.reserve", "inventory.reserve", "elsewhere"]


def test_the_last_word_on_a_setting_counts() -> None:
    wf = Workflow("w")
    wf.task("a", "t").with_timeout("1s").with_timeout("2s").with_retry(Fixed(max_attempts=1)).with_retry(max_attempts=2)
    (made,) = wf.build().steps
    assert made.timeout == timedelta(seconds=2)
    assert made.retry is not None
    assert (made.retry.max_attempts, made.retry.strategy) == (2, "exponential")


@pytest.mark.parametrize(
    ("policy", "written"),
    [
        (Fixed(max_attempts=1), {"max_attempts": 1, "initial_delay": "1s"}),
        (
            Linear(max_attempts=2, initial_delay=timedelta(minutes=1), max_delay="5m", jitter=0.1),
            {"max_attempts": 2, "strategy": "linear", "initial_delay": "1m", "max_delay": "5m", "jitter": 0.1},
        ),
        (
            Exponential(max_attempts=3, multiplier=1.5),
            {"max_attempts": 3, "strategy": "exponential", "initial_delay": "1s", "multiplier": 1.5},
        ),
    ],
)
def test_a_policy_value_is_written_as_its_fields(policy: Fixed | Linear | Exponential, written: dict[str, Any]) -> None:
    wf = Workflow("w", default_retry=policy)
    wf.task("a", "t")
    assert wf.build().content()["default_retry"] == written


def test_policy_fields_say_the_same_as_a_policy_value() -> None:
    by_value, by_fields = Workflow("w"), Workflow("w")
    by_value.task("a", "t").with_retry(Linear(max_attempts=2, jitter=0.5))
    by_fields.task("a", "t").with_retry(max_attempts=2, strategy="linear", jitter=0.5)
    assert by_value.build() == by_fields.build()


def test_a_workflow_shows_its_name_and_size() -> None:
    assert repr(order_workflow()) == "<workflow 'order', 4 steps>"


# -- mistakes ----------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_the_line_that_made_it() -> None:
    other = Workflow("other")
    foreign = other.task("foreign", "t")
    # fmt: off
    wf = Workflow("bad name", timeout="soon"); at = line()  # noqa: E702
    wf.task("a", "t").with_timeout(
        "-3s"
    )
    (
        wf.task("b", "bad..task")
        .after("aa")
        .with_retry(max_attempts=-1)
        .with_on_failure("nobody")
        .with_compensation(foreign)
    )
    wf.task("a", "t")
    wf.task("x", "t").after("y")
    wf.task("y", "t").after("x", "x")
    wf.task("z", "t").after(foreign)
    # fmt: on
    assert told(wf) == [
        ("name", "identifier", at),
        ("steps[0].timeout", "duration", at + 1),
        ("steps[1].task", "identifier", at + 5),
        ("steps[1].depends_on[0]", "unknown-step", at + 6),
        ("steps[1].retry.max_attempts", "range", at + 7),
        ("steps[1].on_failure", "unknown-step", at + 8),
        ("steps[2].id", "duplicate-step", at + 11),
        ("steps[3].depends_on", "cycle", at + 12),
        ("steps[4].depends_on[1]", "duplicate-dependency", at + 13),
        ("timeout", "duration", at),
        ("steps[1].compensate", "foreign-step", at + 9),
        ("steps[5].depends_on[0]", "foreign-step", at + 14),
    ]


def test_mistakes_of_decorated_functions_are_told_at_their_lines() -> None:
    wf = Workflow("w")
    at = line()

    @wf.step(timeout="soon", after="nobody")
    def fetch() -> None: ...

    assert fetch.id == "fetch"
    assert [(path, rule) for path, rule, _ in told(wf)] == [
        ("steps[0].depends_on[0]", "unknown-step"),
        ("steps[0].timeout", "duration"),
    ]
    assert all(at + 2 <= line <= at + 3 for _, _, line in told(wf))


def test_each_of_a_steps_timeouts_is_checked_and_told_at_its_own_line() -> None:
    # fmt: off
    wf = Workflow("w"); at = line()  # noqa: E702
    (
        wf.task("a", "t")
        .with_heartbeat_timeout("often")
        .with_queue_timeout("-5m")
        .with_timeout("30")
    )
    # fmt: on
    assert told(wf) == [
        ("steps[0].heartbeat_timeout", "duration", at + 3),
        ("steps[0].queue_timeout", "duration", at + 4),
        ("steps[0].timeout", "duration", at + 5),
    ]


def test_a_step_of_another_workflow_is_one_problem_even_under_a_known_name() -> None:
    other = Workflow("other")
    foreign = other.task("a", "t")
    wf = Workflow("w")
    wf.task("a", "t")
    wf.task("b", "t").after(foreign)
    (problem,) = problems_of(wf)
    assert problem.rule == "foreign-step"
    assert problem.message == 'step "b" refers to step "a" of another workflow, "other"'


def test_types_of_the_function_that_builds_resolve_even_if_they_are_defined_after_the_step() -> None:
    wf = Workflow("w")

    @wf.step
    async def work(later: "Later") -> None: ...  # noqa: UP037

    assert [problem.rule for problem in problems_of_another(wf)] == ["unresolved-annotation"]

    class Later(BaseModel):
        n: int

    schema: Any = wf.build().input_schema
    assert schema["required"] == ["n"]
    assert work.id == "work"
    assert Later(n=1).n == 1


def problems_of_another(wf: Workflow) -> tuple[Problem, ...]:
    """What a build somewhere else tells, where the local names are others."""
    return problems_of(wf)


def test_what_does_not_resolve_is_told_at_the_handlers_line() -> None:
    def work(later: Any) -> None: ...

    at = line() - 2
    work.__annotations__["later"] = "Nowhere"
    wf = Workflow("w")
    wf.step(work)
    assert told(wf) == [("steps[0].task", "unresolved-annotation", at)]


def test_two_handlers_of_one_task_type_are_a_problem() -> None:
    @handler("inventory.reserve")
    async def another(order: Order) -> Receipt: ...

    wf = Workflow("w")
    wf.task("a", reserve_stock)
    wf.task("b", another)
    at = line() - 1
    assert told(wf) == [("steps[1].task", "handler-conflict", at)]
    assert "'reserve_stock' and 'another'" in problems_of(wf)[0].message


def test_types_that_cannot_be_carried_are_told_at_the_handlersline() -> None:
    class Lock:
        pass

    at = line() + 2

    @handler("t")
    async def locked(lock: Lock) -> Lock: ...

    wf = Workflow("w")
    wf.task("a", locked)
    assert told(wf) == [("steps[0].task", "unsupported-type", at)] * 2


def test_a_workflow_without_steps_is_told_at_its_ownline() -> None:
    wf = Workflow("w")
    assert told(wf) == [("steps", "range", line() - 1)]


def test_values_of_a_wrong_kind_that_builders_do_not_look_at_are_problems_too() -> None:
    wf = _wf(version=1)
    wf.task(5, "t").with_retry(max_attempts="3")
    assert [(path, rule) for path, rule, _ in told(wf)] == [
        ("version", "type"),
        ("steps[0].id", "type"),
        ("steps[0].retry.max_attempts", "type"),
    ]


def test_a_negative_or_endless_timedelta_is_a_problem_like_any_bad_duration() -> None:
    wf = Workflow("w", timeout=timedelta.max)
    wf.task("a", "t").with_timeout(timedelta(seconds=-1)).with_retry(max_attempts=1, max_delay=-timedelta.resolution)
    assert [(path, rule) for path, rule, _ in told(wf)] == [
        ("steps[0].timeout", "duration"),
        ("steps[0].retry.max_delay", "duration"),
        ("timeout", "duration"),
    ]


def _wf(**settings: Any) -> Any:
    """A workflow no type checker looks at, as most programs see it."""
    return Workflow("w", **settings)


def _step_of(**settings: Any) -> Any:
    def plain() -> None: ...

    return _wf().step(**settings)(plain)


WRONG_KINDS: list[tuple[Callable[[], Any], str]] = [
    (lambda: _wf(timeout=30), "a duration is a timedelta or a string such as '30s', not 30"),
    (lambda: _wf(default_retry=3), "a retry policy is Fixed(…), Linear(…) or Exponential(…), not 3"),
    (lambda: _wf().task("a", print), "a handler or a task type is expected, not <built-in function print>"),
    (lambda: _wf().task("a", "t").after(3), "a step or the id of a step is expected, not 3"),
    (lambda: _wf().task("a", "t").after(reserve_stock), "a step or the id of a step is expected, not <handler"),
    (lambda: _wf().task("a", "t").with_timeout(1.5), "a duration is a timedelta or a string"),
    (lambda: _wf().task("a", "t").with_on_failure(None), "a step or the id of a step is expected, not None"),
    (lambda: _wf().task("a", "t").with_compensation([]), "a step or the id of a step is expected, not []"),
    (lambda: _wf().task("a", "t").with_retry("3"), "a retry policy is"),
    (
        lambda: _wf().task("a", "t").with_retry(Fixed(max_attempts=1), jitter=1),
        "a retry policy or its fields are expected, not both",
    ),
    (lambda: _wf().task("a", "t").with_retry(), "max_attempts"),
    (lambda: _wf().task("a", "t").with_retry(max_attempts=1, delay="1s"), "delay"),
    (lambda: _wf().task("a", "t").with_retry(max_attempts=1, strategy="random"), "strategy is one of 'fixed'"),
    (
        lambda: _wf().task("a", "t").with_retry(max_attempts=1, strategy="fixed", multiplier=3),
        "only the exponential strategy has a multiplier, not 'fixed'",
    ),
    (lambda: _wf().task("a", "t").with_retry(max_attempts=1, initial_delay=1), "a duration is"),
    (lambda: _wf().step("fetch"), "a function is decorated, not 'fetch'"),
    (lambda: _step_of(after=3), "object is not iterable"),
    (lambda: _step_of(after=[3]), "a step or the id of a step is expected, not 3"),
    (lambda: _step_of(retry="often"), "a retry policy is"),
    (lambda: _step_of(timeout=3), "a duration is"),
    (lambda: _step_of(speed="high"), "speed"),
]


@pytest.mark.parametrize(("build", "complaint"), WRONG_KINDS)
def test_a_wrong_kind_of_argument_is_a_type_error_at_once(build: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        build()
    assert complaint in str(caught.value)


@pytest.mark.parametrize("function", [lambda: None, functools.partial(print, "x"), print])
def test_a_function_that_can_be_no_handler_can_be_no_step(function: Callable[..., Any]) -> None:
    wf = Workflow("w")
    with pytest.raises(DefinitionError) as caught:
        wf.step(function)
    assert [problem.rule for problem in caught.value.problems] == ["handler-kind"]


def test_a_functions_derived_task_type_is_checked_when_the_step_is_made() -> None:
    wf = Workflow("two words")
    with pytest.raises(DefinitionError) as caught:

        @wf.step
        def work() -> None: ...

    assert [problem.rule for problem in caught.value.problems] == ["identifier"]
    assert caught.value.title == "handler 'two words.work' cannot be used"


# -- sources -----------------------------------------------------------------------------------------------


def test_a_source_below_the_current_folder_is_shown_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_source(f"{tmp_path}/flows/order.py:7") == f"flows{os.sep}order.py:7"
    assert shown_source("/elsewhere/order.py:7") == "/elsewhere/order.py:7"
    assert shown_source("") == ""


def test_the_callers_source_is_thisline() -> None:
    assert shown_place(caller_place()) == f"{HERE}:{line()}"


def test_a_neighbour_whose_path_begins_like_the_package_is_still_the_user() -> None:
    package = Path(dagnats.__file__).parent
    names: dict[str, Any] = {"Workflow": Workflow}
    exec(compile("wf = Workflow('w')", f"{package}_flows/order.py", "exec"), names)
    assert names["wf"].source.endswith("dagnats_flows/order.py:1")
