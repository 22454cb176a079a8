"""What people do to single steps, and gates to single attempts."""

from __future__ import annotations

import pytest
from history import SECOND, History, graph, step, typed

WAIT = {"event": "e", "timeout": "1h", "match": {"left": "n", "op": "eq", "right": {"value": 1}}}


def test_a_skipped_step_is_stopped_and_what_depends_on_it_goes_on() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.skipped_by_hand("a")
    assert (history.status("a"), history.given_up, history.enqueued) == ("skipped", [("a", 1)], ["b"])
    assert bytes(history.task.input) == b"null"
    assert history.completed("a", attempt=1) == []


def test_a_step_that_waits_for_its_retry_can_be_skipped() -> None:
    history = History(graph(step("a", retry={"max_attempts": 1, "initial_delay": "9s"}), step("b")))
    history.start()
    history.failed("a", kind="retriable")
    history.skipped_by_hand("a")
    history.wait(60)
    history.completed("b")
    assert history.run.status == "completed"


def test_a_step_whose_turn_has_not_come_can_be_skipped() -> None:
    history = History(graph(step("a"), step("b", "a"), step("c", "b")))
    history.start()
    history.skipped_by_hand("b")
    assert history.enqueued == ["c"]
    history.completed("a")
    assert history.enqueued == []


@pytest.mark.parametrize("step_id", ["", "nobody", "a.map.0", "a.x", "h", "p.x", "m.map.0", "done", "failed"])
def test_what_cannot_be_skipped_is_left_alone(step_id: str) -> None:
    history = History(
        graph(
            step("a", on_failure="h"),
            typed("p", "planner", "a", config={"max_steps": 1}),
            step("done"),
            typed("m", "map", "done", config={}),
            step("failed", on_failure="h"),
            step("h"),
        )
    )
    history.start()
    history.completed("done", 7) if step_id == "done" else history.failed("failed")
    before = set(history.run.steps)
    assert not history.skipped_by_hand(step_id)
    assert set(history.run.steps) == before


def test_nothing_is_skipped_while_a_run_is_undone() -> None:
    history = History(graph(step("a", compensate="u"), step("b", "a", compensate="u"), step("c"), step("u")))
    history.start()
    history.completed("a")
    history.failed("c")
    assert history.skipped_by_hand("b") == []
    assert history.status("b") == "queued"


@pytest.mark.parametrize("kind", ["normal", "wait_for_event", "sub_workflow", "sleep", "approval"])
def test_any_step_in_flight_can_be_failed(kind: str) -> None:
    config = {
        "normal": None,
        "wait_for_event": WAIT,
        "sub_workflow": {"workflow": "child"},
        "sleep": {"duration": "1h"},
        "approval": {"subject": "s", "timeout": "1h"},
    }[kind]
    history = History(graph(typed("a", kind, config=config, on_failure="h", retry={"max_attempts": 3}), step("h")))
    history.start()
    history.failed_by_hand("a", "enough")
    assert (history.status("a"), history.enqueued) == ("failed", ["h"])
    assert b'"error":"enough"' in bytes(history.task.input)


def test_a_step_that_waits_for_its_retry_or_for_its_run_can_be_failed() -> None:
    history = History(graph(step("a", retry={"max_attempts": 9, "initial_delay": "1h"})))
    history.start()
    history.failed("a", kind="retriable")
    assert history.failed("a", attempt=1) == []
    history.failed_by_hand("a")
    assert (history.run.status, history.given_up, history.dead_letters) == ("failed", [], ["a"])
    paused = History(graph(step("a", retry={"max_attempts": 9})))
    paused.start()
    paused.paused()
    paused.failed("a", kind="retriable")
    paused.tick()
    paused.failed_by_hand("a")
    assert (paused.run.status, paused.run.line) == ("failed", [])


def test_a_planner_that_has_planned_can_be_failed() -> None:
    history = History(graph(typed("p", "planner", config={"max_steps": 1})))
    history.start()
    history.completed("p", {"steps": [{"id": "x", "task": "t"}]})
    history.failed_by_hand("p")
    assert (history.run.status, history.given_up, history.dead_letters) == ("failed", [("p.x", 1)], [])


