"""Validation: every rule has a failing example, all problems come at once, nothing else ever comes out."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from documents import JSON_VALUES, mutated_documents, valid_documents
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from dagnats.errors import DefinitionError, Problem
from dagnats.model.check import check, load_definition
from dagnats.model.definition import MAX_BYTES, MAX_STEPS, WorkflowDef


def _step(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    return {"id": step_id, "task": "t", **({"depends_on": list(needs)} if needs else {}), **settings}


def _workflow(*steps: Any, **settings: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps) or [_step("a")], **settings}


def _problems(data: Any) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        load_definition(data)
    return caught.value.problems


RETRY = {"max_attempts": 1}

RULES: list[tuple[str, str, Any]] = [
    # rule, path, document
    ("json", "$", "{"),
    ("json", "$", '{"name": NaN}'),
    ("json", "$", '{"name": -Infinity}'),
    ("json", "$", '{"name": "a", "name": "b"}'),
    ("json", "$", b'{"name": "\xff"}'),
    ("json", "$", '{"name": "\\ud800"}'),
    ("json", "$", '{"name": "\ud800"}'),
    ("json", "$", "[" * 100_000),
    ("json", "$", "9" * 5_000),
    ("too-large", "$", " " * (MAX_BYTES + 1)),
    ("too-large", "$", "é" * (MAX_BYTES // 2 + 1)),
    ("type", "$", "[]"),
    ("type", "$", "null"),
    ("required", "name", {"steps": [_step("a")]}),
    ("required", "steps", {"name": "w"}),
    ("required", "steps[0].id", _workflow({"task": "t"})),
    ("required", "steps[0].task", _workflow({"id": "a"})),
    ("required", "steps[0].retry.max_attempts", _workflow(_step("a", retry={}))),
    ("type", "name", {"name": 5, "steps": [_step("a")]}),
    ("type", "$schema", _workflow(**{"$schema": 5})),
    ("type", "aux_steps", _workflow(aux_steps=[])),
    ("type", "aux_steps", _workflow(aux_steps={"a": 1})),
    ("type", "version", _workflow(version=1)),
    ("type", "steps", {"name": "w", "steps": {}}),
    ("type", "steps[0]", _workflow("a")),
    ("type", "steps[0].depends_on", _workflow(_step("a", depends_on="b"))),
    ("type", "steps[0].depends_on[0]", _workflow(_step("a", depends_on=[7]))),
    ("type", "steps[0].retries", _workflow(_step("a", retries=True))),
    ("type", "steps[0].retries", _workflow(_step("a", retries=1.5))),
    ("type", "steps[0].retry", _workflow(_step("a", retry=3))),
    ("type", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": "2"})),
    ("type", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": True})),
    ("type", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": 10**400})),
    ("type", "steps[0].on_failure", _workflow(_step("a", on_failure=1))),
    ("range", "steps", {"name": "w", "steps": []}),
    ("range", "steps", _workflow(*[_step(f"s{at}") for at in range(MAX_STEPS + 1)])),
    ("range", "version", _workflow(version="v" * 129)),
    ("range", "steps[0].task", _workflow(_step("a", task="t" * 129))),
    ("range", "steps[0].retries", _workflow(_step("a", retries=-1))),
    ("range", "steps[0].retries", _workflow(_step("a", retries=100_001))),
    ("range", "default_retry.max_attempts", _workflow(default_retry={"max_attempts": -1})),
    ("range", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": 0})),
    ("range", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": float("inf")})),
    ("range", "default_retry.jitter", _workflow(default_retry={**RETRY, "jitter": 1.1})),
    ("unknown-key", "stepz", _workflow(stepz=[])),
    ("unknown-key", "²", _workflow(**{"²": 1})),
    ("unknown-key", "9" * 5_000, _workflow(**{"9" * 5_000: 1})),
    ("unknown-key", "steps[0].dependson", _workflow(_step("a", dependson=[]))),
    ("unknown-key", "steps[0].retry.delay", _workflow(_step("a", retry={**RETRY, "delay": 1}))),
    ("unknown-value", "steps[0].type", _workflow(_step("a", type="lambda"))),
    ("unknown-value", "default_retry.strategy", _workflow(default_retry={**RETRY, "strategy": "random"})),
    ("identifier", "name", {"name": "no dots.here", "steps": [_step("a")]}),
    ("identifier", "steps[0].id", _workflow(_step("a.b"))),
    ("identifier", "steps[0].task", _workflow(_step("a", task="t."))),
    ("duration", "timeout", _workflow(timeout="soon")),
    ("duration", "timeout", _workflow(timeout=-1)),
    ("duration", "steps[0].timeout", _workflow(_step("a", timeout=1.5))),
    ("duration", "steps[0].timeout", _workflow(_step("a", timeout=None))),
    ("duration", "default_retry.max_delay", _workflow(default_retry={**RETRY, "max_delay": "1 s"})),
    ("duplicate-step", "steps[1].id", _workflow(_step("a"), _step("a"))),
    ("duplicate-dependency", "steps[1].depends_on[1]", _workflow(_step("a"), _step("b", "a", "a"))),
    ("self-dependency", "steps[0].depends_on[0]", _workflow(_step("a", "a"))),
    ("unknown-step", "steps[0].depends_on[0]", _workflow(_step("a", "b"))),
    ("unknown-step", "steps[0].on_failure", _workflow(_step("a", on_failure="b"))),
    ("unknown-step", "steps[0].compensate", _workflow(_step("a", compensate="b"))),
    (
        "depends-on-auxiliary",
        "steps[1].depends_on[0]",
        _workflow(_step("a", on_failure="f"), _step("b", "f"), _step("f")),
    ),
    ("self-reference", "steps[1].on_failure", _workflow(_step("b"), _step("a", on_failure="a"))),
    (
        "auxiliary-step",
        "steps[1].on_failure",
        _workflow(_step("a", compensate="f"), _step("f", on_failure="g"), _step("g")),
    ),
    (
        "auxiliary-step",
        "steps[1].compensate",
        _workflow(_step("a", on_failure="f"), _step("f", compensate="g"), _step("g")),
    ),
    ("auxiliary-step", "steps[2].depends_on", _workflow(_step("a", on_failure="f"), _step("b"), _step("f", "b"))),
    ("nothing-to-run", "steps", _workflow(_step("a", on_failure="b"), _step("b", on_failure="a"))),
    ("two-retries", "steps[0].retries", _workflow(_step("a", retry=RETRY, retries=2))),
    ("cycle", "steps[0].depends_on", _workflow(_step("a", "b"), _step("b", "a"))),
]


@pytest.mark.parametrize(("rule", "path", "document"), RULES, ids=lambda value: None if isinstance(value, str) else "")
def test_every_rule_has_a_document_that_breaks_it(rule: str, path: str, document: Any) -> None:
    assert (path, rule) in [(problem.path, problem.rule) for problem in _problems(document)]


# Rules whose breach implies another one, or whose example above breaks two.
_IN_COMPANY = {"nothing-to-run", "self-reference"}


@pytest.mark.parametrize(("rule", "path", "document"), RULES, ids=lambda value: None if isinstance(value, str) else "")
def test_one_mistake_is_one_problem(rule: str, path: str, document: Any) -> None:
    problems = [problem for problem in _problems(document) if problem.rule not in _IN_COMPANY or problem.rule == rule]
    if rule not in _IN_COMPANY:
        assert [(problem.path, problem.rule) for problem in problems] == [(path, rule)]


BROKEN: dict[str, Any] = {
    "nam": "order",
    "version": 2,
    "steps": [
        {"id": "fetch", "task": "fetch..it", "timeout": "-3s"},
        {"id": "load", "depends_on": ["fetchh", "load"], "task": "load"},
        {"id": "load", "task": "load", "retry": {"max_attempts": "3", "stratgy": "fixed"}, "retries": 1},
        {"id": "x", "task": "x", "depends_on": ["y"], "type": "agent"},
        {"id": "y", "task": "y", "depends_on": ["x"]},
        5,
    ],
    "timeout": 1,
}


def test_all_problems_come_at_once_in_document_order(snapshot: SnapshotAssertion) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_definition(BROKEN)
    assert str(caught.value) == snapshot
    assert [(problem.path, problem.rule) for problem in caught.value.problems] == [
        ("nam", "unknown-key"),
        ("name", "required"),
        ("version", "type"),
        ("steps[0].task", "identifier"),
        ("steps[0].timeout", "duration"),
        ("steps[1].depends_on[0]", "unknown-step"),
        ("steps[1].depends_on[1]", "self-dependency"),
        ("steps[2].id", "duplicate-step"),
        ("steps[2].retry.stratgy", "unknown-key"),
        ("steps[2].retry.max_attempts", "type"),
        ("steps[3].depends_on", "cycle"),
        ("steps[3].type", "unknown-value"),
        ("steps[5]", "type"),
        ("timeout", "duration"),
    ]


def test_an_unknown_name_comes_with_the_one_that_was_probably_meant() -> None:
    (problem,) = _problems(_workflow(_step("fetch"), _step("load", "fetchh")))
    assert str(problem) == (
        'steps[1].depends_on[0]: step "load" depends on non-existent step "fetchh"'
        "; did you mean 'fetch'? [unknown-step]"
    )
    assert [problem.hint for problem in _problems(_workflow(_step("a", tmeout=1), schema=1))] == [
        "did you mean '$schema'?",
        "did you mean 'timeout'?",
    ]


LATER_KEYS = [
    "concurrency",
    "input_schema",
    "output_schema",
    "idempotency_key",
    "priority",
    "sticky",
    "singleton",
    "cancel_on",
    "failure_mode",
    "compensate_on",
    "labels",
    "triggers",
]
LATER_STEP_KEYS = [
    "config",
    "skip_if",
    "worker_group",
    "rate_limit",
    "keyed_rate_limit",
    "max_task_concurrency",
    "metadata",
    "priority",
    "required_capabilities",
]
LATER_TYPES = [
    "agent",
    "agent_loop",
    "map",
    "planner",
    "sub_workflow",
    "sleep",
    "wait_for_event",
    "approval",
    "respond",
]


@pytest.mark.parametrize(
    ("path", "rule", "document"),
    [
        *((key, "unknown-key", _workflow(**{key: 1})) for key in LATER_KEYS),
        *((f"steps[0].{key}", "unknown-key", _workflow(_step("a", **{key: 1}))) for key in LATER_STEP_KEYS),
        *(("steps[0].type", "unknown-value", _workflow(_step("a", type=kind))) for kind in LATER_TYPES),
    ],
)
def test_what_a_later_version_will_know_is_not_taken_for_a_typing_error(path: str, rule: str, document: Any) -> None:
    (problem,) = _problems(document)
    assert (problem.path, problem.rule) == (path, rule)
    assert problem.hint == "it comes with a later version"


def test_a_later_key_in_another_place_gets_no_promise() -> None:
    elsewhere = _workflow(_step("a", triggers=[], retry={**RETRY, "priority": 1}), skip_if="x")
    problems = _problems(elsewhere)
    assert [problem.path for problem in problems] == ["skip_if", "steps[0].triggers", "steps[0].retry.priority"]
    assert "it comes with a later version" not in {problem.hint for problem in problems}


@pytest.mark.parametrize("kind", ["agnt", ["agent"], {"agent": 1}, 5])
def test_another_step_type_gets_no_promise(kind: Any) -> None:
    (problem,) = _problems(_workflow(_step("a", type=kind)))
    assert (problem.rule, problem.hint) == ("unknown-value", "")


def test_problems_name_the_workflow_when_its_name_can_be_read() -> None:
    with pytest.raises(DefinitionError, match="workflow 'w' has 1 problem:"):
        load_definition(_workflow(timeout="soon"))
    with pytest.raises(DefinitionError, match="the workflow definition has 2 problems:"):
        load_definition({"name": 3})


def test_a_value_is_shown_cut_to_a_line() -> None:
    (problem,) = _problems(_workflow(version=["x" * 200]))
    assert problem.message.endswith("… is not a string")
    assert len(problem.message) < 90


def test_a_python_value_that_json_cannot_say_is_named_by_its_type() -> None:
    (problem,) = _problems(_workflow(version=object()))
    assert problem.message == "a object is not a string"


def test_a_cycle_is_told_in_the_order_in_which_its_steps_would_run() -> None:
    (problem,) = _problems(_workflow(_step("a", "c"), _step("b", "a"), _step("c", "b"), _step("d", "c"), _step("e")))
    assert problem.message == "the steps form a cycle: a → b → c → a"


def test_each_knot_of_cycles_is_reported_once() -> None:
    problems = _problems(
        _workflow(_step("a", "b"), _step("b", "a"), _step("x", "y", "a"), _step("y", "x"), _step("z", "y", "b"))
    )
    assert [problem.message for problem in problems] == [
        "the steps form a cycle: a → b → a",
        "the steps form a cycle: x → y → x",
    ]


def _chain(length: int) -> list[dict[str, Any]]:
    return [_step("s0"), *(_step(f"s{at}", f"s{at - 1}") for at in range(1, length))]


def _seconds_to(document: dict[str, Any]) -> tuple[float, list[Problem]]:
    began = time.perf_counter()
    problems = check(document)
    return time.perf_counter() - began, problems


def test_ten_thousand_steps_are_checked_within_a_second() -> None:
    seconds, problems = _seconds_to(_workflow(*_chain(MAX_STEPS)))
    assert problems == []
    assert seconds < 1


def test_a_cycle_through_ten_thousand_steps_is_found_and_told_shortly() -> None:
    steps = _chain(MAX_STEPS)
    steps[0]["depends_on"] = [f"s{MAX_STEPS - 1}"]
    seconds, (problem,) = _seconds_to(_workflow(*steps))
    assert problem.rule == "cycle"
    assert problem.message.startswith("the steps form a cycle: s0 → s1 → s2 →")
    assert "→ … 9977 more … →" in problem.message
    assert problem.message.endswith("→ s9999 → s0")
    assert seconds < 1


def test_a_thousand_unknown_names_do_not_take_minutes() -> None:
    seconds, problems = _seconds_to(_workflow(*(_step(f"step{at}", f"stpe{at}") for at in range(5_000))))
    assert len(problems) == 5_000
    assert problems[0].hint
    assert seconds < 3


@given(mutated_documents())
def test_a_broken_document_raises_definition_error_and_nothing_else(document: Any) -> None:
    given: list[dict[str, Any] | str] = [json.dumps(document)]
    given += [document] if isinstance(document, dict) else []
    for data in given:
        definition, problems = _loaded(data)
        assert (definition is None) == bool(problems)
        "".join(map(str, problems)).encode()  # half a surrogate pair would break every place that shows it
        if definition is not None:
            assert load_definition(definition.to_json()) == definition


def _loaded(data: dict[str, Any] | str) -> tuple[WorkflowDef | None, tuple[Problem, ...]]:
    try:
        return load_definition(data), ()
    except DefinitionError as error:
        return None, error.problems


@given(JSON_VALUES)
def test_no_json_raises_anything_but_definition_error(value: Any) -> None:
    with pytest.raises(DefinitionError):
        load_definition(json.dumps(value))


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_no_bytes_raise_anything_but_definition_error(data: bytes | str) -> None:
    with pytest.raises(DefinitionError):
        load_definition(data)


@pytest.mark.parametrize("depth", [50, 300, 600, 900, 950, 970, 980, 990, 1_000])
def test_nested_values_of_any_depth_raise_nothing_but_definition_error(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for data in (f'{{"name": {nested}}}', f'{{"name": "w", "steps": [{{"id": {nested}}}]}}'):
        assert _problems(data)


@given(valid_documents())
def test_a_valid_document_has_no_problems(document: dict[str, Any]) -> None:
    assert check(document) == []
