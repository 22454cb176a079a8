"""A run that is held, and the line in which steps wait for room."""

from __future__ import annotations

from history import SECOND, History, graph, step, typed

from dagnats.runtime.core.action import CancelTasks


def limited(most: int, *steps: dict[str, object], **settings: object) -> History:
    history = History(graph(*steps, concurrency={"max_steps": most}, **settings))
    history.start()
    return history


def test_a_run_has_no_more_steps_in_flight_than_max_steps() -> None:
    history = limited(2, step("a"), step("b"), step("c"), step("d"))
    assert history.enqueued == ["a", "b"]
    history.completed("b")
    assert history.enqueued == ["c"]
    history.completed("a")
    assert history.enqueued == ["d"]


def test_the_line_is_in_the_definitions_order() -> None:
    history = limited(1, step("a"), step("late", "a"), step("b"), step("c"))
    history.completed("a")
    assert (history.enqueued, history.run.line) == (["late"], ["b", "c"])
    history = limited(1, step("a"), step("b"), step("first", "a"))
    history.completed("a")
    assert (history.enqueued, history.run.line) == (["b"], ["first"])


def test_failure_steps_do_not_stand_in_the_line() -> None:
    history = limited(1, step("a", on_failure="h"), step("b"), step("h"))
    history.failed("a")
    assert (history.enqueued, history.run.line) == (["h"], ["b"])


def test_nothing_is_handed_out_while_a_run_is_paused() -> None:
    history = History(graph(step("a"), step("b", "a"), step("c")))
    history.start()
    history.paused()
    assert history.completed("a") == []
    assert history.run.line == ["b"]
    history.resumed()
    assert history.enqueued == ["b"]
    assert history.resumed() == []


def test_a_retry_that_is_due_while_its_run_is_paused_waits_for_it() -> None:
    history = History(graph(step("a", retry={"max_attempts": 1, "initial_delay": "1s"})))
    history.start()
    history.failed("a", kind="retriable")
    history.paused()
    history.tick()
    assert history.enqueued == []
    assert history.completed("a", attempt=0) == []
    history.resumed()
    assert (history.enqueued, history.task.attempt) == (["a"], 2)


def test_a_retry_does_not_wait_for_room_that_only_it_can_make() -> None:
    history = limited(1, step("a", retry={"max_attempts": 1}), step("b"))
    history.paused()
    history.failed("a", kind="retriable")
    history.tick()
    history.resumed()
    assert (history.enqueued, history.run.line) == (["a"], ["b"])


def test_items_of_a_map_wait_at_its_place_in_their_order() -> None:
    made = graph(step("a"), step("z"), typed("m", "map", "a", config={}), step("y", "z"))
    history = History(made)
    history.start()
    history.completed("a", list(range(12)))
    history.cancel()
    history.reopened()
    history.paused()
    history.cancel()
    assert history.run.line == []
    history = History(graph(step("a"), typed("m", "map", "a", config={"max_parallel": 2}), step("z")))
    history.start()
    history.completed("a", list(range(12)))
    history.paused()
    history.completed("m.map.1")
    history.completed("m.map.0")
    assert history.run.line == ["m.map.2", "m.map.3"]


def test_generated_steps_wait_at_their_planners_place() -> None:
    plan = {"steps": [{"id": "x", "task": "t"}, {"id": "y", "task": "t"}]}
    history = History(graph(typed("p", "planner", config={"max_steps": 2}), step("a"), step("b", "a")))
    history.start()
    history.paused()
    history.completed("a")
    history.completed("p", plan)
    assert history.run.line == ["p.x", "p.y", "b"]


def test_a_step_that_waits_in_the_line_can_be_skipped() -> None:
    history = limited(1, step("a"), step("b"), step("c"))
    history.skipped_by_hand("b")
    history.completed("a")
    assert history.enqueued == ["c"]
    history = History(graph(step("a"), step("b", "a"), step("c", "b")))
    history.start()
    history.paused()
    history.completed("a")
    history.skipped_by_hand("b")
    history.resumed()
    assert history.enqueued == ["c"]


def test_nobody_is_told_to_stop_what_waits_in_the_line_of_a_run_that_ends() -> None:
    history = History(graph(step("a")))
    history.start()
    history.paused()
    history.rested("a", 0)
    assert history.state("a").held
    settled = len(history.settled)
    history.cancel()
    assert (history.of(CancelTasks), len(history.settled)) == ([], settled)


def test_a_paused_run_that_was_cancelled_and_opened_again_goes_on() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.paused()
    history.completed("a")
    history.cancel()
    history.reopened()
    assert history.enqueued == ["b"]
    history.completed("b")
    assert history.run.status == "completed"


def test_a_map_that_recovered_leaves_nothing_in_the_line() -> None:
    history = History(graph(step("a"), typed("m", "map", "a", config={"max_parallel": 1}, on_failure="h"), step("h")))
    history.start()
    history.completed("a", [1, 2, 3])
    history.failed("m.map.0")
    history.paused()
    history.completed("h")
    assert (history.run.status, history.run.line) == ("completed", [])


def test_undoing_waits_too_while_a_run_is_paused() -> None:
    history = History(graph(step("a", compensate="u"), step("b", "a"), step("u")))
    history.start()
    history.completed("a")
    history.paused()
    history.failed("b")
    assert history.enqueued == []
    history.resumed()
    assert history.enqueued == ["u"]


def test_deadlines_pass_while_a_run_is_paused() -> None:
    history = History(graph(step("a"), timeout=5 * SECOND))
    history.start()
    history.paused()
    history.tick()
    assert history.run.status == "failed"


def test_what_a_gate_lets_go_while_its_run_is_paused_waits_for_the_run_and_asks_anew() -> None:
    history = History(graph(step("a", max_task_concurrency=1, queue_timeout=SECOND, retry={"max_attempts": 1})))
    history.start()
    history.paused()
    assert history.let_through("a") == []
    assert (history.run.line, history.settled) == (["a"], [("a", 1)])
    assert history.let_through("a") == []
    history.wait(2)
    history.resumed()
    assert (history.enqueued, history.task.attempt, history.task.admitted) == (["a"], 2, False)
    history.let_through("a")
    assert (history.enqueued, history.task.admitted) == (["a"], True)
    history.failed("a", kind="retriable")
    assert history.state("a").retry_at_ns, "no retry was used up by the pause"
