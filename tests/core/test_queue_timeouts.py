"""Queue timeouts: an attempt that no worker begins in time fails, whether or not there are any workers."""

from __future__ import annotations

import pytest
from history import BEGIN, SECOND, History, graph, step

from dagnats.model.event import StepCompleted, StepFailed, StepReleased, StepStarted
from dagnats.runtime.core.action import EnqueueTask, SendDeadLetter

RETRIED = {"queue_timeout": "1m", "retry": {"max_attempts": 1, "initial_delay": "5s"}}


def test_the_time_in_the_queue_counts_from_the_queueing() -> None:
    history = History(graph(step("a"), step("b", "a", queue_timeout="1m")))
    history.start()
    assert history.timers == []
    history.wait(100)
    history.completed("a")
    assert history.timers == [160 * SECOND]
    assert history.task.expires_ns == BEGIN + 160 * SECOND


def test_an_attempt_that_nobody_begins_fails_and_names_the_limit() -> None:
    history = History(graph(step("a", queue_timeout="1m")))
    history.start()
    history.tick()
    assert history.run.status == "failed"
    assert history.run.outcome.error == "no worker began it within the step's queue timeout of 1m"
    (letter,) = history.of(SendDeadLetter)
    assert (letter.failure.detail, letter.failure.failure_type) == ("queue_timeout", "retriable")


def test_it_is_retried_with_a_whole_time_in_the_queue_and_its_late_start_changes_nothing() -> None:
    history = History(graph(step("a", **RETRIED)))
    history.start()
    history.tick()
    assert history.given_up == [("a", 1)]
    assert history.timers == [65 * SECOND]
    history.started("a", attempt=1)
    assert history.status("a") == "queued"
    history.tick()
    assert (history.task.attempt, history.task.expires_ns) == (2, BEGIN + 125 * SECOND)
    assert history.timers == [125 * SECOND]
    history.tick()
    assert history.run.status == "failed"


@pytest.mark.parametrize("kind", [StepStarted, StepCompleted, StepFailed])
def test_a_start_or_a_result_in_time_ends_the_waiting(
    kind: type[StepStarted] | type[StepCompleted] | type[StepFailed],
) -> None:
    history = History(graph(step("a", queue_timeout="1m", retry={"max_attempts": 1, "initial_delay": "1h"})))
    history.start()
    history.wait(59)
    history.feed(kind(run_id="r", step_id="a", attempt_number=1))
    history.wait(60)
    history.started("a", attempt=9)
    assert history.state("a").error == ""
    assert [task.attempt for task in history.of(EnqueueTask)] == [1]


def test_a_start_at_the_last_instant_is_too_late() -> None:
    history = History(graph(step("a", **RETRIED)))
    history.start()
    history.wait(60)
    history.started("a")
    assert history.state("a").retry_at_ns == BEGIN + 65 * SECOND


def test_from_the_start_on_the_steps_own_timeout_counts() -> None:
    history = History(graph(step("a", timeout="30s", queue_timeout="1m")))
    history.start()
    history.wait(10)
    history.started("a")
    assert history.timers == [40 * SECOND]
    history.tick()
    assert history.run.outcome.error == "no result within the step's timeout of 30s"


def test_without_a_timeout_of_its_own_a_begun_attempt_may_take_its_time() -> None:
    history = History(graph(step("a", queue_timeout="1m")))
    history.start()
    history.started("a")
    history.wait(3_600)
    history.completed("a", 1)
    assert history.run.status == "completed"


def test_an_attempt_that_is_given_back_waits_in_the_queue_anew() -> None:
    history = History(graph(step("a", queue_timeout="1m")))
    history.start()
    history.started("a", worker_id="w1")
    history.wait(100)
    history.released("a", worker_id="w1")
    assert history.status("a") == "queued"
    assert history.state("a").deadline_ns == BEGIN + 160 * SECOND
    history.wait(59)
    history.started("a", worker_id="w2")
    assert history.status("a") == "running"
    history.released("a")
    history.wait(60)
    history.started("a", worker_id="w3")
    assert history.run.status == "failed"


def test_a_worker_that_lost_the_attempt_to_another_one_cannot_give_it_back() -> None:
    history = History(graph(step("a", queue_timeout="1m")))
    history.start()
    history.started("a", worker_id="w1")
    history.started("a", worker_id="w2")  # redelivered: w1 seemed dead
    history.feed(StepReleased(run_id="r", step_id="a", attempt_number=1, worker_id="w1"))
    assert (history.status("a"), history.state("a").worker_id) == ("running", "w2")
    history.wait(600)
    history.completed("a", 1)
    assert history.run.status == "completed"


def test_a_step_awaited_while_undoing_is_awaited_for_its_time_in_the_queue_only() -> None:
    history = History(
        graph(step("fails"), step("slow", compensate="undo", queue_timeout="1m"), step("undo"), timeout="1h")
    )
    history.start()
    history.failed("fails")
    assert history.status("slow") == "queued"
    history.tick()
    assert history.given_up == [("slow", 1)]
    assert history.run.status == "compensated"


@pytest.mark.parametrize("watched", [False, True])
def test_the_queue_is_left_at_the_same_instants_whether_a_tick_came_or_not(watched: bool) -> None:
    history = History(graph(step("a", **RETRIED), step("b"), timeout="10m"))
    history.start()
    if watched:
        history.tick()  # a has waited too long at 60 s
        history.tick()  # a is tried again at 65 s
    history.time_ns = BEGIN + 90 * SECOND
    history.completed("b")
    assert [(task.step_id, task.expires_ns) for task in history.of(EnqueueTask)] == [
        ("a", BEGIN + 60 * SECOND),
        ("b", 0),
        ("a", BEGIN + 125 * SECOND),
    ]
