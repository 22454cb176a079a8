"""Runs that are opened again go on where they broke."""

from __future__ import annotations

from typing import Any

import pytest
from history import SECOND, History, graph, step, typed

from dagnats.model.event import WorkflowCancelled, WorkflowFailed
from dagnats.runtime.core.action import AskAdmission
from dagnats.runtime.core.reopen import is_openable


def test_a_failed_run_goes_on_at_the_step_that_failed_with_all_its_retries() -> None:
    history = History(graph(step("a"), step("b", "a", retry={"max_attempts": 1}), step("c"), timeout=60 * SECOND))
    history.start()
    history.completed("a", "kept")
    history.failed("b", kind="retriable")
    history.tick()
    history.failed("b", kind="retriable")
    assert is_openable(history.run)
    history.wait(100)
    history.reopened()
    assert history.enqueued == ["b", "c"]
    assert (history.state("b").attempt, history.state("c").attempt) == (3, 2)
    assert history.run.deadline_ns == history.time_ns + 60 * SECOND
    assert history.run.outcome.error == ""
    history.failed("b", kind="retriable")
    history.tick()
    assert history.enqueued == ["b"]
    history.completed("b")
    history.completed("c")
    assert history.run.status == "completed"
    assert history.dropped_letters == ["b"]


def test_late_answers_to_attempts_from_before_change_nothing() -> None:
    history = History(graph(step("a"), step("b")))
    history.start()
    history.failed("a")
    history.reopened()
    assert history.completed("b", attempt=1) == []
    assert history.status("b") == "queued"


def test_a_run_that_an_operator_holds_back_asks_to_be_admitted_again() -> None:
    history = History(graph(step("a")))
    history.start()
    history.failed("a")
    assert any(isinstance(action, AskAdmission) for action in history.reopened(held=True))
    assert history.enqueued == []
    assert history.run.status == "pending"


@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_cancelled_and_timed_out_runs_can_go_on_too(end: str) -> None:
    history = History(graph(step("a"), timeout=5 * SECOND))
    history.start()
    {"cancel": history.cancel, "timeout": history.tick}[end]()
    history.reopened()
    assert history.enqueued == ["a"]


def test_a_run_that_ended_before_it_began_begins() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start(held=True)
    history.cancel()
    history.reopened()
    assert history.enqueued == ["a"]


def test_a_run_that_has_to_be_admitted_is_admitted_again() -> None:
    history = History(graph(step("a"), concurrency={"max_runs": 1}))
    history.start()
    history.admitted()
    history.failed("a")
    history.reopened()
    assert (history.run.status, history.enqueued, len(history.of(AskAdmission))) == ("pending", [], 2)
    history.admitted()
    assert history.enqueued == ["a"]


def test_a_completed_or_undone_run_stays_as_it_is() -> None:
    history = History(graph(step("a")))
    history.start()
    history.completed("a")
    assert not is_openable(history.run)
    assert history.reopened() == []
    assert history.run.status == "completed"
    undone = History(graph(step("a", compensate="u"), step("b", "a"), step("u")))
    undone.start()
    undone.completed("a")
    undone.failed("b")
    undone.completed("u")
    assert undone.reopened() == []
    assert undone.run.status == "compensated"


def test_a_running_run_is_not_opened() -> None:
    history = History(graph(step("a")))
    history.start()
    assert history.reopened() == []


def test_recovered_and_skipped_steps_stay_done() -> None:
    history = History(graph(step("a", on_failure="h"), step("b", "a"), step("h"), step("c")))
    history.start()
    history.failed("a")
    history.completed("h")
    history.failed("c")
    history.reopened()
    assert history.enqueued == ["c"]
    assert (history.status("a"), history.status("b")) == ("recovered", "skipped")


def test_a_step_whose_failure_step_failed_runs_again_and_both_dead_letters_go() -> None:
    history = History(graph(step("a", on_failure="h"), step("h")))
    history.start()
    history.failed("a")
    history.failed("h")
    assert history.dead_letters == ["h", "a"]
    history.reopened()
    assert history.enqueued == ["a"]
    history.completed("a")
    assert history.dropped_letters == ["a", "h"]
    again = History(graph(step("a", on_failure="h"), step("h")))
    again.start()
    again.failed("a")
    again.failed("h")
    again.reopened()
    again.failed("a")
    assert again.enqueued == ["h"]
    again.completed("h")
    assert again.run.status == "completed"
    assert again.dropped_letters == ["h"]


@pytest.mark.parametrize(("others", "handler"), [([], "h"), ([step("b", on_failure="h")], "h.for.m")])
def test_a_map_whose_failure_step_failed_takes_all_dead_letters_with_it_when_it_is_done(
    others: list[dict[str, Any]], handler: str
) -> None:
    each = typed("m", "map", "a", config={}, on_failure="h")
    history = History(graph(step("a"), each, *others, step("h")))
    history.start()
    history.completed("a", [1, 2])
    history.failed("m.map.0")
    history.failed(handler)
    assert history.dead_letters == [handler, "m.map.0"]
    history.reopened()
    history.completed("m.map.0")
    assert history.dropped_letters == ["m.map.0"]
    history.completed("m.map.1")
    assert history.status("m") == "completed"
    assert history.dropped_letters == ["m.map.0", handler]


def test_a_step_that_the_engine_runs_takes_the_dead_letter_of_its_failure_step_with_it() -> None:
    ask = typed("a", "approval", config={"subject": "s", "timeout": "1h"}, on_failure="h")
    history = History(graph(ask, step("h")))
    history.start()
    history.rejected("a")
    history.failed("h")
    assert history.dead_letters == ["h"]
    history.reopened()
    history.granted("a")
    assert history.dropped_letters == ["h"]


