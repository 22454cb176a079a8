"""A handler that lets its step rest: the attempt ends, and goes on later as the same try."""

from __future__ import annotations

import pytest
from history import SECOND, History, graph, step, typed

from dagnats.model.event import MAX_PAUSE_MS, StepPaused
from dagnats.runtime.core.action import EnqueueTask

TRY_AGAIN = {"max_attempts": 1, "initial_delay": "1s"}
DAY = 24 * 3600


def resting(seconds: float = 10, **settings: object) -> History:
    """A run whose only step rests."""
    history = History(graph(step("a", **settings)))
    history.start("in")
    history.started("a", worker_id="w1")
    history.rested("a", seconds, worker_id="w1")
    return history


def test_a_paused_step_is_handed_out_again_after_its_pause() -> None:
    history = resting(10)
    assert (history.status("a"), history.enqueued, history.timers) == ("queued", [], [10 * SECOND])
    history.tick()
    task = history.task
    assert (bytes(task.input), task.attempt, task.tries) == (b'"in"', 2, 1)
    history.completed("a", "done")
    assert history.result == "done"


def test_a_pause_of_no_time_hands_the_step_out_at_once() -> None:
    history = resting(0)
    assert (history.enqueued, history.timers) == (["a"], [])


def test_a_paused_attempt_has_let_go_of_its_slot() -> None:
    history = resting()
    assert history.settled == [("a", 1)]
    assert history.given_up == []


def test_what_the_paused_attempt_still_says_is_too_late() -> None:
    history = resting()
    assert history.completed("a", "late", attempt=1) == []
    history.tick()
    assert history.completed("a", "late", attempt=1) == []
    assert history.rested("a", 1, attempt=1) == []
    assert (history.status("a"), history.state("a").attempt) == ("queued", 2)


def test_the_gates_are_asked_again_after_a_pause() -> None:
    history = History(graph(step("a", max_task_concurrency=1)))
    history.start()
    history.let_through("a")
    history.rested("a", 10)
    history.tick()
    assert (history.task.admitted, history.task.limits.concurrency) == (False, 1)
    history.let_through("a")
    assert history.task.admitted


def test_a_pause_uses_up_no_retry() -> None:
    history = resting(retry=TRY_AGAIN)
    history.tick()
    history.failed("a", kind="retriable")
    history.tick()
    assert (history.task.attempt, history.task.tries) == (3, 2)
    history.rested("a", 5)
    assert history.state("a").error == ""
    history.tick()
    assert (history.task.attempt, history.task.tries) == (4, 2)
    history.failed("a", kind="retriable")
    assert history.run.status == "failed"


def test_the_time_of_a_step_counts_from_its_next_start() -> None:
    history = resting(100, timeout="10s", queue_timeout="20s", heartbeat_timeout="3s")
    while not history.enqueued:
        history.tick()
    assert history.time_ns - history.run.created_ns == 100 * SECOND
    assert history.task.expires_ns == history.time_ns + 20 * SECOND
    history.wait(19)
    history.started("a")
    assert (history.state("a").deadline_ns, history.state("a").heartbeat_due_ns) == (
        history.time_ns + 10 * SECOND,
        history.time_ns + 3 * SECOND,
    )


def test_a_run_that_is_paused_meanwhile_hands_the_step_out_when_it_goes_on() -> None:
    history = resting(10)
    history.paused()
    history.tick()
    assert history.enqueued == []
    history.resumed()
    assert history.enqueued == ["a"]


def test_nothing_that_rests_outlives_its_run() -> None:
    history = resting(10)
    history.cancel()
    assert (history.status("a"), history.given_up) == ("cancelled", [])


def test_a_resting_step_can_be_skipped_and_failed_by_hand() -> None:
    skipped = resting(10)
    skipped.skipped_by_hand("a")
    assert (skipped.run.status, skipped.given_up) == ("completed", [])
    failed = resting(10)
    failed.failed_by_hand("a", "enough")
    assert (failed.run.outcome.error, failed.given_up) == ("enough", [])


