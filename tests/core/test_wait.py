"""Waits for events from outside, and events that cancel a run."""

from __future__ import annotations

from typing import Any

import pytest
from history import BEGIN, SECOND, History, graph, step, typed

from dagnats.model.event import WaitMatched, WaitStarted, WaitTimeout
from dagnats.model.json import encode
from dagnats.runtime.core.action import AddWaiter, DropWaiter


def wait_step(right: Any = "input.order.id", **config: Any) -> dict[str, Any]:
    match = {"left": "order.id", "op": "eq", "right": right}
    return typed("w", "wait_for_event", "a", config={"event": "paid", "timeout": "1h", "match": match, **config})


WAIT = wait_step()


def waiting(right: Any = "input.order.id", **config: Any) -> History:
    history = History(graph(step("a"), wait_step(right, **config), step("after", "w")))
    history.start({"order": {"id": 7}})
    history.completed("a", {"n": [1, {"x": "y"}]})
    return history


@pytest.mark.parametrize(
    ("right", "value"),
    [("input.order.id", b"7"), ("order.id", b"7"), ("step.a.output.n.1.x", b'"y"'), ({"value": {"a": 1}}, b'{"a":1}')],
)
def test_the_event_is_compared_with_what_the_run_has(right: Any, value: bytes) -> None:
    (waiter,) = waiting(right).of(AddWaiter)
    assert (waiter.step_id, waiter.attempt, waiter.event) == ("w", 1, "paid")
    assert (waiter.left, waiter.op, bytes(waiter.right)) == ("order.id", "eq", value)
    assert (waiter.since_ns, waiter.until_ns) == (BEGIN, BEGIN + 3600 * SECOND)


@pytest.mark.parametrize("right", ["input.nothing", "step.a.output.n.5", "step.after.output.x", "step.a.output.n.x"])
def test_a_comparison_with_nothing_fails_the_step_visibly(right: str) -> None:
    history = waiting(right)
    assert history.run.status == "failed"
    assert f"wait match.right {right!r}: there is no" in history.run.outcome.error
    assert history.of(AddWaiter) == []


def test_the_event_is_the_steps_output_and_is_not_watched_for_any_more() -> None:
    history = waiting()
    history.matched("w", {"order": {"id": 7}})
    assert (history.enqueued, bytes(history.task.input)) == (["after"], b'{"order":{"id":7}}')
    assert [(drop.step_id, drop.attempt, drop.event) for drop in history.of(DropWaiter)] == [("w", 1, "paid")]
    assert history.matched("w", "late") == []


def test_what_is_brought_before_the_wait_begins_is_kept_for_it_and_only_the_first() -> None:
    history = History(graph(step("a"), WAIT, step("after", "w")))
    history.start({"order": {"id": 7}})
    history.say(WaitMatched, "w", attempt=1, payload=encode("first"))
    history.say(WaitMatched, "w", attempt=1, payload=encode("second"))
    assert history.status("w") == "pending"
    history.completed("a")
    assert (history.enqueued, bytes(history.task.input)) == (["after"], b'"first"')
    assert (history.of(AddWaiter), history.run.early) == ([], {})


@pytest.mark.parametrize(("step_id", "attempt"), [("w", 0), ("w", 2), ("a", 1), ("after", 1), ("w.for.a", 1)])
def test_what_is_brought_for_another_attempt_or_another_kind_of_step_is_not_kept(step_id: str, attempt: int) -> None:
    history = History(graph(step("a"), WAIT, step("after", "w")))
    history.start({"order": {"id": 7}})
    history.say(WaitMatched, step_id, attempt=attempt, payload=encode("x"))
    assert history.run.early == {}
    history.completed("a")
    assert (history.status("w"), len(history.of(AddWaiter))) == ("running", 1)


def test_what_was_brought_for_a_wait_that_is_over_is_not_kept_for_the_next_one() -> None:
    history = waiting()
    history.failed_by_hand("w")
    history.reopened()
    history.say(WaitMatched, "w", attempt=1, payload=encode("late"))
    assert (history.status("w"), history.state("w").attempt, history.run.early) == ("running", 2, {})


def test_when_nothing_comes_the_step_completes_and_says_so() -> None:
    history = waiting()
    history.tick()
    assert bytes(history.task.input) == b'{"timeout":true}'
    assert (len(history.said(WaitStarted)), len(history.said(WaitTimeout)), len(history.of(DropWaiter))) == (1, 1, 1)


def test_a_wait_begins_when_its_step_is_ready_although_the_run_is_paused() -> None:
    match = {"left": "n", "op": "eq", "right": {"value": 1}}
    wait = typed("w", "wait_for_event", "a", config={"event": "e", "timeout": "1h", "lookback": "5s", "match": match})
    history = History(graph(step("a"), wait))
    history.start()
    history.paused()
    history.completed("a")
    history.wait(60)
    history.resumed()
    assert history.of(AddWaiter)[0].since_ns == BEGIN - 5 * SECOND
    assert history.of(AddWaiter)[0].until_ns == BEGIN + 3660 * SECOND


@pytest.mark.parametrize("end", ["cancel", "give_up", "skip"])
def test_nobody_watches_for_a_wait_that_was_given_up(end: str) -> None:
    history = waiting()
    {
        "cancel": history.cancel,
        "give_up": lambda: history.failed_by_hand("w"),
        "skip": lambda: history.skipped_by_hand("w"),
    }[end]()
    assert [drop.step_id for drop in history.of(DropWaiter)] == ["w"]


def test_a_signal_is_kept_in_order_and_shown_to_workers() -> None:
    history = History(graph(step("a")))
    history.start()
    history.signalled("go", 1)
    history.signalled("go", 2)
    assert [(signal.name, signal.seq, bytes(signal.data)) for signal in history.run.signals] == [
        ("go", 2, b"1"),
        ("go", 3, b"2"),
    ]
    assert [(kept.name, kept.seq) for kept in history.kept] == [("go", 2), ("go", 3)]


CANCELS: list[dict[str, Any]] = [
    {"event": "stop"},
    {"event": "stop.one", "match": {"left": "id", "op": "eq", "right": "input.id"}, "timeout": "10s"},
    {"event": "stop.two", "match": {"left": "id", "op": "in", "right": {"value": [1]}}},
    {"event": "never", "match": {"left": "id", "op": "eq", "right": "input.missing"}},
]


def test_events_that_cancel_the_run_are_watched_for_while_it_runs() -> None:
    history = History(graph(step("a"), cancel_on=CANCELS))
    history.start({"id": 7})
    told = [
        (a.step_id, a.event, a.left, a.op, bytes(a.right), a.since_ns - BEGIN, a.until_ns)
        for a in history.of(AddWaiter)
    ]
    assert told == [
        ("__cancel_0", "stop", "", "", b"", 0, 0),
        ("__cancel_1", "stop.one", "id", "eq", b"7", 0, BEGIN + 10 * SECOND),
        ("__cancel_2", "stop.two", "id", "in", b"[1]", 0, 0),
    ]
    history.completed("a")
    assert [drop.step_id for drop in history.of(DropWaiter)] == ["__cancel_0", "__cancel_1", "__cancel_2", "__cancel_3"]


def test_a_run_that_had_to_be_admitted_watches_from_then_on_and_again_when_it_is_opened_again() -> None:
    history = History(graph(step("a"), cancel_on=CANCELS[:1], concurrency={"max_runs": 1}))
    history.start()
    assert history.of(AddWaiter) == []
    history.admitted()
    assert len(history.of(AddWaiter)) == 1
    history.failed("a")
    history.reopened()
    history.admitted()
    assert len(history.of(AddWaiter)) == 2
