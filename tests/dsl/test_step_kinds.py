"""Every kind of step: its builder, its decorator, its own settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field

from dagnats.dsl.expression import Match
from dagnats.dsl.step import Step
from dagnats.dsl.workflow import Workflow
from dagnats.handling.handler import handler
from dagnats.handling.loop import Continue
from tests.dsl.said import line, problems_of, step_of, told, untyped


def read(path: str) -> str:
    """A handler of all kinds."""
    return path


# -- what workers run --------------------------------------------------------------------------------------

KINDS: list[tuple[str, dict[str, Any], Callable[[Any], object], dict[str, Any]]] = [
    # kind, as decorator's keywords, as setters, as the definition says it
    ("agent", {}, lambda step: step, {"type": "agent"}),
    ("agent", {"timeout": "1m"}, lambda step: step.with_timeout("1m"), {"type": "agent", "timeout": "1m"}),
    (
        "agent_loop",
        {"max_iterations": 5},
        lambda step: step.with_max_iterations(5),
        {"type": "agent_loop", "config": {"max_iterations": 5}},
    ),
    (
        "agent_loop",
        {
            "max_iterations": 5,
            "max_duration": timedelta(hours=1),
            "loop_delay": "2s",
            "budget_warn_at": 80,
            "budget_force_at": 100,
        },
        lambda step: (
            step.with_max_iterations(5)
            .with_max_duration("1h")
            .with_loop_delay("2s")
            .with_budget_warn_at(80)
            .with_budget_force_at(100)
        ),
        {
            "type": "agent_loop",
            "config": {
                "max_iterations": 5,
                "max_duration": "1h",
                "loop_delay": "2s",
                "budget_warn_at": 80,
                "budget_force_at": 100,
            },
        },
    ),
    ("map", {"over": "list"}, lambda step: step.after("list"), {"depends_on": ["list"], "type": "map"}),
    (
        "map",
        {"over": "list", "max_items": 50, "max_parallel": 5, "on_item_failure": "collect"},
        lambda s: s.with_over("list").with_max_items(50).with_max_parallel(5).with_on_item_failure("collect"),
        {
            "depends_on": ["list"],
            "type": "map",
            "config": {"max_items": 50, "max_parallel": 5, "on_item_failure": "collect"},
        },
    ),
    (
        "planner",
        {"max_steps": 20, "max_depth": 3, "allowed_tasks": ["a.b", handler("c.d")(read)]},
        lambda step: step.with_max_steps(20).with_max_depth(3).with_allowed_tasks("a.b", handler("c.d")(read)),
        {"type": "planner", "config": {"max_steps": 20, "max_depth": 3, "allowed_tasks": ["a.b", "c.d"]}},
    ),
    (
        "planner",
        {"max_steps": 1, "allowed_tasks": "a.b"},
        lambda step: step.with_max_steps(1).with_allowed_tasks("a.b"),
        {"type": "planner", "config": {"max_steps": 1, "allowed_tasks": ["a.b"]}},
    ),
]


def _with_list() -> Any:
    wf = Workflow("w")
    wf.task("list", "t")
    return wf


@pytest.mark.parametrize(("kind", "settings", "setters", "document"), KINDS)
def test_a_kind_of_step_is_the_same_in_both_forms(
    kind: str, settings: dict[str, Any], setters: Callable[[Any], object], document: dict[str, Any]
) -> None:
    said, built = _with_list(), _with_list()
    decorated = getattr(said, kind)(**settings)(read)
    setters(getattr(built, kind)("read", handler("w.read")(read)))
    assert said.build() == built.build()
    assert step_of(said) == document
    assert (decorated.id, decorated.task, decorated("a")) == ("read", "w.read", "a")


@pytest.mark.parametrize("kind", ["agent", "agent_loop", "map", "planner"])
def test_a_decorator_can_be_bare_and_a_task_can_be_named_by_its_string(kind: str) -> None:
    wf = untyped(Workflow("w"))
    decorated = getattr(wf, kind)(read)
    named = getattr(wf, kind)("named", "elsewhere.run")
    assert decorated.type == named.type == kind
    assert (decorated.task, named.task) == ("w.read", "elsewhere.run")
    assert (decorated.handler.task, named.handler) == ("w.read", None)
    assert wf.handlers == (decorated.handler,)


def test_a_map_may_name_what_it_maps_over_when_it_is_made() -> None:
    wf = Workflow("w")
    numbers = wf.task("numbers", "t")
    wf.map("doubled", "double", over=numbers)
    assert step_of(wf) == {"depends_on": ["numbers"], "type": "map"}


def test_a_decorated_loop_is_still_its_function() -> None:
    wf = Workflow("w")

    @wf.agent_loop(max_iterations=3)
    async def think(n: int) -> str | Continue[int]:
        return Continue(n + 1)

    assert asyncio.run(think(1)) == Continue(2)


@pytest.mark.parametrize("kind", ["agent", "agent_loop", "map", "planner"])
@pytest.mark.parametrize(
    ("arguments", "settings", "complaint"),
    [
        (("a",), {}, "a handler or a task type is expected, not None"),
        (("a", read), {}, "a handler or a task type is expected, not <function read"),
        (("a", "t"), {"timeout": "3s"}, "timeout: only decorators take settings; chain setters"),
        ((3,), {}, "a function is decorated, not 3"),
        ((read,), {"speed": 3}, "a step of type {kind!r} has no setting 'speed'"),
    ],
)
def test_wrong_use_of_a_builder_is_a_type_error(
    kind: str, arguments: tuple[Any, ...], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(Workflow("w"), kind)(*arguments, **settings)
    assert complaint.format(kind=kind) in str(caught.value)


WRONG_KINDS: list[tuple[Callable[[Any], object], str]] = [
    (lambda wf: wf.planner("p", "t").with_allowed_tasks(read), "a task type or a handler is expected"),
    (lambda wf: wf.agent_loop("l", "t").with_loop_delay(3), "a duration is"),
    (lambda wf: wf.agent_loop("l", "t").with_max_duration(3), "a duration is"),
    (lambda wf: wf.map("m", "t", over=3), "a step or the id of a step is expected, not 3"),
    (lambda wf: wf.sub_workflow("c", read), "a workflow or the name of one is expected"),
    (lambda wf: wf.sleep("s", 30), "a duration is"),
    (lambda wf: wf.wait_for_event("e", "paid", match=True, timeout="1h"), "a match such as"),
    (lambda wf: wf.approval("a", subject="s", timeout=3), "a duration is"),
    (lambda wf: wf.approval("a", subject="s", timeout="1h", metadata="m"), "a mapping of texts"),
    (lambda wf: wf.respond("r", headers="h"), "a mapping of texts"),
]


@pytest.mark.parametrize(("use", "complaint"), WRONG_KINDS)
def test_a_wrong_kind_of_argument_is_a_type_error_at_once(use: Callable[[Any], object], complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(Workflow("w"))
    assert complaint in str(caught.value)


def test_what_a_kind_needs_is_told_where_the_step_was_made() -> None:
    wf = Workflow("w")
    at = line()
    wf.agent_loop("loop", "t")
    wf.planner("plan", "t")
    wf.map("map", "t")
    wf.agent_loop("more", "t").with_max_iterations(0)
    assert sorted(told(wf)) == [
        ("steps[0].config", "required", at + 1),
        ("steps[1].config", "required", at + 2),
        ("steps[2].depends_on", "map-dependency", at + 3),
        ("steps[3].config.max_iterations", "range", at + 4),
    ]


# -- what the engine runs ----------------------------------------------------------------------------------


class Answer(BaseModel):
    """The docstring is no part of a definition."""

    reason: str = Field(description="Why.")
    urgent: bool = False


ANSWER: dict[str, Any] = {
    "properties": {
        "reason": {"description": "Why.", "type": "string"},
        "urgent": {"default": False, "type": "boolean"},
    },
    "required": ["reason"],
    "type": "object",
}

ENGINE_RUN: list[tuple[Callable[[Workflow], Step[Any, Any]], dict[str, Any]]] = [
    (lambda wf: wf.sub_workflow("x", "child"), {"type": "sub_workflow", "config": {"workflow": "child"}}),
    (
        lambda wf: wf.sub_workflow("x", Workflow("child")).with_detach(),
        {"type": "sub_workflow", "config": {"workflow": "child", "detach": True}},
    ),
    (lambda wf: wf.sleep("x", "7d"), {"type": "sleep", "config": {"duration": "168h"}}),
    (lambda wf: wf.sleep("x", timedelta(days=7)), {"type": "sleep", "config": {"duration": "168h"}}),
    (lambda wf: wf.sleep("x", cron="0 9 * * *"), {"type": "sleep", "config": {"cron": "0 9 * * *"}}),
    (
        lambda wf: wf.sleep("x", cron="0 9 * * *", timezone="Europe/Berlin"),
        {"type": "sleep", "config": {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}},
    ),
    (lambda wf: wf.sleep("x", until_input_path="due"), {"type": "sleep", "config": {"until_input_path": "due"}}),
    (
        lambda wf: wf.wait_for_event("x", "paid", match=wf.event["id"] == wf.input["id"], timeout="1h"),
        {
            "type": "wait_for_event",
            "config": {
                "event": "paid",
                "match": {"left": "id", "op": "eq", "right": "input.id"},
                "timeout": "1h",
            },
        },
    ),
    (
        lambda wf: (
            wf.wait_for_event("x", "paid", match=Match("id", "eq", "id"), timeout="1s", lookback="5m")
            .with_timeout("2h")
            .with_lookback("10m")
        ),
        {
            "type": "wait_for_event",
            "config": {
                "event": "paid",
                "match": {"left": "id", "op": "eq", "right": "input.id"},
                "timeout": "2h",
                "lookback": "10m",
            },
        },
    ),
    (
        lambda wf: wf.approval("x", subject="asked", timeout="24h"),
        {"type": "approval", "config": {"timeout": "24h", "subject": "asked"}},
    ),
    (
        lambda wf: wf.approval(
            "x", subject="asked", timeout="1h", description="Fine?", metadata={"to": "me"}, form=Answer
        ).with_timeout("2h"),
        {
            "type": "approval",
            "config": {
                "timeout": "2h",
                "subject": "asked",
                "description": "Fine?",
                "metadata": {"to": "me"},
                "form": ANSWER,
            },
        },
    ),
    (
        lambda wf: wf.approval("x", subject="asked", timeout="1h", form={"type": "string"}),
        {"type": "approval", "config": {"timeout": "1h", "subject": "asked", "form": {"type": "string"}}},
    ),
    (lambda wf: wf.respond("x"), {"type": "respond"}),
    (
        lambda wf: wf.respond("x", status=201, headers={"X-A": "b"}, body_from="html", content_type="text/html"),
        {
            "type": "respond",
            "config": {"status": 201, "headers": {"X-A": "b"}, "body_from": "html", "content_type": "text/html"},
        },
    ),
]


@pytest.mark.parametrize(("build", "document"), ENGINE_RUN)
def test_an_engine_run_step_is_written_as_it_was_said(
    build: Callable[[Workflow], Step[Any, Any]], document: dict[str, Any]
) -> None:
    wf = Workflow("w")
    step = build(wf)
    assert step_of(wf) == document
    assert (step.task, step.handler, wf.handlers) == ("", None, ())


def test_a_wait_for_what_a_step_returned_names_the_step() -> None:
    wf = Workflow("w")
    order = wf.task("order", "t")
    wf.wait_for_event("x", "paid", match=wf.event["id"] == order.output["id"], timeout="1h").after(order)
    assert step_of(wf)["config"]["match"]["right"] == "step.order.output.id"


def test_an_answers_type_that_cannot_be_carried_is_told_at_its_line() -> None:
    wf = Workflow("w")
    wf.approval("x", subject="s", timeout="1h", form=object())
    assert told(wf) == [("steps[0].config.form", "unsupported-type", line() - 1)]


def test_a_sleep_that_says_nothing_or_two_things_is_told() -> None:
    wf = Workflow("w")
    wf.sleep("a")
    wf.sleep("b", "1h", cron="0 9 * * *")
    assert [problem.rule for problem in problems_of(wf)] == ["sleep-form", "sleep-form"]
