"""Agent loops: a handler that asks to run again."""

from __future__ import annotations

from typing import Any

import pytest
from history import SECOND, History, graph, step, typed


def looping(**config: Any) -> History:
    settings = config.pop("settings", {})
    history = History(graph(typed("l", "agent_loop", config={"max_iterations": 3, **config}, **settings)))
    history.start("in")
    return history


def test_what_a_turn_gives_is_what_the_next_one_gets() -> None:
    history = looping()
    history.continued("l", "more")
    task = history.task
    assert (bytes(task.input), bytes(task.previous), task.iteration, task.attempt) == (b'"more"', b'"more"', 1, 2)
    history.continued("l")
    assert (bytes(history.task.input), history.task.iteration) == (b'"more"', 2)
    history.completed("l", "done")
    assert history.result == "done"


def test_a_loop_has_only_so_many_turns() -> None:
    history = looping(max_iterations=2)
    history.continued("l")
    history.continued("l")
    assert history.run.outcome.error == "agent loop exceeded max iterations (2)"


def test_the_pause_between_turns_is_a_wake_up_of_the_run() -> None:
    history = looping(loop_delay=10 * SECOND)
    history.continued("l")
    assert (history.enqueued, history.timers) == ([], [10 * SECOND])
    assert history.completed("l", attempt=1) == []
    history.tick()
    assert history.enqueued == ["l"]


def test_all_turns_together_take_no_longer_than_max_duration_from_the_first_start() -> None:
    history = looping(max_duration=10 * SECOND)
    history.wait(6)
    history.continued("l")
    history.wait(3)
    history.continued("l")
    history.tick()
    assert history.time_ns - history.run.created_ns == 10 * SECOND
    assert history.run.outcome.error == "agent loop exceeded max duration (10s)"
    assert history.given_up == [("l", 3)]


def test_time_that_is_over_between_two_turns_ends_the_loop_too() -> None:
    history = looping(max_duration=10 * SECOND, loop_delay=20 * SECOND)
    history.continued("l")
    history.tick()
    assert "max duration" in history.run.outcome.error
    assert history.given_up == []


def test_a_retry_keeps_the_turn_and_each_turn_has_all_retries() -> None:
    history = looping(settings={"retry": {"max_attempts": 1}})
    history.continued("l", "two")
    history.failed("l", kind="retriable")
    history.tick()
    assert (history.task.iteration, bytes(history.task.input)) == (1, b'"two"')
    history.continued("l")
    history.failed("l", kind="retriable")
    history.tick()
    assert history.task.iteration == 2
    history.failed("l", kind="retriable")
    assert history.run.status == "failed"


def test_only_a_loop_can_ask_for_another_turn() -> None:
    history = History(graph(step("a")))
    history.start()
    history.continued("a")
    assert "only an agent_loop has" in history.run.outcome.error


@pytest.mark.parametrize("turns", [0, 1])
def test_a_loop_opened_again_has_all_its_turns_again_and_its_dead_letter_goes(turns: int) -> None:
    history = looping(max_iterations=2)
    history.continued("l", "far")
    history.failed("l")
    history.reopened()
    assert (bytes(history.task.input), history.task.iteration) == (b'"far"', 0)
    for _ in range(turns):
        history.continued("l")
    history.completed("l")
    assert history.run.status == "completed"
    assert history.dropped_letters == ["l"]


def test_a_loop_whose_run_is_being_undone_has_no_other_turn() -> None:
    loop = typed("l", "agent_loop", config={"max_iterations": 9}, compensate="undo")
    history = History(graph(step("a", compensate="undo"), loop, step("b"), step("undo")))
    history.start()
    history.completed("a")
    history.failed("b")
    history.continued("l")
    assert (history.status("l"), history.enqueued) == ("failed", ["undo.for.a"])
