"""Compensation: what completed is undone, last first, once every effect is known."""

from __future__ import annotations

import json
from typing import Any

from history import SECOND, History, content, graph, step

from dagnats.model.event import (
    CompensateStarted,
    CompensateStepCompleted,
    Compensation,
    StepCompleted,
    StepFailed,
    WorkflowCancelled,
)
from dagnats.runtime.core.action import AppendEvent, EndRun, EnqueueTask, SendDeadLetter

DIAMOND = graph(
    step("top", compensate="undo_top"),
    step("left", "top", compensate="undo_left"),
    step("right", "top", compensate="undo_right"),
    step("join", "left", "right", compensate="undo_join"),
    step("last", "join"),
    step("undo_top"),
    step("undo_left"),
    step("undo_right"),
    step("undo_join"),
)


def _run_to_failure(history: History, *completed: str, failing: str) -> None:
    history.start()
    for step_id in completed:
        history.completed(step_id, f"{step_id} output")
    history.failed(failing, "declined")


def _undo_all(history: History) -> list[str]:
    order: list[str] = []
    while not history.run.ended:
        (step_id,) = history.enqueued
        order.append(step_id)
        history.completed(step_id)
    return order


def test_a_diamond_is_undone_in_reverse_topological_order_one_at_a_time() -> None:
    history = History(DIAMOND)
    _run_to_failure(history, "top", "left", "right", "join", failing="last")
    assert _undo_all(history) == ["undo_join", "undo_right", "undo_left", "undo_top"]
    assert history.run.status == "compensated"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("last", "declined")
    assert history.dead_letters == ["last"]


def test_the_order_of_undoing_does_not_depend_on_who_completed_first() -> None:
    history = History(DIAMOND)
    _run_to_failure(history, "top", "right", "left", "join", failing="last")
    assert _undo_all(history) == ["undo_join", "undo_right", "undo_left", "undo_top"]


def test_the_order_of_undoing_follows_the_graph_not_the_order_of_writing() -> None:
    history = History(
        graph(
            step("undo"),
            step("third", "second", compensate="undo"),
            step("second", "first", compensate="undo"),
            step("first", compensate="undo"),
            step("fails", "third"),
        )
    )
    _run_to_failure(history, "first", "second", "third", failing="fails")
    assert _undo_all(history) == ["undo.for.third", "undo.for.second", "undo.for.first"]


def test_the_whole_story_is_told_in_the_log() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo")))
    _run_to_failure(history, "a", failing="b")
    history.completed("undo")
    told = [action.event for action in history.actions if isinstance(action, AppendEvent | EndRun)]
    assert [type(event).__name__ for event in told] == [
        "CompensateStarted",
        "CompensateStepCompleted",
        "CompensateCompleted",
    ]
    assert isinstance(told[0], CompensateStarted)
    assert told[0].payload == Compensation(trigger_step="b", error="declined")
    assert isinstance(told[1], CompensateStepCompleted)
    assert told[1].step_id == "undo"
    assert told[1].payload == Compensation(original_step="a", trigger_step="b")


def test_a_compensation_is_told_what_to_undo_and_why() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo")))
    history.start()
    history.completed("a", {"shelf": 4})
    history.failed("b", "declined")
    assert json.loads(bytes(history.task.input)) == {
        "original_step": "a",
        "original_output": {"shelf": 4},
        "trigger_step": "b",
        "trigger_error": "declined",
    }


def test_a_run_without_completed_effects_simply_fails() -> None:
    history = History(DIAMOND)
    _run_to_failure(history, failing="top")
    assert history.run.status == "failed"
    assert history.run.saga is None


def test_only_steps_with_a_compensation_are_undone() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("c", "b"), step("undo")))
    _run_to_failure(history, "a", "b", failing="c")
    assert _undo_all(history) == ["undo"]


def test_skipped_and_recovered_steps_are_not_undone() -> None:
    history = History(
        graph(
            step("a", on_failure="rescue", compensate="undo"),
            step("b", "a", compensate="undo"),
            step("c", compensate="undo"),
            step("d", "c"),
            step("rescue"),
            step("undo"),
        )
    )
    history.start()
    history.failed("a")
    history.completed("rescue")
    history.completed("c")
    history.failed("d")
    assert _undo_all(history) == ["undo.for.c"]