def test_a_step_takes_the_dead_letters_of_what_its_failure_step_had_planned_with_it() -> None:
    history = History(graph(step("a", on_failure="h"), typed("h", "planner", config={"max_steps": 2})))
    history.start()
    history.failed("a")
    history.completed("h", {"steps": [{"id": "x", "task": "t"}, {"id": "y", "task": "t", "depends_on": ["x"]}]})
    history.failed("h.x")
    assert history.dead_letters == ["h.x", "a"]
    history.reopened()
    history.completed("a")
    assert history.dropped_letters == ["a", "h.x"]


def test_a_failure_step_that_no_worker_ran_leaves_no_dead_letter() -> None:
    ask = typed("h", "approval", config={"subject": "s", "timeout": "1h"})
    history = History(graph(step("a", on_failure="h"), ask))
    history.start()
    history.failed("a")
    history.rejected("h")
    assert history.dead_letters == ["a"]
    history.reopened()
    history.completed("a")
    assert history.dropped_letters == ["a"]


def test_undoing_that_got_stuck_goes_on_at_the_compensation_that_failed() -> None:
    history = History(
        graph(step("a", compensate="ua"), step("b", "a", compensate="ub"), step("c", "b"), step("ua"), step("ub"))
    )
    history.start()
    history.completed("a")
    history.completed("b")
    history.failed("c")
    history.failed("ub", "stuck")
    assert history.run.status == "compensate_failed"
    history.reopened()
    assert history.enqueued == ["ub"]
    history.completed("ub")
    assert history.enqueued == ["ua"]
    history.completed("ua")
    assert history.run.status == "compensated"


@pytest.mark.parametrize("compensate_on", [["failure"], ["failure", "cancel"]], ids=["failure", "cancel"])
def test_undoing_that_waits_to_go_on_can_be_cancelled_and_opened_again(compensate_on: list[str]) -> None:
    steps = [step("a", compensate="u"), step("b", "a"), step("u")]
    history = History(graph(*steps, compensate_on=compensate_on))
    history.start()
    history.completed("a")
    history.failed("b")
    history.failed("u")
    history.reopened(held=True)
    assert history.run.status == "pending"
    history.feed(WorkflowCancelled(run_id="r"))
    assert history.run.status == "cancelled"
    history.reopened()
    assert history.enqueued == ["u"]


def test_a_planner_that_undoes_goes_on_with_its_plan() -> None:
    plan = {"steps": [{"id": "x", "task": "t"}]}
    undo = typed("u", "planner", config={"max_steps": 1})
    history = History(graph(step("a", compensate="u"), step("b", "a"), undo))
    history.start()
    history.completed("a")
    history.failed("b")
    history.completed("u", plan)
    history.failed("u.x")
    assert history.run.status == "compensate_failed"
    history.reopened()
    assert history.enqueued == ["u.x"]
    history.completed("u.x")
    assert history.run.status == "compensated"


def test_a_planner_whose_other_steps_are_skipped_before_it_goes_on_is_done() -> None:
    history = History(graph(typed("p", "planner", config={"max_steps": 2})))
    history.start()
    history.completed("p", {"steps": [{"id": "x", "task": "t"}, {"id": "y", "task": "t"}]})
    history.completed("p.x", "done")
    history.failed("p.y")
    history.reopened(held=True)
    history.skipped_by_hand("p.y")
    assert history.run.status == "pending"
    history.admitted()
    assert (history.run.status, history.result) == ("completed", {"x": "done", "y": None})


def test_a_planner_that_has_not_gone_on_is_not_done_by_a_skip_that_makes_the_history_too_long() -> None:
    history = History(graph(typed("p", "planner", config={"max_steps": 1})))
    history.start(max_events=4)
    history.completed("p", {"steps": [{"id": "x", "task": "t"}]})
    history.failed("p.x")
    history.reopened(held=True)
    while history.run.events < history.run.max_events - 1:
        history.signalled("s", 1)
    history.skipped_by_hand("p.x")
    assert (history.run.status, history.status("p")) == ("failed", "pending")
    history.reopened()
    assert (history.run.status, history.result) == ("completed", {"x": None})


def test_an_undoing_that_somebody_broke_off_when_all_was_undone_says_so() -> None:
    history = History(graph(step("a", compensate="u"), step("b", "a"), step("u")), loops_back=False)
    history.start()
    history.completed("a")
    history.failed("b")
    history.completed("u")
    history.feed(WorkflowFailed(run_id="r"))
    assert history.run.status == "failed"
    history.reopened()
    assert history.enqueued == []
    while history.unfed:
        history.feed_own()
    assert history.run.status == "compensated"


def test_an_undoing_that_somebody_broke_off_while_it_waited_begins_anew() -> None:
    history = History(graph(step("a", compensate="u"), step("b", compensate="u"), step("c"), step("u")))
    history.start()
    history.completed("a")
    history.failed("c")
    history.feed(WorkflowFailed(run_id="r"))
    history.reopened()
    assert history.enqueued == ["u.for.a"]


def test_failures_after_a_drained_run_was_opened_again_count_afresh() -> None:
    history = History(graph(step("a"), step("b"), failure_mode="drain"))
    history.start()
    history.failed("a", "first")
    history.completed("b")
    history.reopened()
    history.failed("a", "second")
    assert history.run.outcome.error == "second"
