"""Deadlines: step and run timeouts, applied in due order, and the one wake-up that is outstanding."""

from __future__ import annotations

import pytest
from history import BEGIN, SECOND, History, graph, step

from dagnats.model.event import StepCompleted, StepReleased, StepStarted, TimerFired, WorkflowCancelled
from dagnats.runtime.core.action import EndRun, EnqueueTask, SendDeadLetter

TIMED = {"timeout": "30s", "retry": {"max_attempts": 1, "initial_delay": "5s"}}


def test_a_step_timeout_counts_from_its_start_not_from_its_queueing() -> None:
    history = History(graph(step("a", **TIMED)))
    history.start()
    assert history.timers == []
    history.wait(100)
    history.started("a")
    assert history.timers == [130 * SECOND]
    history.wait(30)
    history.tick()
    assert history.state("a").error == "no result within the step's timeout of 30s"
    assert history.state("a").failure_type == "retriable"


def test_a_timed_out_attempt_is_retried_and_its_late_result_dropped() -> None:
    history = History(graph(step("a", **TIMED)))
    history.start()
    history.started("a")
    history.tick()
    assert history.completed("a", attempt=1) == []
    history.tick()
    assert history.task.attempt == 2
    assert history.completed("a", attempt=1) == []
    assert history.status("a") == "queued"


def test_a_step_that_times_out_for_good_fails_the_run() -> None:
    history = History(graph(step("a", timeout="30s")))
    history.start()
    history.started("a")
    history.tick()
    assert history.run.status == "failed"
    assert history.run.outcome.step_id == "a"
    (letter,) = history.of(SendDeadLetter)
    assert (letter.failure.detail, letter.failure.failure_type) == ("timeout", "retriable")


def test_a_second_start_of_an_attempt_lets_its_time_count_anew() -> None:
    history = History(graph(step("a", timeout="30s")))
    history.start()
    history.started("a", worker_id="w1")
    history.wait(20)
    history.started("a", worker_id="w2")
    history.tick()
    assert history.status("a") == "running"
    assert history.timers == [50 * SECOND]
    history.tick()
    assert history.run.status == "failed"


def test_a_result_that_arrives_at_the_deadline_is_too_late() -> None:
    history = History(graph(step("a", timeout="30s")))
    history.start()
    history.started("a")
    history.wait(30)
    history.completed("a")
    assert history.run.status == "failed"


def test_a_result_just_before_the_deadline_counts() -> None:
    history = History(graph(step("a", timeout="30s"), step("b", "a")))
    history.start()
    history.started("a")
    history.wait(29.999999)
    history.completed("a")
    history.wait(100)
    history.completed("b")
    assert history.run.status == "completed"


def test_a_run_timeout_fails_the_run_and_cancels_what_is_in_flight() -> None:
    history = History(graph(step("a"), step("b", "a"), timeout="1m"))
    history.start()
    assert history.timers == [60 * SECOND]
    history.tick()
    assert history.run.status == "failed"
    assert history.run.outcome.step_id == ""
    assert history.run.outcome.error == "the run's timeout is over"
    assert history.status("a") == "cancelled"


def test_a_late_event_finds_every_passed_deadline_applied_in_due_order() -> None:
    # a times out at 30 s and is due again at 35 s; the run's time is over at 40 s. Nobody watched until 100 s.
    history = History(graph(step("a", **TIMED), timeout="40s"))
    history.start()
    history.started("a")
    history.wait(100)
    history.completed("a", attempt=2)
    assert [type(action).__name__ for action in history.last] == ["EnqueueTask", "EndRun", "CancelTasks"]
    (first, second) = history.of(EnqueueTask)
    assert (first.attempt, second.attempt) == (1, 2)
    state = history.state("a")
    assert (state.queued_ns, state.ended_ns) == (BEGIN + 35 * SECOND, BEGIN + 40 * SECOND)
    assert history.run.status == "failed"
    (end,) = history.of(EndRun)
    assert end.event.payload.error == "the run's timeout is over"


def test_the_runs_deadline_comes_before_a_steps_at_the_same_instant() -> None:
    history = History(graph(step("a", timeout="30s"), timeout="30s"))
    history.start()
    history.started("a")
    history.tick()
    assert history.run.outcome.step_id == ""
    assert history.status("a") == "cancelled"


@pytest.mark.parametrize("watched", [False, True])
def test_the_outcome_is_the_same_whether_a_tick_came_or_not(watched: bool) -> None:
    history = History(graph(step("a", **TIMED), step("b"), step("c", "a", "b"), timeout="10m"))
    history.start()
    history.started("a")
    history.wait(1)
    if watched:
        history.tick()  # a's timeout at 30 s
        history.tick()  # a's retry at 35 s
    history.time_ns = BEGIN + 90 * SECOND
    history.completed("b")
    run = history.run
    assert [task.step_id for task in history.of(EnqueueTask)] == ["a", "b", "a"]
    assert history.state("a").queued_ns == BEGIN + 35 * SECOND
    assert (run.clock_ns, run.remaining, run.steps["c"].waits_for) == (BEGIN + 90 * SECOND, 2, 1)


