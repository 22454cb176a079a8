"""Runs that keep to one worker, and what becomes of them when it is gone."""

from __future__ import annotations

from typing import Any

import pytest
from history import SECOND, History, graph, step, typed

from dagnats.model.event import Failure, StepFailed
from dagnats.model.json import encode
from dagnats.runtime.core.action import DropTask, EnqueueTask


def bound(mode: str = "soft", *steps: dict[str, Any], **settings: Any) -> History:
    """A run whose first step was done by w1, and whose second one lies in that worker's queue."""
    timeout = {"timeout": "24h"} if mode == "hard" else {}
    history = History(graph(step("a"), *(steps or (step("b", "a", **settings),)), sticky=mode, **timeout))
    history.start("in")
    history.completed("a", worker_id="w1")
    if history.enqueued == ["b"]:
        history.let_through("b")
    return history


def test_a_run_is_bound_by_the_first_result_that_names_a_worker() -> None:
    history = History(graph(step("a"), step("b", "a"), step("c", "b"), sticky="soft"))
    history.start()
    assert (history.task.worker_id, history.task.sticky) == ("", "soft")
    history.completed("a")
    assert (history.task.worker_id, history.run.worker_id) == ("", "")
    history.completed("b", worker_id="w2")
    assert history.task.worker_id == "w2"


def test_the_tasks_of_other_runs_say_nothing_of_workers() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.completed("a", worker_id="w1")
    assert (history.task.sticky, history.task.worker_id, history.run.worker_id) == ("", "", "")


def test_a_task_for_one_worker_waits_for_the_gates_answer_and_its_time_counts_from_there() -> None:
    history = History(graph(step("a"), step("b", "a"), sticky="soft"))
    history.start()
    history.completed("a", worker_id="w1")
    assert (history.task.admitted, history.state("b").sticky_due_ns) == (False, 0)
    history.wait(100)
    history.let_through("b")
    task = history.task
    assert (task.admitted, task.worker_id, task.heartbeat_ns) == (True, "w1", 60 * SECOND)
    assert task.expires_ns == history.time_ns + 5 * SECOND


def test_a_preferred_worker_that_does_not_begin_in_time_loses_the_step_to_anybody() -> None:
    history = bound("soft")
    history.tick()
    assert history.time_ns - history.run.created_ns == 5 * SECOND
    (dropped,) = history.of(DropTask)
    assert (dropped.worker_id, dropped.step_id, dropped.task, dropped.attempt) == ("w1", "b", "b.task", 1)
    assert (history.given_up, history.settled) == ([("b", 1)], [("a", 1), ("b", 1)])
    assert (history.task.worker_id, history.task.attempt, history.task.tries) == ("", 2, 1)
    assert (history.task.expires_ns, history.task.heartbeat_ns) == (0, 0)


def test_only_one_of_two_workers_is_heard_after_a_step_has_moved() -> None:
    history = bound("soft")
    history.tick()
    assert history.started("b", 1, "w1") == []
    assert history.completed("b", "late", attempt=1, worker_id="w1") == []
    history.completed("b", "ok", worker_id="w2")
    assert (history.result, history.run.worker_id) == ("ok", "w2")


def test_a_worker_that_has_begun_keeps_the_step() -> None:
    history = bound("soft")
    history.wait(4)
    history.started("b", worker_id="w1")
    history.tick()
    assert (history.status("b"), history.enqueued) == ("running", [])
    for _ in range(3):
        history.wait(40)
        history.heartbeat("b", "w1")
    assert history.status("b") == "running"
    history.completed("b", "ok", worker_id="w1")
    assert history.result == "ok"


def test_a_worker_that_dies_over_a_step_loses_it_after_a_minutes_silence() -> None:
    history = bound("soft")
    history.started("b", worker_id="w1")
    while not history.enqueued:
        history.tick()
    assert history.time_ns - history.run.created_ns == 60 * SECOND
    assert (history.task.worker_id, history.task.attempt, history.run.worker_id) == ("", 2, "")


def test_a_steps_own_heartbeat_timeout_counts_instead() -> None:
    history = bound("soft", heartbeat_timeout="10s", retry={"max_attempts": 1, "initial_delay": "1s"})
    assert history.task.heartbeat_ns == 10 * SECOND
    history.started("b", worker_id="w1")
    while not history.state("b").error:
        history.tick()
    assert history.state("b").error == "no heartbeat within the step's heartbeat timeout of 10s"


def test_a_preferred_worker_that_stops_hands_the_step_to_anybody_at_once() -> None:
    history = bound("soft")
    history.started("b", worker_id="w1")
    history.released("b", "w1")
    assert (history.task.worker_id, history.task.attempt) == ("", 2)


def test_a_needed_worker_that_stops_has_a_minute_to_come_back() -> None:
    history = bound("hard")
    history.started("b", worker_id="w1")
    history.wait(10)
    history.released("b", "w1")
    assert (history.enqueued, history.status("b")) == ([], "queued")
    assert history.state("b").sticky_due_ns == history.time_ns + 60 * SECOND
    history.started("b", worker_id="w1")
    history.completed("b", worker_id="w1")
    assert history.run.status == "completed"


