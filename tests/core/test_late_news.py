"""What comes late, twice or in the wrong order, and what it must not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from history import BEGIN, SECOND, History, graph, step, typed

from dagnats.model.event import AnyEvent, StepContinued, StepQueued, StepStarted, TimerFired
from dagnats.runtime.core.action import AddWaiter, DropWaiter

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY = {"max_attempts": 2, "strategy": "fixed", "initial_delay": "10s"}


def unmoved(history: History, event: AnyEvent) -> bool:
    """Whether nothing follows from an event, for no step and not for the run."""
    before = _seen(history)
    history.wait(1)
    return history.feed(event) == [] and _seen(history) == before


def _seen(history: History) -> tuple[str, bytes]:
    return history.run.status, msgspec.json.encode(history.run.steps)


def late_start(step_id: str = "a", attempt: int = 1) -> StepStarted:
    return StepStarted(run_id="r", step_id=step_id, attempt_number=attempt, worker_id="late")


def test_a_late_start_of_a_completed_step_changes_nothing() -> None:
    history = History(graph(step("a", timeout="5s"), step("b", "a")))
    history.start()
    history.completed("a", 1)
    assert unmoved(history, late_start())
    assert history.status("a") == "completed"


def test_a_late_start_does_not_bring_back_a_cancelled_step() -> None:
    history = History(graph(step("a"), step("b")))
    history.start()
    history.cancel()
    assert unmoved(history, late_start())
    assert (history.status("a"), history.run.status) == ("cancelled", "cancelled")


@pytest.mark.parametrize("how", ["skipped", "failed"])
def test_a_late_start_does_not_bring_back_a_step_that_is_over(how: str) -> None:
    history = History(graph(step("a", on_failure="f"), step("b"), step("f")))
    history.start()
    history.skipped_by_hand("a") if how == "skipped" else history.failed("a")
    assert unmoved(history, late_start())
    assert history.status("a") == how


def test_a_queued_event_does_not_bring_a_step_back_that_has_begun() -> None:
    history = History(graph(step("a", max_task_concurrency=1)))
    history.start()
    history.let_through("a")
    history.started("a")
    assert unmoved(history, StepQueued(run_id="r", step_id="a", attempt_number=1))
    history.completed("a")
    assert unmoved(history, StepQueued(run_id="r", step_id="a", attempt_number=1))
    assert history.status("a") == "completed"


def test_a_redelivered_task_that_begins_again_is_shown_and_uses_no_retry() -> None:
    history = History(graph(step("a", retry=RETRY)))
    history.start()
    history.started("a", worker_id="w1")
    for at in range(5):
        history.wait(1)
        history.started("a", worker_id=f"w{at + 2}")
    state = history.state("a")
    assert (state.worker_id, state.started_ns, state.attempt) == ("w6", BEGIN + 5 * SECOND, 1)
    for _ in range(2):
        history.failed("a", kind="retriable")
        history.tick()
    assert (history.state("a").attempt, history.run.status) == (3, "running"), "both retries are there"


def test_the_timeout_of_an_attempt_does_not_touch_the_next_one() -> None:
    history = History(graph(step("a", timeout="15s", retry=RETRY)))
    history.start()
    history.started("a")
    history.wait(1)
    history.failed("a", kind="retriable")
    history.tick()
    history.started("a")
    history.wait(14)  # 25 s after the first start, 14 s after the second
    history.feed(TimerFired(run_id="r", due_ns=BEGIN + 15 * SECOND))
    assert (history.status("a"), history.state("a").attempt) == ("running", 2)
    history.tick()
    assert (history.state("a").retries, history.time_ns) == (2, BEGIN + 26 * SECOND)


def test_no_timeout_counts_while_a_retry_waits() -> None:
    history = History(graph(step("a", timeout="5s", retry=RETRY)))
    history.start()
    history.started("a")
    history.failed("a", kind="retriable")
    history.wait(9)
    history.feed(TimerFired(run_id="r", due_ns=BEGIN + 5 * SECOND))
    assert history.state("a").retries == 1
    history.tick()
    assert (history.enqueued, history.time_ns) == (["a"], BEGIN + 10 * SECOND)


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_loop_of_an_ended_run_does_not_go_on(end: str) -> None:
    history = History(graph(typed("l", "agent_loop", config={"max_iterations": 3}), step("b")))
    history.start()
    history.cancel() if end == "cancel" else history.failed("b")
    assert unmoved(history, StepContinued(run_id="r", step_id="l", attempt_number=1))
    assert history.run.ended


def test_a_failure_before_any_start_is_retried_like_any_other() -> None:
    history = History(graph(step("a", timeout="5s", retry=RETRY)))
    history.start()
    history.failed("a", kind="retriable")
    history.tick()
    assert (history.enqueued, history.task.attempt) == (["a"], 2)
    history.failed("a")
    assert (history.run.status, history.run.outcome.error) == ("failed", "boom")


def test_a_retry_and_a_turn_keep_what_their_step_says() -> None:
    settings = {"worker_group": "gpu", "metadata": {"k": "v"}, "required_capabilities": ["control-plane"]}
    loop = typed("l", "agent_loop", config={"max_iterations": 3}, retry=RETRY, priority=2, **settings)
    history = History(graph(loop))
    history.start("in")
    history.continued("l", "more")
    history.failed("l", kind="retriable")
    history.tick()
    for task in history.of_tasks:
        assert (task.group, task.metadata, task.capabilities) == ("gpu", {"k": "v"}, ("control-plane",))
        assert task.priority == 2
    assert [(task.attempt, task.iteration) for task in history.of_tasks] == [(1, 0), (2, 1), (3, 1)]


# -- waits -----------------------------------------------------------------------------------------------------


def _wait(step_id: str, timeout: str) -> dict[str, Any]:
    match = {"left": "n", "op": "eq", "right": {"value": 1}}
    return typed(step_id, "wait_for_event", config={"event": step_id, "timeout": timeout, "match": match})


def test_a_waits_timeout_leaves_the_other_waits_of_its_run_alone() -> None:
    history = History(graph(_wait("short", "1s"), _wait("long", "1h"), cancel_on=[{"event": "stop"}]))
    history.start()
    history.tick()
    assert [drop.step_id for drop in history.of(DropWaiter)] == ["short"]
    assert (history.status("short"), history.status("long")) == ("completed", "running")
    history.matched("long", {"n": 1})
    assert history.result == {"short": {"timeout": True}, "long": {"n": 1}}


@pytest.mark.parametrize("end", ["fail", "cancel", "poison", "deadline"])
def test_a_run_that_ends_leaves_no_waiter_behind(end: str) -> None:
    history = History(graph(_wait("w", "1h"), step("a"), cancel_on=[{"event": "stop"}], timeout="1m"))
    history.start()
    {
        "fail": lambda: history.failed("a"),
        "cancel": history.cancel,
        "poison": lambda: history.poisoned("unreadable"),
        "deadline": history.tick,
    }[end]()
    assert history.run.ended
    left = {waiter.step_id for waiter in history.of(AddWaiter)} - {drop.step_id for drop in history.of(DropWaiter)}
    assert left == set()


# -- ends ------------------------------------------------------------------------------------------------------

ENDS: dict[str, Callable[[History], Any]] = {
    "completed": lambda history: history.completed("a"),
    "failed": lambda history: history.failed("a"),
    "cancelled": lambda history: history.cancel(),
    "poisoned": lambda history: history.poisoned("unreadable"),
    "timed out": lambda history: history.tick(),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_way_to_end_stamps_the_time_of_the_end(end: str) -> None:
    history = History(graph(step("a"), timeout="1h"))
    history.start()
    history.wait(5)
    ENDS[end](history)
    assert history.run.status == (end if end in ("completed", "cancelled") else "failed")
    assert history.run.ended_ns == history.time_ns >= BEGIN + 5 * SECOND


@pytest.mark.parametrize("end", ["compensated", "compensate_failed"])
def test_the_end_of_an_undoing_is_stamped_too(end: str) -> None:
    history = History(graph(step("a", compensate="u"), step("b", "a"), step("u")))
    history.start()
    history.completed("a")
    history.failed("b")
    history.wait(5)
    history.completed("u") if end == "compensated" else history.failed("u")
    assert (history.run.status, history.run.ended_ns) == (end, BEGIN + 5 * SECOND)


ENGINES_OWN: dict[str, dict[str, Any]] = {
    "approval": {"subject": "ask", "timeout": "1h"},
    "sleep": {"until_input_path": "nowhere"},
    "wait_for_event": {"event": "e", "timeout": "1h", "match": {"left": "n", "op": "eq", "right": "input.nowhere"}},
    "sub_workflow": {"workflow": "child"},
    "respond": {"body_from": "nowhere"},
}


@pytest.mark.parametrize("kind", ENGINES_OWN)
def test_a_failed_step_that_no_worker_runs_leaves_no_dead_letter(kind: str) -> None:
    history = History(graph(typed("s", kind, config=ENGINES_OWN[kind])))
    history.start({})
    if kind == "approval":
        history.rejected("s")
    if kind == "sub_workflow":
        history.child_failed("s")
    assert (history.run.status, history.run.outcome.step_id) == ("failed", "s")
    assert history.dead_letters == []