def test_a_failing_failure_step_starts_the_undoing() -> None:
    history = History(
        graph(step("a", compensate="undo"), step("b", "a", on_failure="rescue"), step("rescue"), step("undo"))
    )
    _run_to_failure(history, "a", failing="b")
    assert history.enqueued == ["rescue"]
    history.failed("rescue", "rescue broke")
    assert history.enqueued == ["undo"]
    history.completed("undo")
    assert history.run.status == "compensated"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("b", "declined")
    assert history.dead_letters == ["rescue", "b"]


# -- what is in flight -------------------------------------------------------------------------------------


def _parallel(**settings: Any) -> History:
    """`slow` has a compensation and is in flight with `plain`, which has none, when `fails` fails."""
    history = History(
        graph(
            step("fails"),
            step("slow", compensate="undo_slow", **settings),
            step("plain", **settings),
            step("done", compensate="undo_done"),
            step("next", "slow"),
            step("undo_slow"),
            step("undo_done"),
        )
    )
    history.start()
    history.completed("done")
    return history


def test_undoing_waits_for_steps_in_flight_that_have_a_compensation() -> None:
    history = _parallel()
    history.failed("fails")
    assert history.enqueued == []
    assert (history.status("slow"), history.status("plain")) == ("queued", "cancelled")
    history.completed("slow")
    assert history.enqueued == ["undo_done"]
    assert _undo_all(history) == ["undo_done", "undo_slow"]
    assert history.status("next") == "pending"


def test_a_step_in_flight_that_fails_need_not_be_undone() -> None:
    history = _parallel(retry={"max_attempts": 5})
    history.failed("fails")
    history.failed("slow", kind="retriable")
    assert history.status("slow") == "failed"
    assert _undo_all(history) == ["undo_done"]


def test_a_step_in_flight_that_times_out_need_not_be_undone() -> None:
    history = _parallel(timeout="30s")
    history.started("slow")
    history.started("plain")
    history.failed("fails")
    history.tick()
    assert history.status("slow") == "failed"
    assert history.enqueued == ["undo_done"]


def test_a_step_that_waits_for_a_retry_is_cancelled_not_awaited() -> None:
    history = _parallel(retry={"max_attempts": 5, "initial_delay": "10s"})
    history.failed("slow", kind="retriable")
    history.failed("fails")
    assert history.status("slow") == "cancelled"
    assert history.enqueued == ["undo_done"]
    history.wait(60)
    history.completed("undo_done")
    assert history.run.status == "compensated"


def test_effects_in_flight_alone_are_reason_enough_to_undo() -> None:
    history = History(graph(step("fails"), step("slow", compensate="undo"), step("undo")))
    history.start()
    history.failed("fails")
    assert history.run.saga is not None
    history.completed("slow")
    assert _undo_all(history) == ["undo"]


def test_when_nothing_in_flight_completes_there_is_nothing_to_undo() -> None:
    history = History(graph(step("fails"), step("slow", compensate="undo"), step("undo")))
    history.start()
    history.failed("fails", "declined")
    history.failed("slow")
    assert history.run.status == "compensated"
    assert history.run.outcome.error == "declined"
    assert history.status("undo") == "pending"


def test_several_awaited_steps_are_all_awaited() -> None:
    history = History(graph(step("fails"), step("x", compensate="undo"), step("y", compensate="undo"), step("undo")))
    history.start()
    history.failed("fails")
    history.completed("x")
    assert history.enqueued == []
    history.completed("y")
    assert _undo_all(history) == ["undo.for.y", "undo.for.x"]


def test_late_results_of_cancelled_steps_change_nothing_while_undoing() -> None:
    history = _parallel()
    history.failed("fails")
    seq, before = history.run.seq, content(history.run)
    assert history.feed(StepCompleted(run_id="r", step_id="plain", attempt_number=1)) == []
    assert history.feed(StepFailed(run_id="r", step_id="plain", attempt_number=1)) == []
    history.run.seq = seq
    assert content(history.run) == before


