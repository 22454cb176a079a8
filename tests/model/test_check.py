"""Validation: every rule has a failing example, all problems come at once, nothing else ever comes out."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from drawn import JSON_VALUES, mutated_documents, valid_documents
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from dagnats.errors import DefinitionError, Problem
from dagnats.model.check import check, load_definition
from dagnats.model.definition import MAX_BYTES, MAX_STEPS, WorkflowDef
from dagnats.model.rule import RULES


def _step(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    return {"id": step_id, "task": "t", **({"depends_on": list(needs)} if needs else {}), **settings}


def _workflow(*steps: Any, **settings: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps) or [_step("a")], **settings}


def _problems(data: Any) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        load_definition(data)
    return caught.value.problems


def _after_a(**settings: Any) -> dict[str, Any]:
    return _workflow(_step("a"), _step("b", "a", **settings))


def _typed(kind: str, **config: Any) -> dict[str, Any]:
    return _workflow({"id": "a", "type": kind, "config": config})


def _match(right: Any, op: str = "eq") -> dict[str, Any]:
    return {"left": "x", "op": op, "right": right}


def _wait(right: Any, *, op: str = "eq", timeout: str = "1h") -> dict[str, Any]:
    return _typed("wait_for_event", event="e", timeout=timeout, match=_match(right, op))


def _trigger(**settings: Any) -> dict[str, Any]:
    return _workflow(triggers=[{"id": "t", **settings}])


RETRY = {"max_attempts": 1}
GROWING = {"max_attempts": 1, "strategy": "exponential"}
LOOP = {"max_iterations": 1}
KEYED = {"key": "id", "limit": 1, "period": "1s"}
IF_A = {"step_id": "a", "field": "x", "op": "==", "value": 1}
PLAN_ANYTHING = {"max_steps": 1, "allowed_tasks": ["*"]}
GET = {"path": "/api", "method": "GET"}
KEY = {"name": "k", "type": "apiKey"}

BREACHES: list[tuple[str, str, Any]] = [
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
    ("range", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": -1})),
    (
        "range",
        "default_retry.multiplier",
        _workflow(default_retry={**RETRY, "multiplier": 0, "strategy": "exponential"}),
    ),
    ("range", "default_retry.multiplier", _workflow(default_retry={**RETRY, "multiplier": float("inf")})),
    ("range", "default_retry.jitter", _workflow(default_retry={**RETRY, "jitter": 1.1})),
    ("unknown-key", "stepz", _workflow(stepz=[])),
    ("unknown-key", '["a.b[0]"]', _workflow(**{"a.b[0]": 1})),
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
    ("auxiliary-step", "steps[2].skip_if", _workflow(_step("a", on_failure="f"), _step("b"), _step("f", skip_if=IF_A))),
    (
        "unreachable-auxiliary",
        "steps[0].compensate",
        _workflow(_step("a", compensate="c", on_failure="c"), _step("c"), compensate_on=[]),
    ),
    ("two-retries", "steps[0].retries", _workflow(_step("a", retry=RETRY, retries=2))),
    ("cycle", "steps[0].depends_on", _workflow(_step("a", "b"), _step("b", "a"))),
    # -- the keys of a workflow
    ("type", "concurrency", _workflow(concurrency=5)),
    ("range", "concurrency.max_runs", _workflow(concurrency={"max_runs": -1})),
    ("range", "concurrency.max_steps", _workflow(concurrency={"max_steps": 1001})),
    ("dot-path", "concurrency.key", _workflow(concurrency={"key": ".id"})),
    ("dot-path", "idempotency_key", _workflow(idempotency_key="id.")),
    ("dot-path", "idempotency_key", _workflow(idempotency_key="")),
    ("dot-path", "idempotency_key", _workflow(idempotency_key="a\\b")),
    ("range", "idempotency_key", _workflow(idempotency_key="k" * 1025)),
    ("dot-path", "priority.key", _workflow(priority={"key": "", "rules": {"a": 1}})),
    ("range", "priority.rules", _workflow(priority={"key": "a", "rules": {}})),
    ("range", "priority.rules", _workflow(priority={"key": "a", "rules": {str(at): at for at in range(21)}})),
    ("range", "priority.rules.a", _workflow(priority={"key": "a", "rules": {"a": 601}})),
    ("range", "priority.default_offset", _workflow(priority={"key": "a", "rules": {"a": 1}, "default_offset": -601})),
    ("unknown-value", "sticky", _workflow(sticky="firm")),
    ("sticky-timeout", "sticky", _workflow(sticky="hard", timeout="0s")),
    ("duration", "timeout", _workflow(sticky="hard", timeout="soon")),
    ("sticky-group", "steps[0].worker_group", _workflow(_step("a", worker_group="g"), sticky="hard", timeout="1h")),
    ("unknown-value", "singleton.mode", _workflow(singleton={"mode": "queue"})),
    ("required", "singleton.mode", _workflow(singleton={})),
    ("range", "cancel_on", _workflow(cancel_on=[{"event": "e"}] * 6)),
    ("subject", "cancel_on[0].event", _workflow(cancel_on=[{"event": ""}])),
    (
        "match-right",
        "cancel_on[0].match.right",
        _workflow(cancel_on=[{"event": "e", "match": _match("step.a.output.x")}]),
    ),
    ("unknown-value", "failure_mode", _workflow(failure_mode="continue")),
    ("unknown-value", "compensate_on[0]", _workflow(compensate_on=["success"])),
    ("type", "labels.team", _workflow(labels={"team": 1})),
    ("type", "input_schema", _workflow(input_schema="object")),
    ("schema", "output_schema.minimum", _workflow(output_schema={"minimum": "1"})),
    ("json", "input_schema", _workflow(input_schema={"minimum": float("inf")})),
    ("json", "input_schema", _workflow(input_schema={"minimum": 10**5000})),
    ("json", "input_schema", _workflow(input_schema={"title": "\ud800"})),
    ("json", "output_schema", _workflow(output_schema={1: 2})),
    # -- the keys of a step
    ("unknown-value", "steps[0].type", _workflow(_step("a", type=["agent"]))),
    ("config", "steps[0].config", _workflow(_step("a", type="agent", config={"x": 1}))),
    ("required", "steps[0].config", _workflow(_step("a", type="agent_loop"))),
    ("required", "steps[0].config.max_iterations", _workflow(_step("a", type="agent_loop", config={}))),
    ("range", "steps[0].loop.max_iterations", _workflow(_step("a", type="agent_loop", loop={"max_iterations": 0}))),
    ("unknown-key", "steps[0].loop", _workflow(_step("a", loop={}))),
    ("unknown-key", "steps[0].loop", _workflow(_step("a", type="agent_loop", loop=LOOP, config=LOOP))),
    ("identifier", "steps[0].worker_group", _workflow(_step("a", worker_group="a.b"))),
    ("range", "steps[0].rate_limit.limit", _workflow(_step("a", rate_limit={"limit": 0, "period": "1s"}))),
    ("range", "steps[0].rate_limit.period", _workflow(_step("a", rate_limit={"limit": 1, "period": 0}))),
    ("dot-path", "steps[0].keyed_rate_limit.key", _workflow(_step("a", keyed_rate_limit={**KEYED, "key": ""}))),
    ("range", "steps[0].keyed_rate_limit.units", _workflow(_step("a", keyed_rate_limit={**KEYED, "units": 0}))),
    ("type", "steps[0].keyed_rate_limit.units", _workflow(_step("a", keyed_rate_limit={**KEYED, "units": "2"}))),
    (
        "type",
        "steps[0].keyed_rate_limit.limit",
        _workflow(_step("a", keyed_rate_limit={**KEYED, "limit": True, "units": 2})),
    ),
    ("range", "steps[0].max_task_concurrency", _workflow(_step("a", max_task_concurrency=1001))),
    ("type", "steps[0].metadata.a", _workflow(_step("a", metadata={"a": None}))),
    ("type", "steps[0].metadata", _workflow(_step("a", metadata=[]))),
    ("unknown-value", "steps[0].required_capabilities[0]", _workflow(_step("a", required_capabilities=["root"]))),
    # -- conditions
    ("unknown-step", "steps[0].skip_if.step_id", _workflow(_step("a", skip_if={**IF_A, "step_id": "b"}))),
    ("condition-step", "steps[1].skip_if.any[1].step_id", _after_a(skip_if={"any": [IF_A, {**IF_A, "step_id": "b"}]})),
    ("required", "steps[1].skip_if.op", _after_a(skip_if={"step_id": "a", "field": "x", "value": 1})),
    ("unknown-value", "steps[1].skip_if.op", _after_a(skip_if={**IF_A, "op": "="})),
    ("type", "steps[1].skip_if.value", _after_a(skip_if={**IF_A, "value": [1]})),
    ("json", "steps[1].skip_if.value", _after_a(skip_if={**IF_A, "value": float("nan")})),
    ("unknown-key", "steps[1].skip_if.all[0].valu", _after_a(skip_if={"all": [{**IF_A, "valu": 1}]})),
    ("range", "steps[1].skip_if.all", _after_a(skip_if={"all": []})),
    ("unknown-key", "steps[1].skip_if.all", _after_a(skip_if={"all": [IF_A], "any": [IF_A]})),
    ("type", "steps[1].skip_if.all", _after_a(skip_if={"all": IF_A})),
    ("type", "steps[1].skip_if", _after_a(skip_if=True)),
    # -- maps, planners, child runs
    ("map-dependency", "steps[2].depends_on", _workflow(_step("a"), _step("b"), _step("c", "a", "b", type="map"))),
    ("range", "steps[1].config.max_items", _after_a(type="map", config={"max_items": 10_001})),
    ("unknown-value", "steps[1].config.on_item_failure", _after_a(type="map", config={"on_item_failure": "skip"})),
    ("type", "steps[1].config", _after_a(type="map", config=None)),
    ("range", "steps[0].config.max_steps", _workflow(_step("a", type="planner", config={"max_steps": 101}))),
    (
        "range",
        "steps[0].config.max_depth",
        _workflow(_step("a", type="planner", config={"max_steps": 1, "max_depth": 11})),
    ),
    ("identifier", "steps[0].config.allowed_tasks[0]", _workflow(_step("a", type="planner", config=PLAN_ANYTHING))),
    ("identifier", "steps[0].config.workflow", _typed("sub_workflow", workflow="")),
    ("type", "steps[0].config.detach", _typed("sub_workflow", workflow="w", detach=1)),
    # -- sleeps
    ("sleep-form", "steps[0].config", _typed("sleep")),
    ("sleep-form", "steps[0].config", _typed("sleep", duration=None)),
    ("range", "steps[0].config.duration", _typed("sleep", duration=0)),
    ("range", "steps[0].config.duration", _typed("sleep", duration="366d")),
    ("timezone", "steps[0].config.timezone", _typed("sleep", duration="1h", timezone="UTC")),
    ("timezone", "steps[0].config.timezone", _typed("sleep", cron="0 9 * * 1", timezone="../UTC")),
    ("timezone", "steps[0].config.timezone", _typed("sleep", cron="0 9 * * 1", timezone="America")),
    ("cron", "steps[0].config.cron", _typed("sleep", cron="61 * * * *")),
    ("cron", "steps[0].config.cron", _typed("sleep", cron="1,,2 * * * *")),
    ("cron", "steps[0].config.cron", _typed("sleep", cron="@daily")),
    ("cron", "steps[0].config.cron", _typed("sleep", cron="0 9 * * " + ",".join("1" * 200))),
    ("dot-path", "steps[0].config.until_input_path", _typed("sleep", until_input_path="..")),
    ("type", "steps[0].config", _workflow({"id": "a", "type": "sleep", "config": 5})),
    # -- waits
    ("required", "steps[0].config.match", _typed("wait_for_event", event="e", timeout="1h")),
    ("range", "steps[0].config.timeout", _wait("input.x", timeout="0")),
    ("unknown-value", "steps[0].config.match.op", _wait("input.x", op="==")),
    ("match-right", "steps[0].config.match.right", _wait("input..x")),
    ("match-right", "steps[0].config.match.right", _wait("")),
    ("match-right", "steps[0].config.match.right", _wait(5)),
    ("match-right", "steps[0].config.match.right", _wait("step.b")),
    ("match-right", "steps[0].config.match.right", _wait("step.b.result.x")),
    ("unknown-step", "steps[0].config.match.right", _wait("step.b.output.x")),
    ("self-reference", "steps[0].config.match.right", _wait("step.a.output.x")),
    ("required", "steps[0].config.match.right.value", _wait({})),
    # -- approvals, responses
    ("range", "steps[0].config.timeout", _typed("approval", subject="s", timeout="169h")),
    ("required", "steps[0].config.subject", _typed("approval", timeout="1h")),
    ("subject", "steps[0].config.subject", _typed("approval", timeout="1h", subject="a.>")),
    ("schema", "steps[0].config.form.type", _typed("approval", timeout="1h", subject="s", form={"type": "text"})),
    ("type", "steps[0].config.form", _typed("approval", timeout="1h", subject="s", form=[])),
    ("range", "steps[0].config.status", _typed("respond", status=199)),
    ("type", "steps[0].config.status", _typed("respond", status=False)),
    ("identifier", "steps[0].config.headers.a b", _typed("respond", headers={"a b": "x"})),
    ("type", "steps[0].config.headers.a", _typed("respond", headers={"a": 1})),
    # -- triggers
    ("type", "triggers[0]", _workflow(triggers=["0 9 * * *"])),
    ("required", "triggers[0].id", _workflow(triggers=[{"webhook": {"path": "/"}}])),
    ("identifier", "triggers[0].id", _trigger(id="a.b", webhook={"path": "/"})),
    ("trigger-kind", "triggers[0]", _trigger(webhook={"path": "/"}, subject={"subject": "a"})),
    ("trigger-workflow", "triggers[0].workflow_id", _trigger(workflow_id=None, webhook={"path": "/"})),
    ("type", "triggers[0].enabled", _trigger(enabled="yes", webhook={"path": "/"})),
    ("cron", "triggers[0].cron.expression", _trigger(cron={"expression": "* * * * * *"})),
    ("timezone", "triggers[0].cron.timezone", _trigger(cron={"expression": "* * * * *", "timezone": "Local"})),
    ("subject", "triggers[0].subject.subject", _trigger(subject={"subject": "a.>.b"})),
    ("url-path", "triggers[0].http.path", _trigger(http={"path": "/api/*", "method": "GET"})),
    ("unknown-value", "triggers[0].http.method", _trigger(http={"path": "/", "method": "HEAD"})),
    ("range", "triggers[0].http.timeout_ms", _trigger(http={"path": "/", "method": "GET", "timeout_ms": 0})),
    ("range", "triggers[0].http.secret", _trigger(http={"path": "/", "method": "GET", "secret": "s" * 15})),
    ("identifier", "triggers[0].http.idempotency_header", _trigger(http={**GET, "idempotency_header": "a:"})),
    (
        "unknown-value",
        "triggers[0].http.authentication.in",
        _trigger(http={**GET, "authentication": {**KEY, "in": "body"}}),
    ),
    ("identifier", "triggers[0].external.kind", _trigger(external={"kind": ""})),
    ("json", "triggers[0].external.config", _trigger(external={"kind": "k", "config": {"a": object()}})),
    ("debounce", "triggers[0].debounce", _trigger(cron={"expression": "* * * * *"}, debounce={"period": "1s"})),
    ("range", "triggers[0].debounce.period", _trigger(webhook={"path": "/"}, debounce={"period": "8d"})),
    (
        "duplicate-trigger",
        "triggers[1].http.path",
        _workflow(triggers=[{"id": "a", "http": GET}, {"id": "b", "http": GET}]),
    ),
    (
        "duplicate-trigger",
        "triggers[1].webhook.path",
        _workflow(triggers=[{"id": "a", "webhook": {"path": "/"}}, {"id": "b", "webhook": {"path": "/"}}]),
    ),
]


@pytest.mark.parametrize(
    ("rule", "path", "document"), BREACHES, ids=lambda value: None if isinstance(value, str) else ""
)
def test_one_mistake_is_one_problem(rule: str, path: str, document: Any) -> None:
    assert [(problem.path, problem.rule) for problem in _problems(document)] == [(path, rule)]
    assert rule in RULES


def test_every_problem_reads_well(snapshot: SnapshotAssertion) -> None:
    said = [str(problem) for _, _, document in BREACHES for problem in _problems(document)]
    assert "steps[0].retries: -1 is less than 0 [range]" in said
    assert "\n".join(line if len(line) < 400 else line[:400] + "…" for line in said) == snapshot


BROKEN: dict[str, Any] = {
    "nam": "order",
    "version": 2,
    "steps": [
        {"id": "fetch", "task": "fetch..it", "timeout": "-3s"},
        {"id": "load", "depends_on": ["fetchh", "load"], "task": "load"},
        {"id": "load", "task": "load", "retry": {"max_attempts": "3", "stratgy": "fixed"}, "retries": 1},
        {"id": "x", "task": "x", "depends_on": ["y"], "type": "agnt", "config": 5},
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
        ("name", "required"),
        ("nam", "unknown-key"),
        ("version", "type"),
        ("steps[0].task", "identifier"),
        ("steps[0].timeout", "duration"),
        ("steps[1].depends_on[0]", "unknown-step"),
        ("steps[1].depends_on[1]", "self-dependency"),
        ("steps[2].id", "duplicate-step"),
        ("steps[2].retry.max_attempts", "type"),
        ("steps[2].retry.stratgy", "unknown-key"),
        ("steps[2].retries", "two-retries"),
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


@pytest.mark.parametrize(
    ("path", "hint", "document"),
    [
        ("schema", "did you mean '$schema'?", _workflow(schema=1)),
        ("trigger", "did you mean 'triggers'?", _workflow(trigger=[])),
        ("steps[0].tmeout", "did you mean 'timeout'?", _workflow(_step("a", tmeout=1))),
        ("steps[0].type", "did you mean 'sub_workflow'?", _workflow(_step("a", type="subworkflow"))),
        ("steps[0].type", "", _workflow(_step("a", type="?"))),
        ("steps[1].max_items", "it belongs into `config`", _after_a(type="map", max_items=5)),
        ("steps[0].config.retry", "it belongs to the step, beside `config`", _typed("respond", retry=RETRY)),
        ("triggers[0].http.pth", "did you mean 'path'?", _trigger(http={**GET, "pth": 1})),
        ("steps[1].skip_if.all[0].valu", "did you mean 'value'?", _after_a(skip_if={"all": [{**IF_A, "valu": 1}]})),
        (
            "steps[1].skip_if.all",
            "put one of `any` and `all` into the other",
            _after_a(skip_if={"any": [IF_A], "all": []}),
        ),
        ("steps[1].skip_if.some", "", _after_a(skip_if={"any": [IF_A], "some": [IF_A]})),
        ("steps[0].config.match.right.vlue", "did you mean 'value'?", _wait({"value": 1, "vlue": 1})),
        (
            "steps[0].skip_if.step_id",
            "did you mean 'fetch'?",
            _workflow(_step("b", skip_if={**IF_A, "step_id": "fetchh"}), _step("fetch")),
        ),
    ],
)
def test_what_was_probably_meant_is_told(path: str, hint: str, document: Any) -> None:
    (problem,) = _problems(document)
    assert (problem.path, problem.hint) == (path, hint)


def test_a_step_of_no_known_type_is_checked_as_far_as_all_types_agree() -> None:
    step = {"id": "a", "type": "sleeep", "config": {"duration": 1}, "timeout": "soon", "tmeout": 1}
    assert [problem.path for problem in _problems(_workflow(step))] == [
        "steps[0].type",
        "steps[0].timeout",
        "steps[0].tmeout",
    ]


def test_secrets_are_not_told() -> None:
    short, elsewhere = _trigger(http={**GET, "secret": "hunter2"}), _workflow(triggers={"secret": 'a"hunter2'})
    said = [str(problem) for document in (short, elsewhere) for problem in _problems(document)]
    assert said == [
        "triggers[0].http.secret: the secret is shorter than 16 characters [range]",
        'triggers: {"secret": "…"} is not a list [type]',
    ]


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
    """The processor's seconds: other processes do not count. The bounds below are thrice what is wanted, or more."""
    began = time.process_time()
    problems = check(document)
    return time.process_time() - began, problems