@pytest.mark.parametrize("kind", ["planner", "map"])
def test_what_has_parts_is_not_tried_again_when_somebody_fails_it(kind: str) -> None:
    config = {"max_steps": 1} if kind == "planner" else {}
    history = History(graph(step("a"), typed("p", kind, "a", config=config, retry={"max_attempts": 3})))
    history.start()
    history.completed("a", [1])
    if kind == "planner":
        history.completed("p", {"steps": [{"id": "x", "task": "t"}]})
    history.failed_by_hand("p", kind="retriable")
    assert (history.run.status, history.run.deadlines) == ("failed", [])


def test_workers_have_no_say_in_what_the_engine_runs() -> None:
    history = History(graph(typed("a", "sleep", config={"duration": "1h"}, timeout=SECOND)))
    history.start()
    said = [
        history.started("a"),
        history.heartbeat("a"),
        history.released("a"),
        history.completed("a"),
        history.continued("a"),
    ]
    assert said == [[], [], [], [], []]
    assert (history.status("a"), history.state("a").worker_id) == ("running", "")


def test_a_step_that_cannot_be_sent_fails() -> None:
    history = History(graph(typed("c", "sub_workflow", config={"workflow": "child"})))
    history.start()
    history.failed("c", "too large")
    assert history.run.outcome.error == "too large"


def test_a_gate_lets_an_attempt_through_once() -> None:
    history = History(graph(step("a", max_task_concurrency=1, timeout=SECOND)))
    history.start()
    assert (history.task.admitted, history.task.limits.concurrency) == (False, 1)
    history.let_through("a")
    assert (history.enqueued, history.task.attempt, history.task.admitted) == (["a"], 1, True)
    assert history.let_through("a") == []
    history.failed("a", attempt=0)
    assert history.settled == [("a", 1)]


def test_a_gate_is_too_late_for_an_attempt_that_has_begun_or_is_over() -> None:
    history = History(graph(step("a", retry={"max_attempts": 1})))
    history.start()
    history.started("a")
    assert history.let_through("a") == []
    history.failed("a", kind="retriable")
    assert history.let_through("a") == []
    assert history.settled == [("a", 1)]


def test_items_of_an_awaited_map_are_let_through_while_their_run_is_undone() -> None:
    m = typed("m", "map", "a", config={}, compensate="u")
    history = History(graph(step("a"), m, step("b"), step("u")))
    history.start()
    history.completed("a", [1])
    history.failed("b")
    history.let_through("m.map.0")
    assert history.enqueued == ["m.map.0"]


KEYED = {"keyed_rate_limit": {"key": "user.id", "limit": 5, "period": "1s"}}


def test_a_keyed_limit_counts_for_a_value_of_the_steps_input() -> None:
    history = History(graph(step("a", **KEYED)))
    history.start({"user": {"id": {"b": 1, "a": 2}}})
    assert (history.task.key, history.task.limits.units) == ('{"a":2,"b":1}', 1)


def test_a_key_that_is_not_there_fails_the_step_visibly() -> None:
    history = History(graph(step("a", **KEYED, retry={"max_attempts": 3})))
    history.start({})
    assert history.run.outcome.error.startswith("the key of the step's rate limit, 'user.id', is not in its input")


def test_a_task_carries_what_its_step_says_of_it() -> None:
    settings = {
        "worker_group": "gpu",
        "priority": 3,
        "metadata": {"k": "v"},
        "required_capabilities": ["control-plane"],
    }
    history = History(graph(step("a", **settings), step("b")))
    history.start()
    special, plain = history.of_tasks
    assert (special.group, special.priority, special.metadata) == ("gpu", 3, {"k": "v"})
    assert special.capabilities == ("control-plane",)
    assert (plain.group, plain.priority, plain.metadata, plain.capabilities) == ("", 0, {}, ())