def test_what_a_passed_deadline_cancelled_is_not_undone_by_the_event_that_finds_it() -> None:
    history = History(graph(step("a"), timeout="1m"))
    history.start()
    history.wait(61)
    history.feed(WorkflowCancelled(run_id="r"))
    assert history.run.status == "failed"


# -- the clock ---------------------------------------------------------------------------------------------


def test_the_clock_never_goes_back() -> None:
    history = History(graph(step("a"), step("b", "a"), timeout="1h"))
    history.start()
    history.wait(10)
    history.started("a")
    history.wait(-8)
    history.completed("a")
    assert history.run.clock_ns == BEGIN + 10 * SECOND
    assert history.state("b").queued_ns == BEGIN + 10 * SECOND


def test_a_wake_up_moves_the_clock_to_the_instant_that_was_waited_for() -> None:
    history = History(graph(step("a", **TIMED)))
    history.start()
    history.failed("a", kind="retriable")
    history.feed(TimerFired(run_id="r", due_ns=BEGIN + 5 * SECOND))  # the server's own clock stands still
    assert history.run.clock_ns == BEGIN + 5 * SECOND
    assert history.enqueued == ["a"]


# -- wake-ups ----------------------------------------------------------------------------------------------


def test_a_run_without_deadlines_asks_for_no_wake_up() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.started("a")
    history.completed("a")
    history.completed("b")
    assert history.run.status == "completed"
    assert not [action for action in history.actions if type(action).__name__ == "SetTimer"]


def test_a_chain_of_fast_steps_costs_one_wake_up() -> None:
    steps = [step("s0", timeout="30s"), *(step(f"s{at}", f"s{at - 1}", timeout="30s") for at in range(1, 20))]
    history = History(graph(*steps))
    history.start()
    asked: list[int] = []
    for at in range(20):
        history.started(f"s{at}")
        asked += history.timers
        history.wait(0.1)
        history.completed(f"s{at}")
        asked += history.timers
    assert asked == [30 * SECOND]
    assert history.run.status == "completed"


def test_a_wake_up_is_asked_for_only_when_it_is_earlier_than_the_outstanding_one() -> None:
    history = History(graph(step("a", timeout="30s"), step("b", timeout="10s"), step("c", timeout="60s")))
    history.start()
    history.started("a")
    assert history.timers == [30 * SECOND]
    history.started("c")
    assert history.timers == []
    history.started("b")
    assert history.timers == [10 * SECOND]


def test_after_a_wake_up_the_next_deadline_gets_one() -> None:
    history = History(graph(step("a", timeout="30s"), step("b", timeout="60s")))
    history.start()
    history.started("a")
    history.started("b")
    history.completed("a")
    history.tick()
    assert history.timers == [60 * SECOND]
    history.tick()
    assert history.run.status == "failed"


def test_a_wake_up_that_was_replaced_leaves_the_newer_one_outstanding() -> None:
    history = History(graph(step("a", timeout="30s"), step("b", timeout="10s"), timeout="1h"))
    history.start()  # one for the run, an hour away
    history.started("a")
    history.started("b")
    assert history.run.wake_ns == BEGIN + 10 * SECOND
    history.feed(TimerFired(run_id="r", due_ns=BEGIN + 5 * SECOND))
    assert history.timers == []
    assert history.run.wake_ns == BEGIN + 10 * SECOND


def test_a_wake_up_names_the_event_that_asks_for_it() -> None:
    history = History(graph(step("a", timeout="30s")))
    history.start()
    history.started("a")
    (timer,) = [action for action in history.last if type(action).__name__ == "SetTimer"]
    assert (timer.id, getattr(timer, "seq", None)) == ("r.2.0", 2)


def test_deadlines_of_steps_that_are_done_are_forgotten() -> None:
    history = History(graph(step("a", timeout="30s"), step("b")))
    history.start()
    history.started("a")
    history.feed(StepCompleted(run_id="r", step_id="a", attempt_number=1))
    history.wait(60)
    history.feed(StepStarted(run_id="r", step_id="b", attempt_number=1))
    assert history.run.deadlines == []
    assert history.run.status == "running"


def test_an_attempt_that_is_given_back_waits_as_if_never_begun() -> None:
    history = History(graph(step("a", timeout="30s")))
    history.start()
    history.started("a", worker_id="w1")
    assert history.feed(StepReleased(run_id="r", step_id="a", attempt_number=1, worker_id="w1")) == []
    assert (history.status("a"), history.state("a").worker_id) == ("queued", "")
    history.wait(3_600)
    history.tick()
    assert history.status("a") == "queued"
    history.started("a", worker_id="w2")
    history.completed("a", 1)
    assert history.run.status == "completed"


def test_an_attempt_that_is_over_cannot_be_given_back() -> None:
    history = History(graph(step("a")))
    history.start()
    history.completed("a", 1)
    history.feed(StepReleased(run_id="r", step_id="a", attempt_number=1))
    assert history.status("a") == "completed"
