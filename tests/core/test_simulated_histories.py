"""Histories in which the simulation found mistakes, made small."""

from __future__ import annotations

from history import History, graph, step

from dagnats.model.event import StepSkipped, WorkflowPaused, WorkflowResumed

RETRY = {"max_attempts": 2, "initial_delay": "5s"}


def _planner(step_id: str) -> dict[str, object]:
    return {**step(step_id), "type": "planner", "config": {"max_steps": 5}}


def test_two_planners_that_return_the_same_plan_have_steps_of_their_own() -> None:
    history = History(graph(_planner("a"), _planner("b")))
    history.start()
    plan = {"steps": [{"id": "p", "task": "do"}]}
    history.completed("a", plan)
    assert history.enqueued == ["a.p"]
    history.completed("b", plan)
    assert history.enqueued == ["b.p"]
    history.completed("a.p")
    history.completed("b.p")
    assert history.run.status == "completed"


def test_a_run_that_has_drained_begins_to_be_undone() -> None:
    steps = [step("a", compensate="x"), step("b", "a"), step("x")]
    history = History(graph(*steps, failure_mode="drain", compensate_on=["failure"]))
    history.start()
    history.completed("a")
    history.failed("b")
    assert history.enqueued == ["x"]
    history.completed("x")
    assert history.run.status == "compensated"


def test_a_step_skipped_while_it_waits_for_its_retry_is_not_tried_again() -> None:
    history = History(graph(step("a", retry=RETRY), step("b")))
    history.start()
    history.failed("a", kind="retriable")
    history.feed(StepSkipped(run_id="r", step_id="a"))
    history.wait(6)
    history.completed("b")
    assert history.status("a") == "skipped"
    assert history.run.status == "completed"


def test_a_step_skipped_while_it_waits_in_the_runs_line_is_not_handed_out() -> None:
    history = History(graph(step("a"), step("b"), concurrency={"max_steps": 1}))
    history.start()
    history.feed(StepSkipped(run_id="r", step_id="b"))
    history.completed("a")
    assert history.enqueued == []
    assert history.run.status == "completed"


def test_steps_held_at_their_retry_do_not_wait_behind_one_that_waits_for_their_room() -> None:
    history = History(graph(step("a", retry=RETRY), step("b"), concurrency={"max_steps": 1}))
    history.start()
    history.failed("a", kind="retriable")
    history.feed(WorkflowPaused(run_id="r"))
    history.tick()
    assert history.run.line == ["a", "b"]
    history.feed(WorkflowResumed(run_id="r"))
    assert history.enqueued == ["a"]
    history.completed("a")
    assert history.enqueued == ["b"]
