"""What differs between two definitions: told completely, briefly, and without secrets."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dagnats.cli.difference import change_document, change_line, changes
from dagnats.model.check import load_definition

_STEP: dict[str, Any] = {"id": "charge", "task": "payment.charge"}
_HOOK: dict[str, Any] = {"id": "hook", "webhook": {"path": "/hooks/order", "secret": "first"}}


def _lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [change_line(change) for change in _changes(before, after)]


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[Any]:
    old, new = ({"name": "order", "steps": [_STEP], **part} for part in (before, after))
    return changes(load_definition(old), load_definition(new))


def _step(**settings: Any) -> dict[str, Any]:
    return {"steps": [{**_STEP, **settings}]}


def test_a_definition_does_not_differ_from_itself() -> None:
    assert _lines(_step(timeout="60s"), _step(timeout="1m")) == []


def test_a_changed_setting_is_told_with_both_values() -> None:
    assert _lines(_step(timeout="30s"), _step(timeout="60s")) == ["~ charge.timeout 30s → 1m"]
    retry = {"max_attempts": 3, "strategy": "fixed", "initial_delay": "1s"}
    assert _lines(_step(retry=retry), _step(retry={**retry, "max_attempts": 5})) == [
        "~ charge.retry.max_attempts 3 → 5"
    ]


def test_a_setting_that_came_or_went_is_told_with_its_value() -> None:
    assert _lines({}, _step(timeout="30s")) == ["+ charge.timeout 30s"]
    assert _lines({"labels": {"team": "blue"}}, {}) == ['- labels {"team": "blue"}']


def test_steps_that_came_and_went_are_told_by_name() -> None:
    audit = {"id": "audit", "task": "audit"}
    assert _lines({}, {"steps": [_STEP, audit]}) == ["+ step audit"]
    assert _lines({"steps": [audit, _STEP]}, {}) == ["- step audit"]


def test_only_the_order_of_steps_may_differ() -> None:
    steps = [_STEP, {"id": "audit", "task": "audit"}, {"id": "ship", "task": "ship"}]
    assert _lines({"steps": steps}, {"steps": [steps[1], steps[0], steps[2]]}) == ["~ order of steps"]
    assert _lines({"steps": steps}, {"steps": steps[1:]}) == ["- step charge"]


def test_triggers_are_told_by_id_and_their_secrets_never() -> None:
    other = {**_HOOK, "webhook": {**_HOOK["webhook"], "secret": "second"}}
    assert _lines({"triggers": [_HOOK]}, {"triggers": [other]}) == ["~ trigger.hook.webhook.secret … → …"]
    added = _changes({}, {"triggers": [_HOOK]})
    assert [change_line(change) for change in added] == ["+ trigger hook"]
    assert change_document(added[0]) == {
        "change": "added",
        "what": "trigger hook",
        "after": {"id": "hook", "webhook": {"path": "/hooks/order", "secret": "…"}},
    }


def test_texts_that_look_like_other_values_keep_their_quotes() -> None:
    assert _lines({"version": "1.0"}, {"version": "1.0.1"}) == ['~ version "1.0" → 1.0.1']
    assert _lines({"version": "two words"}, {"version": "null"}) == ['~ version "two words" → "null"']


def test_values_that_are_equal_to_python_differ_when_they_are_written_differently() -> None:
    def schema(value: Any) -> dict[str, Any]:
        return {"input_schema": {"const": value}}

    assert _lines(schema(1), schema(True)) == ["~ input_schema.const 1 → true"]
    assert _lines(schema(None), schema(0)) == ["~ input_schema.const null → 0"]
    assert _lines({"input_schema": {}}, schema(None)) == ["+ input_schema.const null"]
    assert _changes(schema(None), {"input_schema": {}})[0].before is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab \n", max_size=2),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.sampled_from("ab."), inside, max_size=2),
    max_leaves=5,
)


@given(_VALUES, _VALUES)
def test_there_are_differences_exactly_when_there_is_another_identity(one: Any, other: Any) -> None:
    old, new = (
        load_definition({"name": "w", "steps": [_STEP], "input_schema": {"default": value}}) for value in (one, other)
    )
    assert bool(changes(old, new)) == (old.identity != new.identity)
    assert all("\n" not in change_line(change) for change in changes(old, new))