# -- run timeout and cancel --------------------------------------------------------------------------------


def test_a_run_timeout_undoes_what_completed_and_blames_no_step() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo"), timeout="1m"))
    history.start()
    history.completed("a")
    history.tick()
    assert history.status("b") == "cancelled"
    assert json.loads(bytes(history.task.input))["trigger_error"] == "the run's timeout is over"
    history.completed("undo")
    assert history.run.status == "compensated"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("", "the run's timeout is over")


def test_undoing_may_take_longer_than_the_runs_timeout() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo"), timeout="1m"))
    _run_to_failure(history, "a", failing="b")
    history.wait(3_600)
    history.completed("undo")
    assert history.run.status == "compensated"


def test_a_cancel_does_not_cut_an_undoing_off() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo")))
    _run_to_failure(history, "a", failing="b")
    assert history.feed(WorkflowCancelled(run_id="r")) == []
    history.completed("undo")
    assert history.run.status == "compensated"


# -- compensations that fail -------------------------------------------------------------------------------


def test_a_compensation_is_retried_by_its_own_policy() -> None:
    history = History(
        graph(
            step("a", compensate="undo"),
            step("b", "a"),
            step("undo", retry={"max_attempts": 1, "initial_delay": "10s"}),
        )
    )
    _run_to_failure(history, "a", failing="b")
    first = history.task
    history.failed("undo", kind="retriable")
    assert history.timers == [10 * SECOND]
    history.tick()
    assert (history.task.step_id, history.task.attempt, history.task.input) == ("undo", 2, first.input)
    history.completed("undo")
    assert history.run.status == "compensated"


def test_a_compensation_times_out_like_any_step() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo", timeout="30s")))
    _run_to_failure(history, "a", failing="b")
    history.started("undo")
    history.tick()
    assert history.run.status == "compensate_failed"


def test_a_compensation_that_fails_for_good_stops_the_undoing() -> None:
    history = History(DIAMOND)
    _run_to_failure(history, "top", "left", failing="right")
    assert history.enqueued == ["undo_left"]
    history.failed("undo_left", "still stuck")
    assert history.run.status == "compensate_failed"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("undo_left", "still stuck")
    assert history.status("undo_top") == "pending"
    letters = history.of(SendDeadLetter)
    assert [letter.step_id for letter in letters] == ["right", "undo_left"]
    assert json.loads(bytes(letters[1].input))["original_step"] == "left"


def test_a_shared_compensation_runs_as_an_instance_of_its_own_for_each_step() -> None:
    history = History(
        graph(
            step("reserve", compensate="release"),
            step("hold", "reserve", compensate="release"),
            step("charge", "hold"),
            step("release"),
        )
    )
    _run_to_failure(history, "reserve", "hold", failing="charge")
    assert (history.task.step_id, history.task.task) == ("release.for.hold", "release.task")
    history.completed("release.for.hold")
    assert json.loads(bytes(history.task.input))["original_output"] == "reserve output"
    history.completed("release.for.reserve")
    assert history.run.status == "compensated"
    assert "release" not in history.run.steps


def test_one_step_may_be_both_the_failure_step_and_the_compensation_of_another() -> None:
    clean = graph(step("a", on_failure="clean", compensate="clean"), step("b", "a"), step("clean"))
    recovering = History(clean)
    recovering.start()
    recovering.failed("a")
    assert json.loads(bytes(recovering.task.input))["failed_step"] == "a"
    recovering.completed("clean.for.a")
    assert recovering.run.status == "completed"
    undoing = History(clean)
    _run_to_failure(undoing, "a", failing="b")
    assert json.loads(bytes(undoing.task.input))["original_step"] == "a"
    undoing.completed("clean.for.a")
    assert undoing.run.status == "compensated"


def test_one_compensation_is_in_flight_at_a_time() -> None:
    history = History(DIAMOND)
    _run_to_failure(history, "top", "left", "right", "join", failing="last")
    before = len(history.of(EnqueueTask))
    history.completed("left", attempt=1)  # redelivered
    history.completed("undo_join")
    history.completed("undo_join", attempt=1)  # redelivered
    assert len(history.of(EnqueueTask)) == before + 1
