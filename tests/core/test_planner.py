"""Planner steps: what a handler plans becomes part of the run."""

from __future__ import annotations

from typing import Any

import pytest
from history import History, graph, step, typed

from dagnats.model.event import PlannerMaterialized

CHAIN = [{"id": "x", "task": "x.task"}, {"id": "y", "task": "y.task", "depends_on": ["x"]}]


def planned(steps: Any, *more: dict[str, Any], workflow: dict[str, Any] | None = None, **settings: Any) -> History:
    """A run whose planner has just answered."""
    config = {"max_steps": 3, **settings.pop("config", {})}
    made = graph(typed("p", "planner", config=config, **settings), *more, **(workflow or {}))
    history = History(made)
    history.start("in")
    history.completed("p", {"steps": steps} if isinstance(steps, list) else steps)
    return history


def test_generated_steps_run_and_the_planner_gives_the_outputs_of_the_last_ones() -> None:
    history = planned(CHAIN, step("after", "p"))
    assert history.enqueued == ["p.x"]
    assert history.said(PlannerMaterialized)[0].payload.steps == ("p.x", "p.y")
    assert b'"steps"' in bytes(history.task.input)
    history.completed("p.x", "from x")
    assert (history.enqueued, bytes(history.task.input)) == (["p.y"], b'"from x"')
    history.completed("p.y", "from y")
    assert (history.enqueued, bytes(history.task.input)) == (["after"], b'{"y":"from y"}')


@pytest.mark.parametrize("payload", [None, {}, {"steps": None}, {"steps": []}])
def test_an_empty_plan_completes_the_planner(payload: Any) -> None:
    history = planned(payload)
    assert (history.run.status, history.result) == ("completed", {})


PROBLEMS: list[tuple[Any, dict[str, Any], str]] = [
    (7, {}, "a planner returns"),
    ([7], {}, "steps[0]"),
    ({"steps": 7}, {}, "a planner returns"),
    ([{"id": "x"}], {}, "task"),
    ([{**CHAIN[0], "depends_on": ["nobody"]}], {}, "nobody"),
    ([{**CHAIN[0], "depends_on": ["y"]}, CHAIN[1]], {}, "cycle"),
    (CHAIN, {"max_steps": 1}, "it has 2 steps, and max_steps is 1"),
    (CHAIN, {"max_depth": 1}, "longest chain has 2 steps"),
    (CHAIN, {"allowed_tasks": ["x.task"]}, "task 'y.task' is not one of allowed_tasks"),
    ([{**CHAIN[0], "on_failure": "h"}, {"id": "h", "task": "h"}], {}, "cannot have `on_failure`"),
]


@pytest.mark.parametrize(("steps", "config", "words"), PROBLEMS)
def test_a_plan_that_cannot_be_carried_out_fails_the_planner_for_good(steps: Any, config: Any, words: str) -> None:
    history = planned(steps, config=config, retry={"max_attempts": 3})
    assert history.run.status == "failed"
    assert words in history.run.outcome.error


def test_a_plan_nested_beyond_all_bounds_is_refused() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    assert "deeper than 256" in planned({"steps": deep}).run.outcome.error


def test_a_run_takes_only_so_many_generated_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagnats.runtime.core.planner.MOST_GENERATED", 1)
    assert "the run has room for 1 more" in planned(CHAIN).run.outcome.error


def test_a_generated_step_has_its_own_retries_and_then_the_planner_fails() -> None:
    history = planned([{"id": "x", "task": "x.task", "retry": {"max_attempts": 1}}, {"id": "y", "task": "y.task"}])
    history.failed("p.x", kind="retriable")
    history.tick()
    assert history.enqueued == ["p.x"]
    history.failed("p.x", "boom", kind="retriable")
    assert history.given_up == [("p.y", 1)]
    assert history.run.outcome.error == "generated step 'p.x' failed: boom"
    assert history.dead_letters == ["p.x"]


def test_the_planners_failure_step_runs_when_a_generated_step_has_failed() -> None:
    history = planned(CHAIN, step("h"), on_failure="h")
    history.failed("p.x")
    assert history.enqueued == ["h"]
    history.completed("h")
    assert (history.run.status, history.status("p")) == ("completed", "recovered")


def test_a_late_second_answer_of_the_planner_changes_nothing() -> None:
    history = planned(CHAIN)
    assert history.completed("p", {"steps": []}, attempt=1) == []
    assert history.failed("p", attempt=1) == []
    assert history.enqueued == []


def test_two_planners_with_the_same_plan_do_not_share_its_steps() -> None:
    history = planned(CHAIN, typed("q", "planner", config={"max_steps": 3}))
    history.completed("q", {"steps": CHAIN})
    assert history.enqueued == ["q.x"]
    history.completed("q.x")
    assert history.enqueued == ["q.y"]


def test_a_generated_step_may_be_skipped_by_what_another_returned() -> None:
    skip = {"step_id": "x", "field": "no", "op": "==", "value": True}
    history = planned([CHAIN[0], {**CHAIN[1], "skip_if": skip}])
    history.completed("p.x", {"no": True})
    assert (history.run.status, history.result) == ("completed", {"y": None})


def test_a_generated_step_can_be_skipped_by_hand_even_before_its_turn() -> None:
    history = planned(CHAIN)
    history.skipped_by_hand("p.y")
    history.completed("p.x")
    assert (history.run.status, history.result) == ("completed", {"y": None})


def test_a_planner_opened_again_goes_on_with_its_plan() -> None:
    history = planned([*CHAIN, {"id": "z", "task": "z.task"}])
    history.completed("p.x", "kept")
    history.failed("p.y")
    history.reopened()
    assert history.enqueued == ["p.y", "p.z"]
    assert bytes(history.of_tasks[-2].input) == b'"kept"'
    history.completed("p.z", 3)
    history.completed("p.y", 2)
    assert history.result == {"y": 2, "z": 3}


def test_a_shared_failure_step_may_be_a_planner() -> None:
    made = graph(step("a", on_failure="p"), step("b", on_failure="p"), typed("p", "planner", config={"max_steps": 2}))
    history = History(made)
    history.start()
    history.failed("a")
    history.failed("b")
    history.completed("p.for.a", {"steps": CHAIN[:1]})
    history.completed("p.for.b", {"steps": CHAIN[:1]})
    assert history.enqueued == ["p.for.b.x"]
    history.completed("p.for.a.x")
    history.completed("p.for.b.x")
    assert history.run.status == "completed"


def test_plans_that_are_not_remembered_any_more_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagnats.runtime.core.graph._MOST_PLANS", 1)
    test_two_planners_with_the_same_plan_do_not_share_its_steps()