def test_ten_thousand_steps_are_checked_within_a_second() -> None:
    seconds, problems = _seconds_to(_workflow(*_chain(MAX_STEPS)))
    assert problems == []
    assert seconds < 3


def test_ten_thousand_wrong_steps_are_told_within_seconds() -> None:
    steps = [{**step, "tmeout": 1, "skip_if": {**IF_A, "step_id": "x"}, "type": "maap"} for step in _chain(MAX_STEPS)]
    seconds, problems = _seconds_to(_workflow(*steps))
    assert len(problems) == 3 * MAX_STEPS
    assert seconds < 9


def test_thousands_of_schemas_that_are_alike_take_no_time() -> None:
    ask = {"type": "approval", "config": {"timeout": "1h", "subject": "s", "form": {"type": "object"}}}
    seconds, problems = _seconds_to(_workflow(*({"id": f"s{at}", **ask} for at in range(5_000))))
    assert problems == []
    assert seconds < 3


def test_a_cycle_through_ten_thousand_steps_is_found_and_told_shortly() -> None:
    steps = _chain(MAX_STEPS)
    steps[0]["depends_on"] = [f"s{MAX_STEPS - 1}"]
    seconds, (problem,) = _seconds_to(_workflow(*steps))
    assert problem.rule == "cycle"
    assert problem.message.startswith("the steps form a cycle: s0 → s1 → s2 →")
    assert "→ … 9977 more … →" in problem.message
    assert problem.message.endswith("→ s9999 → s0")
    assert seconds < 3


def test_a_thousand_unknown_names_do_not_take_minutes() -> None:
    seconds, problems = _seconds_to(_workflow(*(_step(f"step{at}", f"stpe{at}") for at in range(5_000))))
    assert len(problems) == 5_000
    assert problems[0].hint
    assert not problems[-1].hint
    assert seconds < 9


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
