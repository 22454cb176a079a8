"""Every setting of a step: as a setter and as a decorator's keyword, with one meaning."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dagnats.dsl.function import StepSettings
from dagnats.dsl.limit import KeyedRateLimit, RateLimit
from dagnats.dsl.retry import Exponential, Fixed
from dagnats.dsl.step import Step
from dagnats.dsl.workflow import Workflow
from dagnats.handling.handler import handler
from tests.dsl.said import problems_of, step_of, untyped


def work() -> None: ...


def _flow() -> tuple[Workflow, Step[Any, Any]]:
    """A workflow with a step to refer to, and with steps that only run for others."""
    wf = Workflow("w")
    return wf, wf.task("first", "t")


HALF_A_MINUTE = timedelta(seconds=30)
SETTINGS: list[tuple[dict[str, Any], Callable[[Step[Any, Any]], object], dict[str, Any]]] = [
    # as a decorator's keyword, as a setter, as the definition says it
    ({"timeout": "30s"}, lambda step: step.with_timeout(HALF_A_MINUTE), {"timeout": "30s"}),
    ({"queue_timeout": "1h"}, lambda step: step.with_queue_timeout("60m"), {"queue_timeout": "1h"}),
    ({"heartbeat_timeout": HALF_A_MINUTE}, lambda s: s.with_heartbeat_timeout("30s"), {"heartbeat_timeout": "30s"}),
    (
        {"retry": Fixed(max_attempts=2)},
        lambda step: step.with_retry(max_attempts=2, strategy="fixed"),
        {"retry": {"max_attempts": 2, "initial_delay": "1s"}},
    ),
    ({"retries": 3}, lambda step: step.with_retries(3), {"retries": 3}),
    ({"on_failure": "aside"}, lambda step: step.with_on_failure("aside"), {"on_failure": "aside"}),
    ({"compensation": "aside"}, lambda step: step.with_compensation("aside"), {"compensate": "aside"}),
    ({"worker_group": "gpu"}, lambda step: step.with_worker_group("gpu"), {"worker_group": "gpu"}),
    (
        {"rate_limit": RateLimit(100, "1m")},
        lambda step: step.with_rate_limit(limit=100, period="60s"),
        {"rate_limit": {"limit": 100, "period": "1m"}},
    ),
    (
        {"keyed_rate_limit": KeyedRateLimit("customer.id", 10, HALF_A_MINUTE)},
        lambda step: step.with_keyed_rate_limit("customer.id", 10, "30s", units=1),
        {"keyed_rate_limit": {"key": "customer.id", "limit": 10, "period": "30s"}},
    ),
    (
        {"keyed_rate_limit": KeyedRateLimit("id", 10, "1s", units=5)},
        lambda step: step.with_keyed_rate_limit("id", 10, "1s", 5),
        {"keyed_rate_limit": {"key": "id", "limit": 10, "period": "1s", "units": 5}},
    ),
    ({"task_concurrency": 4}, lambda step: step.with_task_concurrency(4), {"max_task_concurrency": 4}),
    (
        {"metadata": {"team": "billing", "cost": "high"}},
        lambda step: step.with_metadata({"team": "billing"}, cost="high"),
        {"metadata": {"cost": "high", "team": "billing"}},
    ),
    ({"metadata": {"team": "a"}}, lambda step: step.with_metadata(team="a"), {"metadata": {"team": "a"}}),
    ({"priority": -9}, lambda step: step.with_priority(-9), {"priority": -9}),
    (
        {"capabilities": ["control-plane"]},
        lambda step: step.with_capabilities("control-plane"),
        {"required_capabilities": ["control-plane"]},
    ),
    (
        {"capabilities": "control-plane"},
        lambda step: step.with_capabilities("control-plane"),
        {"required_capabilities": ["control-plane"]},
    ),
    ({"after": "first"}, lambda step: step.after("first"), {"depends_on": ["first"]}),
    ({"after": ["first", "also"]}, lambda step: step.after("first").after("also"), {"depends_on": ["first", "also"]}),
]


@pytest.mark.parametrize(("settings", "setter", "document"), SETTINGS)
def test_a_setting_means_the_same_in_both_forms(
    settings: dict[str, Any], setter: Callable[[Step[Any, Any]], object], document: dict[str, Any]
) -> None:
    said, _ = _flow()
    untyped(said).step(id="work", task="t", **settings)(work)
    built, _ = _flow()
    step = built.task("work", handler("t")(work))
    assert setter(step) is step
    for wf in (said, built):
        wf.task("also", "t")
        if {"on_failure", "compensation"} & set(settings):
            wf.task("aside", "t")
    assert said.build() == built.build()
    assert step_of(said, 1) == document


def test_every_setting_of_a_decorator_is_tested() -> None:
    tested = {name for settings, _, _ in SETTINGS for name in settings}
    assert tested | {"id", "task", "abort_on", "process", "skip_if"} == set(StepSettings.__annotations__)


def test_a_condition_means_the_same_in_both_forms() -> None:
    said, first = _flow()
    said.step(task="t", after=first, skip_if=first.output["n"] == 0)(work)
    built, first = _flow()
    built.task("work", handler("t")(work)).after(first).skip_if(first.output["n"] == 0)
    assert said.build() == built.build()
    assert step_of(said)["skip_if"] == {"step_id": "first", "field": "n", "op": "==", "value": 0}


def test_the_last_word_counts_for_every_setting_but_after() -> None:
    wf, first = _flow()
    step = wf.task("work", "t").after(first).after("also").with_timeout("1s").with_timeout("2s")
    step.with_metadata(a="1").with_metadata(b="2").with_retry(Exponential(max_attempts=1)).with_retry(max_attempts=2)
    step.skip_if(first.output["n"] == 0).skip_if(first.output["n"] == 1)
    wf.task("also", "t")
    document = step_of(wf, 1)
    assert document["depends_on"] == ["first", "also"]
    assert (document["timeout"], document["metadata"]) == ("2s", {"b": "2"})
    assert (document["retry"]["max_attempts"], document["skip_if"]["value"]) == (2, 1)


def test_what_was_given_can_be_changed_afterwards_without_effect() -> None:
    metadata = {"team": "a"}
    wf, _ = _flow()
    wf.task("work", "t").with_metadata(metadata)
    metadata["team"] = "b"
    assert step_of(wf)["metadata"] == {"team": "a"}


def test_a_decorators_handler_knows_what_aborts_it() -> None:
    wf = Workflow("w")
    step = wf.step(abort_on=(ValueError, KeyError))(work)
    assert step.handler is not None
    assert step.handler.abort_on == (ValueError, KeyError)
    assert not step.handler.process


def test_a_decorators_handler_can_run_in_a_process() -> None:
    step = Workflow("w").step(process=True)(work)
    assert step.handler is not None
    assert step.handler.process


@pytest.mark.parametrize(
    ("settings", "path", "rule"),
    [
        ({"timeout": "soon"}, "steps[1].timeout", "duration"),
        ({"priority": 10}, "steps[1].priority", "range"),
        ({"capabilities": ["sudo"]}, "steps[1].required_capabilities[0]", "unknown-value"),
        ({"rate_limit": (0, "1m")}, "steps[1].rate_limit.limit", "range"),
        ({"worker_group": "a b"}, "steps[1].worker_group", "identifier"),
    ],
)
def test_a_wrong_value_is_told_by_the_build(settings: dict[str, Any], path: str, rule: str) -> None:
    wf, _ = _flow()
    untyped(wf).step(**settings)(work)
    (problem,) = problems_of(wf)
    assert (problem.path, problem.rule) == (path, rule)


WRONG_KINDS: list[tuple[Callable[[Any], object], str]] = [
    (lambda step: step.with_queue_timeout(30), "a duration is"),
    (lambda step: step.with_heartbeat_timeout(None), "a duration is"),
    (lambda step: step.with_rate_limit(1, 60), "a duration is"),
    (lambda step: step.with_keyed_rate_limit("a", 1, 60), "a duration is"),
    (lambda step: step.with_metadata("team"), "a mapping of texts is expected"),
    (lambda step: step.skip_if(True), "a condition such as"),
    (lambda step: step.skip_if(step.output["n"]), "a condition such as"),
    (lambda step: step >> 3, "object is not iterable"),
    (lambda step: step >> "b", "a step or a list of steps is expected after `>>`, not 'b'"),
    (lambda step: step >> [step, "b"], "a step or a list of steps is expected after `>>`, not 'b'"),
    (lambda step: 3 >> step, "object is not iterable"),
    (lambda step: [3] >> step, "a step or the id of a step is expected, not 3"),
]


@pytest.mark.parametrize(("use", "complaint"), WRONG_KINDS)
def test_a_wrong_kind_of_argument_is_a_type_error_at_once(use: Callable[[Any], object], complaint: str) -> None:
    step = Workflow("w").task("a", "t")
    with pytest.raises(TypeError) as caught:
        use(step)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"speed": "high"}, "a step of type 'normal' has no setting 'speed'"),
        ({"max_iterations": 3}, "a step of type 'normal' has no setting 'max_iterations'"),
        ({"abort_on": ValueError}, "abort_on is a tuple of exception types, such as (ValueError,), not <class"),
        ({"abort_on": (3,)}, "abort_on is a tuple of exception types"),
        ({"rate_limit": 5}, "must be an iterable"),
        ({"metadata": 5}, "a mapping of texts is expected"),
        ({"skip_if": 5}, "a condition such as"),
    ],
)
def test_a_wrong_kind_of_setting_is_a_type_error_at_once(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        untyped(Workflow("w")).step(**settings)(work)
    assert complaint in str(caught.value)


# -- chains ------------------------------------------------------------------------------------------------


def _dependencies(wf: Workflow) -> dict[str, tuple[str, ...]]:
    return {step.id: step.depends_on for step in wf.build().steps}


def test_a_chain_orders_steps_and_gives_its_last_one() -> None:
    wf = Workflow("w")
    a, b, c = (wf.task(step_id, "t") for step_id in "abc")
    assert a >> b >> c is c
    assert _dependencies(wf) == {"a": (), "b": ("a",), "c": ("b",)}


def test_a_chain_may_spread_and_gather() -> None:
    wf = Workflow("w")
    a, b, c, d, e = (wf.task(step_id, "t") for step_id in "abcde")
    spread = a >> [b, c]
    assert tuple(spread) == (b, c)
    assert spread >> [d] >> e is e
    assert _dependencies(wf) == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("d",)}


def test_a_chain_may_begin_with_a_list_or_an_id() -> None:
    wf = Workflow("w")
    a, b, c = (wf.task(step_id, "t") for step_id in "abc")
    assert [a, "b"] >> c is c
    assert "a" >> b is b
    assert _dependencies(wf) == {"a": (), "b": ("a",), "c": ("a", "b")}
