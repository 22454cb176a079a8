"""Runs that let independent branches finish before they fail."""

from __future__ import annotations

from typing import Any

from history import History, graph, step


def draining(*steps: dict[str, Any], **settings: Any) -> History:
    history = History(graph(*steps, failure_mode="drain", **settings))
    history.start()
    return history


def test_independent_branches_finish_and_then_the_run_fails_with_the_first_failure() -> None:
    history = draining(step("a"), step("b"), step("c", "b"), step("d", "a"))
    history.failed("a", "first")
    history.completed("b")
    assert (history.run.status, history.enqueued, history.given_up) == ("running", ["c"], [])
    history.failed("c", "second")
    assert (history.run.status, history.run.outcome.step_id, history.run.outcome.error) == ("failed", "a", "first")
    assert history.dead_letters == ["a", "c"]


def test_what_waits_in_the_line_of_a_draining_run_is_handed_out() -> None:
    history = draining(step("a"), step("b"), concurrency={"max_steps": 1})
    history.failed("a")
    assert history.enqueued == ["b"]
    history.completed("b")
    assert history.run.status == "failed"


def test_a_drained_run_is_undone_at_its_end() -> None:
    history = draining(step("a", compensate="u"), step("b"), step("c"), step("u"))
    history.failed("b")
    history.completed("a")
    assert history.enqueued == []
    history.completed("c")
    assert history.enqueued == ["u"]
    history.completed("u")
    assert history.run.status == "compensated"


def test_a_failure_step_is_waited_for_in_a_draining_run() -> None:
    history = draining(step("a"), step("b", on_failure="h"), step("h"))
    history.failed("a")
    history.failed("b")
    assert history.run.status == "running"
    history.completed("h")
    assert (history.run.status, history.status("b")) == ("failed", "recovered")