def test_a_runs_time_is_over_while_its_step_rests() -> None:
    history = History(graph(step("a"), timeout="60s"))
    history.start()
    history.rested("a", 3600)
    history.tick()
    assert (history.time_ns - history.run.created_ns, history.run.status) == (60 * SECOND, "failed")


def test_an_item_of_a_map_rests_while_the_others_go_on() -> None:
    history = History(graph(step("a"), typed("m", "map", "a", config={"max_parallel": 2})))
    history.start()
    history.completed("a", [1, 2, 3])
    history.rested("m.map.0", 10)
    history.completed("m.map.1", 20)
    history.completed("m.map.2", 30)
    history.tick()
    assert (history.task.step_id, bytes(history.task.input), history.task.attempt) == ("m.map.0", b"1", 2)
    history.completed("m.map.0", 10)
    assert history.result == [10, 20, 30]


def test_a_loop_keeps_its_turn_and_what_the_turn_before_gave() -> None:
    history = History(graph(typed("l", "agent_loop", config={"max_iterations": 3})))
    history.start("in")
    history.continued("l", "more")
    history.rested("l", 10)
    history.tick()
    task = history.task
    assert (task.iteration, bytes(task.previous), task.attempt, task.tries) == (1, b'"more"', 3, 1)


def test_the_time_of_a_loop_goes_on_while_it_rests() -> None:
    history = History(graph(typed("l", "agent_loop", config={"max_iterations": 3, "max_duration": "5s"})))
    history.start()
    history.rested("l", 10)
    history.tick()
    assert history.run.outcome.error == "agent loop exceeded max duration (5s)"


def test_a_failure_step_may_rest() -> None:
    history = History(graph(step("a", on_failure="h"), step("h")))
    history.start()
    history.failed("a")
    history.rested("h", 10)
    history.tick()
    assert history.enqueued == ["h"]
    history.completed("h")
    assert (history.status("a"), history.run.status) == ("recovered", "completed")


def test_a_compensation_may_rest() -> None:
    history = History(graph(step("a", compensate="u"), step("b", "a"), step("u")))
    history.start()
    history.completed("a")
    history.failed("b")
    history.rested("u", 10)
    history.tick()
    assert history.enqueued == ["u"]
    history.completed("u")
    assert history.run.status == "compensated"


def test_a_step_whose_effect_is_awaited_does_not_rest() -> None:
    history = History(graph(step("a", compensate="u"), step("b"), step("u")))
    history.start()
    history.started("a")
    history.failed("b")
    history.rested("a", 10)
    assert history.state("a").error == "the run is being undone: the handler paused, and does not begin again"
    assert history.run.status == "compensated"


def test_a_pause_lasts_no_longer_than_it_may() -> None:
    history = History(graph(step("a")))
    history.start()
    history.say(StepPaused, "a", delay_ms=2**53)
    assert history.timers == [MAX_PAUSE_MS * 1_000_000] == [30 * DAY * SECOND]


@pytest.mark.parametrize("end", ["pause", "retry", "turn"])
def test_a_signal_that_was_taken_is_known_to_every_later_attempt(end: str) -> None:
    kind = "agent_loop" if end == "turn" else "normal"
    config = {"max_iterations": 3} if end == "turn" else None
    history = History(graph(typed("a", kind, config=config, retry=TRY_AGAIN)))
    history.start()
    taken = {"go": 7, "stop": 8}
    match end:
        case "pause":
            history.rested("a", 1, consumed=taken)
        case "retry":
            history.failed("a", kind="retriable", consumed=taken)
        case _:
            history.continued("a", consumed=taken)
    if not history.enqueued:
        history.tick()
    assert history.of(EnqueueTask)[-1].consumed == taken
    history.rested("a", 0, consumed={"go": 9})
    assert history.task.consumed == {"go": 9, "stop": 8}
    history.completed("a")
    assert history.state("a").consumed == {}
