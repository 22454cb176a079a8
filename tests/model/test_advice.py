"""Warnings: what a valid definition may say, but its author probably did not mean."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.check import advice, load_definition

HTTP = {"id": "h", "http": {"path": "/api/quote", "method": "GET"}}
SLEEP: dict[str, Any] = {"id": "a", "type": "sleep", "config": {"duration": "1h"}}
PRICE = {"id": "price", "task": "t"}


def _warnings(*steps: dict[str, Any], known: list[str] | None = None, **settings: Any) -> list[tuple[str, str]]:
    definition = load_definition({"name": "w", "steps": list(steps), **settings})
    return [(problem.path, problem.rule) for problem in advice(definition, known)]


def _respond(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "respond", "depends_on": list(needs), **settings}


def _unless(op: str, value: Any, field: str = "ok") -> dict[str, Any]:
    return {"skip_if": {"step_id": "price", "field": field, "op": op, "value": value}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", "1s"),
        ("queue_timeout", "1s"),
        ("heartbeat_timeout", "1s"),
        ("retry", {"max_attempts": 1}),
        ("retries", 1),
        ("worker_group", "g"),
        ("rate_limit", {"limit": 1, "period": "1s"}),
        ("keyed_rate_limit", {"key": "id", "limit": 1, "period": "1s"}),
        ("max_task_concurrency", 1),
        ("priority", 1),
        ("required_capabilities", ["control-plane"]),
    ],
)
def test_a_workers_setting_does_nothing_on_a_step_the_engine_runs(key: str, value: Any) -> None:
    assert _warnings({**SLEEP, key: value}) == [(f"steps[0].{key}", "no-effect")]
    assert _warnings({"id": "a", "task": "t", key: value}) == []


def test_other_settings_are_fine_on_a_step_the_engine_runs() -> None:
    assert _warnings(PRICE, {**SLEEP, "depends_on": ["price"], "metadata": {"a": "b"}, "task": "t"}) == []


def test_a_child_workflow_that_is_not_known_is_named_with_the_one_that_was_meant() -> None:
    child = {"id": "a", "type": "sub_workflow", "config": {"workflow": "shiping"}}
    definition = load_definition({"name": "w", "steps": [child]})
    (problem,) = advice(definition, ["shipping"])
    assert (problem.path, problem.rule) == ("steps[0].config.workflow", "unknown-workflow")
    assert problem.hint == "did you mean 'shipping'?"


def test_a_child_workflow_is_not_looked_for_where_nothing_is_known() -> None:
    child = {"id": "a", "type": "sub_workflow", "config": {"workflow": "elsewhere"}}
    assert _warnings(child) == []
    assert _warnings(child, known=["elsewhere"]) == []
    assert _warnings({**child, "config": {"workflow": "w"}}, known=[]) == []


def test_an_http_trigger_wants_a_response() -> None:
    assert _warnings(PRICE, triggers=[HTTP]) == [("triggers[0].http", "missing-respond")]
    assert _warnings(PRICE, _respond("r", "price"), triggers=[HTTP]) == []
    assert _warnings(PRICE, triggers=[{"id": "h", "webhook": {"path": "/hooks/x"}}]) == []


def test_a_response_to_failures_alone_is_none_when_all_goes_well() -> None:
    sorry = {"id": "sorry", "type": "respond"}
    assert _warnings({**PRICE, "on_failure": "sorry"}, sorry, triggers=[HTTP]) == [
        ("triggers[0].http", "missing-respond")
    ]


def test_two_responses_in_one_run_are_one_too_many() -> None:
    assert _warnings(PRICE, _respond("a", "price"), _respond("b", "price")) == [("steps[2]", "duplicate-respond")]
    same = _warnings(PRICE, _respond("a", "price", **_unless("==", 1)), _respond("b", "price", **_unless("==", 1)))
    assert same == [("steps[2]", "duplicate-respond")]
    other = _unless("!=", 1, "other")
    apart = _warnings(PRICE, _respond("a", "price", **_unless("==", 1)), _respond("b", "price", **other))
    assert apart == [("steps[2]", "duplicate-respond")]


def test_responses_that_different_values_choose_are_fine() -> None:
    steps = [_respond("a", "price", **_unless("==", True)), _respond("b", "price", **_unless("!=", True))]
    assert _warnings(PRICE, *steps, triggers=[HTTP]) == []
    either = {"skip_if": {"any": [_unless("==", 1)["skip_if"], _unless("==", 2)["skip_if"]]}}
    assert _warnings(PRICE, _respond("a", "price", **either), _respond("b", "price", **_unless("==", 3))) == []


def test_each_response_is_compared_with_each_other() -> None:
    steps = [_respond(name, "price", **_unless("==", at)) for at, name in enumerate("abc")]
    assert _warnings(PRICE, *steps) == []
    steps[2] |= _unless("==", 1)
    assert _warnings(PRICE, *steps) == [("steps[3]", "duplicate-respond")]


def test_the_choice_may_stand_above_the_responses() -> None:
    cheap = {"id": "cheap", "task": "t", "depends_on": ["price"], **_unless(">", 5)}
    dear = {"id": "dear", "task": "t", "depends_on": ["price"], **_unless("<=", 5)}
    assert _warnings(PRICE, cheap, dear, _respond("a", "cheap", "price"), _respond("b", "dear")) == []


def test_many_responses_are_one_warning_and_take_no_time() -> None:
    steps = [_respond(f"r{at}") for at in range(2_000)]
    assert _warnings(*steps) == [("steps[1]", "duplicate-respond")]
