"""Attempts: which results count, and when a failed one is tried again."""

from __future__ import annotations

import pytest
from history import BEGIN, SECOND, History, content, graph, step

from dagnats.model.event import FailureType, StepCompleted, StepFailed, TimerFired
from dagnats.runtime.core.action import EnqueueTask, SendDeadLetter
from dagnats.runtime.core.advance import advance

RETRIED = {"retry": {"max_attempts": 2, "initial_delay": "10s"}}


def _retried() -> History:
    history = History(graph(step("a", **RETRIED), step("b", "a")))
    history.start({"n": 1})
    return history


def test_a_retriable_failure_is_tried_again_after_its_delay_with_the_same_input() -> None:
    history = _retried()
    first = history.task
    history.failed("a", kind="retriable")
    assert history.enqueued == []
    assert history.timers == [10 * SECOND]
    assert history.status("a") == "queued"
    history.tick()
    assert history.task.attempt == 2
    assert history.task.input == first.input
    assert history.state("a").queued_ns == BEGIN + 10 * SECOND


def test_the_error_of_the_last_failure_is_kept_until_the_step_completes() -> None:
    history = _retried()
    history.failed("a", "no disk", kind="retriable")
    assert (history.state("a").error, history.state("a").failure_type) == ("no disk", "retriable")
    history.tick()
    assert history.state("a").error == "no disk"
    history.completed("a")
    assert (history.state("a").error, history.state("a").failure_type) == ("", "")


def test_a_step_fails_for_good_when_its_budget_is_used() -> None:
    history = _retried()
    for _ in range(2):
        history.failed("a", kind="retriable")
        history.tick()
    history.failed("a", "boom 3", kind="retriable")
    assert history.run.status == "failed"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("a", "boom 3")
    assert history.status("b") == "pending"
    (letter,) = history.of(SendDeadLetter)
    assert (letter.step_id, letter.attempt, letter.task, letter.failure.error) == ("a", 3, "a.task", "boom 3")
    assert bytes(letter.input) == b'{"n":1}'


def test_a_non_retriable_failure_uses_no_budget() -> None:
    history = _retried()
    history.failed("a", kind="non_retriable")
    assert history.run.status == "failed"
    assert history.state("a").attempt == 1


@pytest.mark.parametrize("kind", ["retriable", "retry_after"])
def test_without_a_policy_every_failure_is_permanent(kind: FailureType) -> None:
    history = History(graph(step("a")))
    history.start()
    history.failed("a", kind=kind, retry_after_ms=1_000)
    assert history.run.status == "failed"
    assert history.dead_letters == ["a"]


def test_retry_after_waits_as_the_handler_said_and_uses_the_same_budget() -> None:
    history = _retried()
    history.failed("a", kind="retry_after", retry_after_ms=3_000)
    assert history.timers == [3 * SECOND]
    history.tick()
    history.failed("a", kind="retriable")
    assert history.timers == [13 * SECOND]
    history.tick()
    history.failed("a", kind="retry_after", retry_after_ms=3_000)
    assert history.run.status == "failed"


def test_a_policy_of_no_retries_overrides_the_workflows() -> None:
    none, default = {"retry": {"max_attempts": 0}}, {"max_attempts": 5}
    history = History(graph(step("a", **none), step("b"), default_retry=default))
    history.start()
    history.failed("b", kind="retriable")
    assert history.status("b") == "queued"
    history.failed("a", kind="retriable")
    assert history.run.status == "failed"


@pytest.mark.parametrize(
    ("settings", "default", "delay"),
    [
        ({"retry": {"max_attempts": 1, "initial_delay": "2s"}}, {"max_attempts": 1, "initial_delay": "3s"}, 2),
        ({}, {"max_attempts": 1, "initial_delay": "3s"}, 3),
        ({"retries": 1}, {"max_attempts": 1, "initial_delay": "3s"}, 3),
        ({"retries": 1}, None, 5),
    ],
)
def test_the_steps_policy_comes_before_the_workflows_and_that_before_legacy_retries(
    settings: dict[str, object], default: dict[str, object] | None, delay: int
) -> None:
    history = History(graph(step("a", **settings), default_retry=default))
    history.start()
    history.failed("a", kind="retriable")
    assert history.timers == [delay * SECOND]


# -- the fence ---------------------------------------------------------------------------------------------


def _unchanged_by(history: History, event: StepCompleted | StepFailed) -> bool:
    """Whether the run stays as it is, but for its place in the log, and nothing is ordered."""
    before = history.run.seq, content(history.run)
    actions = history.feed(event)
    history.run.seq = before[0]
    return not actions and content(history.run) == before[1]


def test_a_redelivered_completion_changes_nothing() -> None:
    history = History(graph(step("a"), step("b", "a"), step("c", "b")))
    history.start()
    history.completed("a", 1)
    assert _unchanged_by(history, StepCompleted(run_id="r", step_id="a", attempt_number=1))
    assert _unchanged_by(history, StepCompleted(run_id="r", step_id="a"))


def test_a_failure_after_the_completion_changes_nothing() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.completed("a")
    assert _unchanged_by(history, StepFailed(run_id="r", step_id="a", attempt_number=1))


def test_the_result_of_an_older_attempt_changes_nothing() -> None:
    history = _retried()
    history.failed("a", kind="retriable")
    history.tick()
    assert _unchanged_by(history, StepCompleted(run_id="r", step_id="a", attempt_number=1))
    assert _unchanged_by(history, StepFailed(run_id="r", step_id="a", attempt_number=1))


def test_the_result_of_an_attempt_that_does_not_exist_changes_nothing() -> None:
    history = _retried()
    assert _unchanged_by(history, StepCompleted(run_id="r", step_id="a", attempt_number=2))


@pytest.mark.parametrize("attempt", [0, 1])
def test_while_a_retry_waits_results_are_too_late(attempt: int) -> None:
    history = _retried()
    history.failed("a", kind="retriable")
    assert _unchanged_by(history, StepCompleted(run_id="r", step_id="a", attempt_number=attempt))


def test_a_result_without_an_attempt_counts_for_the_current_one() -> None:
    history = _retried()
    history.failed("a", kind="retriable")
    history.tick()
    history.feed(StepCompleted(run_id="r", step_id="a"))
    assert history.status("a") == "completed"


def test_attempts_only_grow() -> None:
    history = _retried()
    history.failed("a", kind="retriable")
    history.tick()
    history.failed("a", kind="retriable")
    history.tick()
    assert [task.attempt for task in history.of(EnqueueTask)] == [1, 2, 3]


def test_a_tick_before_the_retry_is_due_leaves_it_waiting() -> None:
    history = _retried()
    history.failed("a", kind="retriable")
    history.wait(5)
    history.feed(TimerFired(run_id="r", due_ns=history.time_ns))
    assert history.enqueued == []
    assert history.timers == []


# -- the place in the log ----------------------------------------------------------------------------------


def test_an_event_that_was_folded_already_changes_nothing() -> None:
    history = History(graph(step("a"), step("b")))
    history.start()
    history.started("a", worker_id="w1")
    history.wait(5)
    history.started("b")
    before = content(history.run)
    for record in history.log:
        run, actions, _ = advance(history.graph, history.run, record)
        assert actions == ()
        assert content(run) == before


def test_a_result_without_an_attempt_counts_once_however_often_it_is_read() -> None:
    history = _retried()
    history.feed(StepFailed(run_id="r", step_id="a"))
    history.tick()
    before = content(history.run)
    run, actions, _ = advance(history.graph, history.run, history.log[1])
    assert actions == ()
    assert content(run) == before
