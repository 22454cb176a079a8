"""Expressions: conditions on outputs, and matches of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagnats.dsl.expression import Match
from dagnats.dsl.workflow import Workflow
from tests.dsl.said import line, step_of, told, untyped

Ask = Callable[[Any], Any]


def _asked(ask: Ask) -> dict[str, Any]:
    """What the definition says of a condition on step `a`."""
    wf = Workflow("w")
    a = wf.task("a", "t")
    wf.task("b", "t").after(a).skip_if(ask(a.output))
    return step_of(wf)["skip_if"]


def _is(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"step_id": "a", "field": field, "op": op, "value": value}


CONDITIONS: list[tuple[Ask, dict[str, Any]]] = [
    (lambda a: a["n"] == 0, _is("n", "==", 0)),
    (lambda a: a["n"] != 0, _is("n", "!=", 0)),
    (lambda a: a["n"] < 1.5, _is("n", "<", 1.5)),
    (lambda a: a["n"] <= 0, _is("n", "<=", 0)),
    (lambda a: a["n"] > 0, _is("n", ">", 0)),
    (lambda a: a["n"] >= 0, _is("n", ">=", 0)),
    (lambda a: 3 < a["n"], _is("n", ">", 3)),  # noqa: SIM300  # the test's point
    (lambda a: "x" == a["n"], _is("n", "==", "x")),  # noqa: SIM300  # the test's point
    (lambda a: a["ok"] == True, _is("ok", "==", True)),  # noqa: E712  # an expression, not a value
    (lambda a: a["ok"] == None, _is("ok", "==", None)),  # noqa: E711  # an expression, not a value
    (lambda a: a["lines"][0]["a.b"]["c\\d"] == "x", _is("lines.0.a\\.b.c\\\\d", "==", "x")),
    (lambda a: ~(a["n"] == 0), _is("n", "!=", 0)),
    (lambda a: ~(a["n"] < 0), _is("n", ">=", 0)),
    (lambda a: ~~(a["n"] <= 0), _is("n", "<=", 0)),
    (lambda a: (a["n"] == 0) & (a["m"] == 1), {"all": [_is("n", "==", 0), _is("m", "==", 1)]}),
    (lambda a: (a["n"] == 0) | (a["m"] == 1), {"any": [_is("n", "==", 0), _is("m", "==", 1)]}),
    (
        lambda a: (a["n"] == 0) & (a["n"] == 1) & (a["n"] == 2),
        {"all": [_is("n", "==", 0), _is("n", "==", 1), _is("n", "==", 2)]},
    ),
    (
        lambda a: (a["n"] == 0) | (a["n"] == 1) & (a["n"] == 2),
        {"any": [_is("n", "==", 0), {"all": [_is("n", "==", 1), _is("n", "==", 2)]}]},
    ),
    (lambda a: ~((a["n"] == 0) & (a["m"] > 1)), {"any": [_is("n", "!=", 0), _is("m", "<=", 1)]}),
    (lambda a: ~((a["n"] == 0) | (a["m"] > 1)), {"all": [_is("n", "!=", 0), _is("m", "<=", 1)]}),
]


@pytest.mark.parametrize(("ask", "document"), CONDITIONS)
def test_a_condition_is_written_as_it_was_said(ask: Ask, document: dict[str, Any]) -> None:
    assert _asked(ask) == document


MISTAKES: list[tuple[Ask, str]] = [
    (lambda a: bool(a["n"]), "a run's value is not known yet; compare it"),
    (lambda a: not a["n"], "a run's value is not known yet"),
    (lambda a: bool(a["n"] == 0), "a condition has no answer before the run"),
    (lambda a: a["n"] == 0 and a["m"] == 1, "`&`, `|` and `~`, each comparison in parentheses"),
    (lambda a: a["n"] == 0 or a["m"] == 1, "`&`, `|` and `~`, each comparison in parentheses"),
    (lambda a: not (a["n"] == 0), "`&`, `|` and `~`, each comparison in parentheses"),  # noqa: SIM201
    (lambda a: 0 < a["n"] < 5, "`&`, `|` and `~`, each comparison in parentheses"),
    (lambda a: a["n"] == 0 & a["m"], "each comparison in parentheses: (a == 1) & (b == 2)"),
    (lambda a: a["n"] | 0, "each comparison in parentheses"),
    (lambda a: ~a["n"], "each comparison in parentheses"),
    (lambda a: (a["n"] == 0) & a["m"], "<output 'm'> is no condition; combine conditions with"),
    (lambda a: (a["n"] == 0) | True, "True is no condition"),
    (lambda a: a["n"] == [1], "an output is compared with a text, a number, True, False or None, not [1]"),
    (lambda a: a["n"] == a["m"], "an output is compared with a text, a number"),
    (lambda a: a["n"] < object(), "an output is compared with"),
    (lambda a: a[1.5], "a key is a text and an index a whole number, not 1.5"),
    (lambda a: a[True], "a key is a text and an index a whole number, not True"),
    (lambda a: a[1:2], "a key is a text"),
    (lambda a: list(a), "is not iterable"),
    (lambda a: "n" in a, "is not a container"),
    (lambda a: {a: 1}, "unhashable"),
    (lambda a: hash(a["n"]), "unhashable"),
]


@pytest.mark.parametrize(("use", "complaint"), MISTAKES)
def test_an_expression_that_python_would_take_for_a_value_is_a_type_error(use: Ask, complaint: str) -> None:
    step = Workflow("w").task("a", "t")
    with pytest.raises(TypeError) as caught:
        use(untyped(step.output))
    assert complaint in str(caught.value)


def test_conditions_on_steps_that_cannot_be_asked_are_told_at_their_line() -> None:
    other = Workflow("other").task("theirs", "t")
    wf = Workflow("w")
    a = wf.task("a", "t")
    at = line()
    wf.task("b", "t").after(a).skip_if((a.output["n"] == 0) & (other.output["n"] == 0))
    wf.task("c", "t").after(a).skip_if(wf.task("d", "t").output["n"] == 0)
    wf.task("e", "t").after(a).skip_if(a.output == 3)
    assert told(wf) == [
        ("steps[2].skip_if.step_id", "condition-step", at + 2),
        ("steps[4].skip_if.field", "dot-path", at + 3),
        ("steps[1].skip_if", "foreign-step", at + 1),
    ]


def test_conditions_are_not_compared_with_each_other() -> None:
    output = Workflow("w").task("a", "t").output
    first, second = output["n"] == 0, output["n"] == 0
    assert first != second
    assert (first & second) != (first & second)


# -- matches -----------------------------------------------------------------------------------------------

MATCHES: list[tuple[Ask, Match]] = [
    (lambda wf: wf.event["id"] == wf.input["id"], Match("id", "eq", "input.id")),
    (lambda wf: wf.input["id"] == wf.event["id"], Match("id", "eq", "input.id")),
    (lambda wf: wf.event["a"]["b.c"][0] == wf.input["x.y"], Match("a.b\\.c.0", "eq", "input.x\\.y")),
    (lambda wf: wf.event["n"] != 3, Match("n", "ne", {"value": 3})),
    (lambda wf: wf.event["n"] < 3, Match("n", "lt", {"value": 3})),
    (lambda wf: wf.event["n"] <= 3, Match("n", "le", {"value": 3})),
    (lambda wf: wf.event["n"] > 3, Match("n", "gt", {"value": 3})),
    (lambda wf: wf.event["n"] >= 3, Match("n", "ge", {"value": 3})),
    (lambda wf: 3 < wf.event["n"], Match("n", "gt", {"value": 3})),  # noqa: SIM300  # the test's point
    (lambda wf: wf.event["n"] == None, Match("n", "eq", {"value": None})),  # noqa: E711  # an expression
    (lambda wf: wf.event["kind"].is_in(["a", "b"]), Match("kind", "in", {"value": ["a", "b"]})),
    (lambda wf: wf.event["kind"].is_in(wf.input["kinds"]), Match("kind", "in", "input.kinds")),
]


@pytest.mark.parametrize(("say", "match"), MATCHES)
def test_an_event_is_matched_by_a_comparison(say: Ask, match: Match) -> None:
    assert say(Workflow("w")) == match
    assert match.document() == {"left": match.left, "op": match.op, "right": match.right}


SIDES: list[Callable[[Any, Any], Match]] = [lambda event, output: event < output, lambda event, output: output > event]


@pytest.mark.parametrize("compare", SIDES)
def test_an_event_is_compared_with_an_output_from_either_side(compare: Callable[[Any, Any], Match]) -> None:
    wf = Workflow("w")
    order = wf.task("order", "t")
    match = compare(wf.event["n"], order.output["lines"][0]["n"])
    assert match == Match("n", "lt", "step.order.output.lines.0.n")
    assert match.output is not None
    assert match.output.step is order


EVENT_MISTAKES: list[tuple[Ask, str]] = [
    (lambda wf: wf.event["a"] == wf.event["b"], "an event is compared with what the run has"),
    (lambda wf: bool(wf.event["a"] == 1), "an event is matched by one comparison"),
    (lambda wf: bool(wf.event["a"]), "a run's value is not known yet"),
    (lambda wf: (wf.event["a"] == 1) & (wf.event["b"] == 2), "unsupported operand"),
    (lambda wf: {wf.input["a"]}, "unhashable"),
]


@pytest.mark.parametrize(("use", "complaint"), EVENT_MISTAKES)
def test_wrong_use_of_an_event_is_a_type_error(use: Ask, complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(Workflow("w"))
    assert complaint in str(caught.value)


def test_a_match_with_a_step_of_another_workflow_is_told_at_its_line() -> None:
    other = Workflow("other").task("theirs", "t")
    wf = Workflow("w")
    wf.wait_for_event("x", "paid", match=wf.event["id"] == other.output["id"], timeout="1h")
    assert told(wf) == [("steps[0].config.match.right", "foreign-step", line() - 1)]


def test_expressions_show_what_they_stand_for() -> None:
    wf = Workflow("w")
    assert repr(wf.task("a", "t").output["x"][0]) == "<output 'x.0'>"
    assert repr(wf.input["x"]) == "<input 'x'>"
    assert repr(wf.event["x"]) == "<body 'x'>"
