"""The Go dialect: integers of nanoseconds, what Go must be told, and a refusal of every extension."""

from __future__ import annotations

import json
from typing import Any

import pytest
from document import GO_NAMES, document
from drawn import valid_documents
from hypothesis import given

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.definition import WorkflowDef

GO_ORDER = b"""{
  "name": "order",
  "version": "1",
  "steps": [
    {
      "id": "reserve",
      "task": "inventory.reserve",
      "timeout": 90000000000,
      "retry": {
        "max_attempts": 1,
        "initial_delay": 1000000,
        "multiplier": 2.0
      },
      "compensate": "release"
    },
    {
      "id": "release",
      "task": "inventory.release"
    }
  ],
  "aux_steps": {
    "release": true
  }
}
"""


def _go(*steps: dict[str, Any], **settings: Any) -> dict[str, Any]:
    listed = list(steps) or [{"id": "a", "task": "t"}]
    return json.loads(load_definition({"name": "w", "steps": listed, **settings}).to_json("go"))


def _engine_run(kind: str, **config: Any) -> dict[str, Any]:
    return {"id": "a", "type": kind, **({"config": config} if config else {})}


def test_the_go_dialect_has_nanoseconds_auxiliary_steps_and_no_schema() -> None:
    retry = {"max_attempts": 1, "initial_delay": "1ms"}
    reserve = {"id": "reserve", "task": "inventory.reserve", "timeout": "90s", "retry": retry, "compensate": "release"}
    steps = [reserve, {"id": "release", "task": "inventory.release"}]
    assert load_definition({"name": "order", "steps": steps}).to_json("go") == GO_ORDER


def test_auxiliary_steps_are_named_only_when_there_are_some() -> None:
    assert _go(aux_steps={"a": True}) == {"name": "w", "version": "1", "steps": [{"id": "a", "task": "t"}]}


def test_what_go_does_not_add_by_itself_is_written_out() -> None:
    keyed = {"key": "id", "limit": 1, "period": "1s"}
    http = {"id": "h", "http": {"path": "/api", "method": "GET"}}
    written = _go(
        {"id": "f", "task": "t"},
        {"id": "m", "type": "map", "task": "t", "depends_on": ["f"], "keyed_rate_limit": keyed},
        {"id": "r", "type": "respond"},
        triggers=[http],
    )
    assert written["steps"][1]["config"] == {"max_items": 1000}
    assert written["steps"][1]["keyed_rate_limit"] == {"key": "id", "limit": 1, "period": 1_000_000_000, "units": 1}
    assert written["steps"][2]["config"] == {}
    assert written["triggers"][0] == {
        "id": "h",
        "enabled": True,
        "http": {"path": "/api", "method": "GET", "timeout_ms": 30_000, "max_body_bytes": 1_048_576},
    }


def test_names_that_python_cannot_spell_keep_their_own() -> None:
    key = {"name": "key", "type": "apiKey", "in": "header"}
    trigger = {"id": "h", "http": {"path": "/api", "method": "GET", "authentication": key}}
    assert _go(triggers=[trigger])["triggers"][0]["http"]["authentication"] == key


@pytest.mark.parametrize("name", GO_NAMES)
def test_the_go_dialect_loads_to_the_same_definition(name: str) -> None:
    definition = load_definition(document(name))
    assert load_definition(definition.to_json("go")) == definition


AFTER_A = {"id": "b", "task": "t", "depends_on": ["a"]}
IF_A = {"step_id": "a", "field": "x", "op": "==", "value": 1}
WAIT: dict[str, Any] = {"event": "e", "timeout": "1h", "match": {"left": "x", "op": "eq", "right": "input.x"}}
CRON = {"id": "c", "cron": {"expression": "0 9 * * MON"}}


def _wait(**match: Any) -> dict[str, Any]:
    return _engine_run("wait_for_event", **WAIT | {"match": WAIT["match"] | match})


