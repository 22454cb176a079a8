"""Steps that are left out because of what an earlier one returned."""

from __future__ import annotations

from typing import Any

import pytest
from history import History, graph, step

from dagnats.model.event import StepSkipped


def when(step_id: str, field: str = "skip", op: str = "==", value: Any = True) -> dict[str, Any]:
    return {"step_id": step_id, "field": field, "op": op, "value": value}


CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    (when("a", "n", "==", 3), True),
    (when("a", "n", "==", 3.0), True),
    (when("a", "n", "!=", 3), False),
    (when("a", "n", "<", 4), True),
    (when("a", "n", ">", 4), False),
    (when("a", "n", "<=", 3), True),
    (when("a", "n", ">=", 3), True),
    (when("a", "n", "==", "3"), False),
    (when("a", "t", "<", "b"), True),
    (when("a", "yes", "==", True), True),
    (when("a", "yes", "<", True), False),
    (when("a", "none", "==", None), True),
    (when("a", "list", "!=", 1), False),
    (when("a", "list.0", "==", 1), True),
    (when("a", "missing", "!=", 1), False),
    ({"any": [when("a", "n", "==", 9), when("a", "n", "==", 3)]}, True),
    ({"all": [when("a", "n", "==", 9), when("a", "n", "==", 3)]}, False),
]


@pytest.mark.parametrize(("condition", "skips"), CONDITIONS)
def test_a_step_is_skipped_when_its_condition_is_true(condition: dict[str, Any], skips: bool) -> None:
    history = History(graph(step("a"), step("b", "a", skip_if=condition)))
    history.start()
    history.completed("a", {"n": 3, "t": "a", "yes": True, "none": None, "list": [1]})
    assert (history.run.status == "completed") is skips
    assert len(history.said(StepSkipped)) == skips


def test_skipping_does_not_propagate() -> None:
    history = History(graph(step("a"), step("b", "a", skip_if=when("a")), step("c", "b"), step("d", "a", "b")))
    history.start()
    history.completed("a", {"skip": True})
    assert history.enqueued == ["c", "d"]
    assert [bytes(task.input) for task in history.of_tasks[1:]] == [b"null", b'{"a":{"skip":true},"b":null}']


def test_a_condition_on_a_skipped_step_is_false() -> None:
    history = History(graph(step("a"), step("b", "a", skip_if=when("a")), step("c", "b", skip_if=when("b", op="!="))))
    history.start()
    history.completed("a", {"skip": True})
    assert history.enqueued == ["c"]


def test_skips_come_to_a_fixed_point_in_one_decision() -> None:
    """Each step is ready only because the one before was skipped, and is skipped for what `a` returned."""
    chain = [step("s0", "a", skip_if=when("a"))]
    chain += [step(f"s{at}", "a", f"s{at - 1}", skip_if=when("a")) for at in range(1, 50)]
    history = History(graph(step("a"), *chain))
    history.start()
    history.completed("a", {"skip": True})
    assert (history.run.status, history.result) == ("completed", None)


def test_all_that_depends_on_a_recovered_step_is_skipped_and_nothing_else() -> None:
    history = History(
        graph(step("a", on_failure="h"), step("b", "a"), step("c", "b", "x"), step("d", "b", "c"), step("x"), step("h"))
    )
    history.start()
    history.failed("a")
    history.completed("h")
    assert sorted(event.step_id for event in history.said(StepSkipped)) == ["b", "c", "d"]
    assert history.run.status == "running"
    history.completed("x")
    assert history.run.status == "completed"


def test_what_was_skipped_by_hand_shields_what_depends_on_it_from_a_recovery() -> None:
    history = History(graph(step("a", on_failure="h"), step("b", "a"), step("c", "b"), step("h")))
    history.start()
    history.skipped_by_hand("b")
    history.failed("a")
    history.completed("h")
    assert (history.status("b"), history.status("c")) == ("skipped", "queued")
