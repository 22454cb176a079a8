"""Which attempts nobody waits for any more."""

from __future__ import annotations

from history import History, graph, step, typed

from dagnats.runtime.core.attempt import is_over

RETRIED = {"retry": {"max_attempts": 1, "initial_delay": "10s"}}


def test_an_attempt_is_over_once_it_is_answered_and_so_are_those_before_it() -> None:
    history = History(graph(step("a", **RETRIED), step("b", "a")))
    history.start()
    assert not is_over(history.run, "a", 1)
    history.failed("a", kind="retriable")
    assert is_over(history.run, "a", 1), "it waits to be tried again, as another attempt"
    history.tick()
    assert is_over(history.run, "a", 1)
    assert not is_over(history.run, "a", 2)
    history.completed("a")
    assert is_over(history.run, "a", 2)


def test_of_what_a_run_that_goes_on_does_not_know_nothing_is_over() -> None:
    history = History(graph(step("a")))
    history.start()
    for unknown in (("a", 2), ("a", 0), ("other", 1)):
        assert not is_over(history.run, *unknown)
    history.cancel()
    assert is_over(history.run, "other", 1)
    assert is_over(history.run, "a", 1)
    assert not is_over(history.run, "a", 2), "it may be opened again"


def test_a_planner_that_has_planned_is_over_and_its_steps_are_not() -> None:
    history = History(graph(typed("p", "planner", task="plan", config={"max_steps": 3})))
    history.start()
    history.completed("p", {"steps": [{"id": "x", "task": "t"}]})
    assert is_over(history.run, "p", 1)
    assert not is_over(history.run, "p.x", 1)
