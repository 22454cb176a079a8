"""Failure steps: they run when a step failed for good, and the run goes on without that step."""

from __future__ import annotations

import json
from typing import Any

import pytest
from history import History, graph, step

from dagnats.runtime.core.action import EnqueueTask, SendDeadLetter

GUARDED = graph(step("a", on_failure="rescue"), step("b", "a"), step("rescue"))


def _task_input(history: History) -> Any:
    return json.loads(bytes(history.task.input))


def test_a_failure_step_is_not_started_by_the_graph() -> None:
    history = History(GUARDED)
    history.start()
    assert history.enqueued == ["a"]
    history.completed("a")
    history.completed("b", "done")
    assert history.run.status == "completed"
    assert bytes(history.run.outcome.output) == b'"done"'
    assert history.status("rescue") == "pending"


def test_a_failure_step_is_told_what_failed_and_with_which_input() -> None:
    history = History(
        graph(step("a", on_failure="rescue", retry={"max_attempts": 1, "initial_delay": "1s"}), step("rescue"))
    )
    history.start({"id": 7})
    history.failed("a", kind="retriable")
    history.tick()
    history.failed("a", "disk full", kind="retriable")
    assert history.enqueued == ["rescue"]
    assert _task_input(history) == {
        "failed_step": "a",
        "error": "disk full",
        "failure_type": "retriable",
        "attempts": 2,
        "input": {"id": 7},
    }
    assert history.status("a") == "failed"


@pytest.mark.parametrize("error", ['say "no"', "bell \x07 and \x00", "back\\slash", "line\nline", "\u2028 \U0001f600"])
def test_a_failure_step_receives_json_whatever_the_error_says(error: str) -> None:
    history = History(GUARDED)
    history.start()
    history.failed("a", error)
    assert _task_input(history)["error"] == error


def test_the_original_input_of_a_failed_join_is_what_it_had_received() -> None:
    history = History(graph(step("x"), step("y"), step("a", "x", "y", on_failure="rescue"), step("rescue")))
    history.start("in")
    history.completed("x", 1)
    history.completed("y", 2)
    history.failed("a")
    assert _task_input(history)["input"] == {"x": 1, "y": 2}


def test_a_failure_step_of_a_run_without_input_gets_null() -> None:
    history = History(GUARDED)
    history.start()
    history.failed("a")
    assert _task_input(history)["input"] is None


def test_a_recovered_steps_dependents_are_skipped_and_the_run_completes() -> None:
    history = History(GUARDED)
    history.start()
    history.failed("a")
    assert history.run.status == "running"
    history.completed("rescue", "not the output")
    assert (history.status("a"), history.status("b"), history.status("rescue")) == (
        "recovered",
        "skipped",
        "completed",
    )
    assert history.run.status == "completed"
    assert bytes(history.run.outcome.output) == b"null"
    assert history.dead_letters == []


def test_skipping_reaches_every_dependent_of_a_dependent_and_nothing_else() -> None:
    history = History(
        graph(
            step("a", on_failure="rescue"),
            step("other"),
            step("b", "a"),
            step("c", "b", "other"),
            step("d", "c"),
            step("free", "other"),
            step("rescue"),
        )
    )
    history.start()
    history.completed("other", 1)
    history.failed("a")
    history.completed("rescue")
    assert [history.status(name) for name in ("b", "c", "d", "free")] == ["skipped", "skipped", "skipped", "queued"]
    history.completed("free", "F")
    assert history.run.status == "completed"
    assert json.loads(bytes(history.run.outcome.output)) == {"d": None, "free": "F"}


def test_a_skipped_join_is_not_started_by_its_other_dependencies() -> None:
    history = History(graph(step("a", on_failure="rescue"), step("x"), step("y", "a", "x"), step("rescue")))
    history.start()
    history.failed("a")
    history.completed("rescue")
    assert history.status("y") == "skipped"
    history.completed("x")
    assert history.enqueued == []
    assert history.status("y") == "skipped"
    assert history.run.status == "completed"


def test_two_recovered_branches_skip_their_common_dependent_once() -> None:
    history = History(
        graph(step("a", on_failure="r1"), step("b", on_failure="r2"), step("c", "a", "b"), step("r1"), step("r2"))
    )
    history.start()
    history.failed("a")
    history.failed("b")
    history.completed("r1")
    assert history.run.status == "running"
    history.completed("r2")
    assert history.run.status == "completed"


def test_a_failing_failure_step_fails_the_run_for_the_step_it_ran_for() -> None:
    history = History(GUARDED)
    history.start({"id": 7})
    history.failed("a", "disk full")
    history.failed("rescue", "rescue broke")
    assert history.run.status == "failed"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("a", "disk full")
    letters = {letter.step_id: letter for letter in history.of(SendDeadLetter)}
    assert list(letters) == ["rescue", "a"]
    assert letters["rescue"].failure.error == "rescue broke"
    assert json.loads(bytes(letters["rescue"].input))["failed_step"] == "a"
    assert letters["a"].failure.error == "disk full"
    assert bytes(letters["a"].input) == b'{"id":7}'


def test_a_failure_step_has_retries_of_its_own() -> None:
    history = History(
        graph(step("a", on_failure="rescue"), step("rescue", retry={"max_attempts": 1, "initial_delay": "1s"}))
    )
    history.start()
    history.failed("a")
    history.failed("rescue", kind="retriable")
    history.tick()
    assert (history.task.step_id, history.task.attempt) == ("rescue", 2)
    history.completed("rescue")
    assert history.run.status == "completed"


def test_a_shared_failure_step_runs_as_an_instance_of_its_own_for_each_use() -> None:
    history = History(graph(step("a", on_failure="rescue"), step("b", on_failure="rescue"), step("rescue")))
    history.start()
    history.failed("a", "A")
    assert history.enqueued == ["rescue.for.a"]
    assert history.task.task == "rescue.task"
    history.failed("b", "B")
    assert history.enqueued == ["rescue.for.b"]
    assert _task_input(history)["failed_step"] == "b"
    history.completed("rescue.for.b")
    assert (history.status("a"), history.status("b")) == ("failed", "recovered")
    history.completed("rescue.for.a")
    assert history.run.status == "completed"
    assert [task.step_id for task in history.of(EnqueueTask)] == ["a", "b", "rescue.for.a", "rescue.for.b"]


def test_a_failure_step_in_flight_is_cancelled_when_the_run_fails_elsewhere() -> None:
    history = History(graph(step("a", on_failure="rescue"), step("b"), step("rescue")))
    history.start()
    history.failed("a")
    history.failed("b")
    assert history.run.status == "failed"
    assert history.status("rescue") == "cancelled"