def test_a_needed_worker_that_does_not_come_fails_the_step() -> None:
    history = bound("hard")
    history.tick()
    assert history.time_ns - history.run.created_ns == 60 * SECOND
    assert history.run.outcome.error == "the run keeps to worker 'w1', which did not begin it for 60s"
    assert [action.attempt for action in history.of(DropTask)] == [1]


def test_a_needed_worker_that_dies_over_a_step_fails_it() -> None:
    history = bound("hard")
    history.started("b", worker_id="w1")
    history.tick()
    assert history.run.outcome.error == "the run keeps to worker 'w1', which gave no sign of life for 60s"


def test_a_retry_goes_to_the_needed_worker_again() -> None:
    history = bound("hard", retry={"max_attempts": 1, "initial_delay": "1s"})
    history.tick()
    history.tick()
    assert (history.task.worker_id, history.task.attempt, history.task.tries) == ("w1", 2, 0)
    history.let_through("b")
    history.completed("b", worker_id="w1")
    assert history.run.status == "completed"


def test_a_lost_worker_is_a_failure_that_failure_steps_handle() -> None:
    history = bound("hard", step("b", "a", on_failure="h"), step("h"))
    history.tick()
    assert (history.status("b"), history.task.step_id, history.task.worker_id) == ("failed", "h", "w1")


def test_a_steps_own_queue_timeout_says_how_long_a_needed_worker_is_waited_for() -> None:
    history = bound("hard", queue_timeout="1h")
    assert history.state("b").sticky_due_ns == 0
    while not history.run.ended:
        history.tick()
    assert history.run.outcome.error == "no worker began it within the step's queue timeout of 1h"


def test_the_sooner_of_two_limits_is_when_it_is_too_late_to_begin() -> None:
    assert bound("soft", queue_timeout="1h").task.expires_ns == bound("soft").task.expires_ns
    short = bound("soft", queue_timeout="2s")
    assert short.task.expires_ns == short.time_ns + 2 * SECOND


def test_a_step_that_waits_at_a_gate_while_its_run_is_unbound_goes_to_anybody() -> None:
    history = bound("soft", step("b", "a"), step("c", "a"))
    history.let_through("b")
    history.tick()
    assert history.run.worker_id == ""
    history.let_through("c")
    assert (history.task.step_id, history.task.worker_id, history.task.attempt) == ("c", "", 1)
    assert history.state("c").sticky_due_ns == 0


@pytest.mark.parametrize("end", ["cancel", "timeout"])
def test_what_is_given_up_is_taken_out_of_the_workers_queue(end: str) -> None:
    history = bound("soft", timeout="10s")
    if end == "cancel":
        history.cancel()
    else:
        history.started("b", worker_id="w1")
        while not history.run.ended:
            history.tick()
    assert [(action.step_id, action.attempt) for action in history.of(DropTask)] == [("b", 1)]


def test_a_pause_keeps_to_the_worker() -> None:
    history = bound("soft")
    history.started("b", worker_id="w1")
    history.rested("b", 10, worker_id="w1")
    while not history.enqueued:
        history.tick()
    assert (history.task.worker_id, history.task.attempt) == ("w1", 2)


def test_each_item_of_a_map_moves_by_itself() -> None:
    history = History(graph(step("a"), typed("m", "map", "a"), sticky="soft"))
    history.start()
    history.completed("a", [1, 2], worker_id="w1")
    for item in ("m.map.0", "m.map.1"):
        history.let_through(item)
    history.started("m.map.0", worker_id="w1")
    history.tick()
    assert history.enqueued == ["m.map.1"]
    history.completed("m.map.0", 10, worker_id="w1")
    history.completed("m.map.1", 20, worker_id="w2")
    assert (history.result, history.run.worker_id) == ([10, 20], "w1")


def test_a_step_whose_effect_is_awaited_moves_too() -> None:
    history = bound("soft", step("b", "a", compensate="u"), step("c", "a"), step("u"))
    history.let_through("b")
    history.failed("c")
    history.tick()
    assert (history.task.step_id, history.task.worker_id) == ("b", "")
    history.completed("b", worker_id="w2")
    assert (history.task.step_id, history.task.worker_id) == ("u", "w2")


def test_generated_steps_of_a_group_are_for_their_group() -> None:
    history = History(graph(typed("p", "planner", config={"max_steps": 2}), sticky="soft"))
    history.start()
    history.completed("p", {"steps": [{"id": "x", "task": "x", "worker_group": "g"}, {"id": "y", "task": "y"}]})
    assert [(task.group, task.worker_id) for task in history.of(EnqueueTask)[1:]] == [("g", ""), ("", "")]
    history.completed("p.x", worker_id="of-the-group")
    assert history.run.worker_id == ""


def test_what_the_engine_says_of_a_task_binds_nobody() -> None:
    history = History(graph(step("a", retry={"max_attempts": 1}), sticky="soft"))
    history.start()
    refused = Failure(error="the task could not be queued", detail="dispatch_refused")
    history.feed(StepFailed(run_id="r", step_id="a", attempt_number=1, payload=encode(refused)))
    assert history.run.worker_id == ""
