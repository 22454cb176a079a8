"""Undoing a run while maps, planners, children and waits are in flight."""

from __future__ import annotations

from typing import Any

import pytest
from history import SECOND, History, graph, step, typed

from dagnats.model.event import WorkflowCancelled


def begun(*steps: dict[str, Any], **settings: Any) -> History:
    """A run whose step `b` can fail, with something to undo."""
    history = History(graph(step("a"), step("b"), *steps, step("u"), **settings))
    history.start()
    return history


def test_a_map_that_can_be_undone_is_awaited_with_all_its_items() -> None:
    history = begun(typed("m", "map", "a", config={"max_parallel": 1}, compensate="u"))
    history.completed("a", [1, 2])
    history.failed("b")
    assert history.given_up == []
    history.completed("m.map.0")
    assert history.enqueued == ["m.map.1"]
    history.completed("m.map.1")
    assert history.enqueued == ["u"]
    history.completed("u")
    assert history.run.status == "compensated"


def test_an_awaited_map_that_fails_is_not_undone() -> None:
    history = begun(typed("m", "map", "a", config={}, compensate="u", retry={"max_attempts": 9}))
    history.completed("a", [1, 2])
    history.failed("b", "why")
    history.failed("m.map.0", kind="retriable")
    assert (history.run.status, history.run.outcome.error, history.dead_letters) == ("compensated", "why", ["b"])
    assert history.given_up == [("m.map.1", 1)]


def test_a_map_that_cannot_be_undone_is_stopped_with_its_items() -> None:
    history = begun(typed("m", "map", "a", config={}), step("c", "a", compensate="u"))
    history.completed("a", [1])
    history.completed("c")
    history.failed("b")
    assert history.given_up == [("m.map.0", 1)]
    assert (history.status("m"), history.enqueued) == ("cancelled", ["u"])


def test_a_planner_that_can_be_undone_is_awaited_with_its_steps() -> None:
    history = begun(typed("p", "planner", config={"max_steps": 2}, compensate="u"))
    history.completed("p", {"steps": [{"id": "x", "task": "t"}, {"id": "y", "task": "t", "depends_on": ["x"]}]})
    history.failed("b")
    history.completed("p.x")
    assert history.enqueued == ["p.y"]
    history.completed("p.y")
    assert history.enqueued == ["u"]
    assert b'"original_output":{"y":null}' in bytes(history.task.input)


def test_a_child_that_can_be_undone_is_awaited() -> None:
    history = begun(typed("c", "sub_workflow", config={"workflow": "child"}, compensate="u"))
    history.failed("b")
    assert history.abroad == []
    history.child_completed("c", 7)
    assert history.enqueued == ["u"]


def test_a_child_that_cannot_be_undone_is_cancelled() -> None:
    history = begun(typed("c", "sub_workflow", config={"workflow": "child"}), step("d", compensate="u"))
    history.completed("d")
    history.failed("b")
    assert [type(event) for event in history.abroad] == [WorkflowCancelled]


@pytest.mark.parametrize(
    ("kind", "config"), [("sleep", {"duration": "1h"}), ("approval", {"subject": "s", "timeout": "1h"})]
)
def test_steps_that_only_wait_are_not_waited_for(kind: str, config: dict[str, Any]) -> None:
    history = begun(typed("w", kind, config=config, compensate="u"), step("d", compensate="u"))
    history.completed("d")
    history.failed("b")
    assert (history.status("w"), history.enqueued) == ("cancelled", ["u.for.d"])


def test_cancelling_undoes_what_was_done_when_the_workflow_says_so() -> None:
    history = begun(step("d", compensate="u"), compensate_on=["cancel"], timeout=60 * SECOND)
    history.completed("d")
    history.cancel()
    assert (history.run.status, history.enqueued) == ("running", ["u"])
    assert history.cancel() == []
    history.completed("u")
    assert (history.run.status, history.run.outcome.error) == ("compensated", "the run was cancelled")
    alone = begun(step("d", compensate="u"), compensate_on=["cancel"])
    alone.completed("d")
    alone.failed("b")
    assert alone.run.status == "failed"


def test_the_runs_deadline_does_not_cut_an_undoing_off() -> None:
    history = begun(step("d", compensate="u"), timeout=5 * SECOND)
    history.completed("d")
    history.tick()
    assert history.enqueued == ["u"]
    history.wait(3600)
    history.completed("u")
    assert (history.run.status, history.run.outcome.error) == ("compensated", "the run's timeout is over")


def test_what_stood_in_the_line_when_undoing_began_is_not_handed_out() -> None:
    history = History(
        graph(
            step("d", compensate="u"),
            *(step(name, "d") for name in ("b", "x", "c")),
            step("u"),
            concurrency={"max_steps": 2},
        )
    )
    history.start()
    history.completed("d")
    assert (history.enqueued, history.run.line) == (["b", "x"], ["c"])
    history.failed("b")
    history.completed("u")
    assert (history.run.status, history.status("c"), history.run.line) == ("compensated", "pending", [])


def test_undoing_a_paused_run_keeps_in_the_line_only_what_will_begin() -> None:
    history = begun(step("x", "a"), typed("m", "map", "a", config={"max_parallel": 1}, compensate="u"))
    history.paused()
    history.completed("a", [1, 2])
    history.resumed()
    assert history.enqueued == ["x", "m.map.0"]
    history.paused()
    history.completed("m.map.0")
    history.failed("x", kind="retriable")
    history.failed("b")
    assert (history.run.line, history.run.saga is not None) == (["m.map.1"], True)
    history.resumed()
    history.completed("m.map.1")
    history.completed("u")
    assert history.run.status == "compensated"


def test_what_stands_in_the_line_of_a_paused_run_leaves_it_when_undoing_begins() -> None:
    history = History(graph(step("a", compensate="u"), step("b"), step("x", "a"), step("u")))
    history.start()
    history.paused()
    history.completed("a")
    assert history.run.line == ["x"]
    history.failed("b")
    assert (history.run.line, history.state("x").held) == (["u"], False)
    history.resumed()
    assert history.enqueued == ["u"]