EXTENSIONS: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
    ("concurrency.key", [], {"concurrency": {"key": "id"}}),
    ("failure_mode", [], {"failure_mode": "drain"}),
    ("compensate_on", [], {"compensate_on": ["failure"]}),
    ("labels", [], {"labels": {"a": "b"}}),
    ("default_retry.jitter", [], {"default_retry": {"max_attempts": 1, "jitter": 0.5}}),
    ("triggers[0].cron.expression", [], {"triggers": [CRON]}),
    ("cancel_on[0].match.op", [], {"cancel_on": [{"event": "e", "match": WAIT["match"] | {"op": "in"}}]}),
    ("steps[0].queue_timeout", [{"id": "a", "task": "t", "queue_timeout": "1s"}], {}),
    ("steps[0].heartbeat_timeout", [{"id": "a", "task": "t", "heartbeat_timeout": "1s"}], {}),
    ("steps[0].priority", [{"id": "a", "task": "t", "priority": 1}], {}),
    ("steps[1].skip_if", [{"id": "a", "task": "t"}, AFTER_A | {"skip_if": {"any": [IF_A]}}], {}),
    ("steps[1].skip_if", [{"id": "a", "task": "t"}, AFTER_A | {"skip_if": {"all": [IF_A]}}], {}),
    ("steps[1].skip_if.field", [{"id": "a", "task": "t"}, AFTER_A | {"skip_if": IF_A | {"field": "x.y"}}], {}),
    (
        "steps[1].config.max_parallel",
        [{"id": "a", "task": "t"}, AFTER_A | {"type": "map", "config": {"max_parallel": 1}}],
        {},
    ),
    (
        "steps[1].config.on_item_failure",
        [{"id": "a", "task": "t"}, AFTER_A | {"type": "map", "config": {"on_item_failure": "collect"}}],
        {},
    ),
    ("steps[0].config.timezone", [_engine_run("sleep", cron="0 9 * * 1", timezone="Europe/Berlin")], {}),
    ("steps[0].config.cron", [_engine_run("sleep", cron="1-5/2 * * * *")], {}),
    ("steps[0].config.lookback", [_engine_run("wait_for_event", **WAIT, lookback="1h")], {}),
    ("steps[0].config.match.op", [_wait(op="ne")], {}),
    ("steps[0].config.match.right", [_wait(right={"value": 1})], {}),
    ("steps[0].config.form", [_engine_run("approval", timeout="1h", subject="s", form=True)], {}),
]


@pytest.mark.parametrize(("path", "steps", "settings"), EXTENSIONS)
def test_the_use_of_an_extension_is_refused_by_name(
    path: str, steps: list[dict[str, Any]], settings: dict[str, Any]
) -> None:
    with pytest.raises(DefinitionError) as caught:
        _go(*steps, **settings)
    assert [(problem.path, problem.rule) for problem in caught.value.problems] == [(path, "extension")]
    assert caught.value.name == "w"


def test_all_extensions_are_named_at_once_in_document_order() -> None:
    with pytest.raises(DefinitionError, match="workflow 'every-key' uses what the Go engine has not") as caught:
        load_definition(document("every-key")).to_json("go")
    assert [problem.path for problem in caught.value.problems] == [
        "steps[0].queue_timeout",
        "steps[0].heartbeat_timeout",
        "steps[0].retry.jitter",
        "steps[0].priority",
        "steps[1].config.max_parallel",
        "steps[1].config.on_item_failure",
        "steps[2].skip_if",
        "steps[2].skip_if.any[0].field",
        "steps[2].skip_if.any[1]",
        "steps[2].skip_if.any[1].all[0].field",
        "steps[7].config.timezone",
        "steps[9].config.match.op",
        "steps[9].config.match.right",
        "steps[9].config.lookback",
        "steps[10].config.form",
        "concurrency.key",
        "failure_mode",
        "compensate_on",
        "labels",
    ]


@given(valid_documents())
def test_what_the_go_dialect_writes_has_no_durations_in_words_and_loads_to_the_same(document: dict[str, Any]) -> None:
    definition = load_definition(document)
    written, rules = _written(definition)
    if written is None:
        assert rules == {"extension"}
        return
    assert load_definition(written) == definition
    value = json.loads(written)
    assert "$schema" not in value
    assert value.get("aux_steps", {}) == dict.fromkeys(definition.auxiliary, True)
    assert all(isinstance(step.get("timeout", 0), int) for step in value["steps"])


def _written(definition: WorkflowDef) -> tuple[bytes | None, set[str]]:
    try:
        return definition.to_json("go"), set()
    except DefinitionError as error:
        return None, {problem.rule for problem in error.problems}
