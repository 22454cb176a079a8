"""Whom to stop: attempts whose results no longer count are named, each once."""

from __future__ import annotations

import pytest
from history import History, graph, step

from dagnats.model.event import (
    AnyEvent,
    CompensateCompleted,
    CompensateFailed,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
)
from dagnats.runtime.core.action import CancelTasks, EnqueueTask

WAITING = {"retry": {"max_attempts": 1, "initial_delay": "10s"}}
PARALLEL = graph(step("done"), step("queued"), step("running"), step("waits", **WAITING), step("next", "queued"))


def _begun(**settings: bool) -> History:
    history = History(PARALLEL, **settings)
    history.start()
    history.completed("done")
    history.started("running")
    history.failed("waits", kind="retriable")
    return history


def _told(history: History) -> list[CancelTasks]:
    return history.of(CancelTasks)


ENDS: list[AnyEvent] = [
    WorkflowCompleted(run_id="r"),
    WorkflowFailed(run_id="r"),
    WorkflowCancelled(run_id="r"),
    CompensateCompleted(run_id="r"),
    CompensateFailed(run_id="r"),
]


@pytest.mark.parametrize("event", ENDS, ids=lambda event: type(event).__name__)
def test_an_end_from_outside_stops_what_is_queued_or_runs_and_not_what_waits_for_a_retry(event: AnyEvent) -> None:
    history = _begun()
    history.feed(event)
    (told,) = _told(history)
    assert told.steps == (("queued", "queued.task", 1), ("running", "running.task", 1))
    assert told.ended


def test_a_run_that_completes_has_nothing_to_stop() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.completed("a")
    history.completed("b")
    assert history.run.status == "completed"
    assert _told(history) == []


def test_a_failing_run_stops_the_rest_when_that_is_decided_and_says_so_once() -> None:
    history = _begun(loops_back=False)
    history.failed("queued")
    assert (history.run.status, history.run.ending) == ("running", "failed")
    history.feed_own()
    assert history.run.status == "failed"
    (told,) = _told(history)
    assert told.steps == (("running", "running.task", 1),)
    assert told.ended


def test_a_failing_run_with_nothing_in_flight_stops_nobody() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.failed("a")
    assert _told(history) == []


def test_undoing_stops_what_it_does_not_await() -> None:
    history = History(
        graph(
            step("fails"),
            step("slow", compensate="undo"),
            step("plain"),
            step("waits", **WAITING),
            step("undo"),
        )
    )
    history.start()
    history.failed("waits", kind="retriable")
    history.failed("fails")
    (told,) = _told(history)
    assert told.steps == (("plain", "plain.task", 1),)
    assert not told.ended


def test_an_undoing_that_is_stuck_leaves_nothing_to_stop() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo")))
    history.start()
    history.completed("a")
    history.failed("b")
    history.failed("undo")
    assert history.run.status == "compensate_failed"
    assert _told(history) == []


def test_an_attempt_that_times_out_is_stopped_and_named_once_however_the_run_goes_on() -> None:
    history = History(graph(step("a", timeout="30s"), step("b")))
    history.start()
    history.started("a")
    history.tick()
    (told,) = _told(history)
    assert told.steps == (("a", "a.task", 1), ("b", "b.task", 1))
    assert told.ended


def test_an_attempt_that_times_out_while_the_run_goes_on_is_stopped_alone() -> None:
    history = History(graph(step("a", timeout="30s", **WAITING), step("b")))
    history.start()
    history.started("a")
    history.tick()
    (told,) = _told(history)
    assert (told.steps, told.ended) == ((("a", "a.task", 1),), False)


def test_an_awaited_step_that_times_out_while_undoing_is_stopped() -> None:
    history = History(graph(step("fails"), step("slow", compensate="undo", timeout="30s"), step("undo")))
    history.start()
    history.started("slow")
    history.failed("fails")
    history.tick()
    assert [told.steps for told in _told(history)] == [(("slow", "slow.task", 1),)]
    assert history.run.status == "compensated"


def test_one_decision_may_queue_an_attempt_and_stop_it_in_this_order() -> None:
    # a times out at 30 s and is tried again at 40 s; the run's time is over at 60 s. Nobody watched until 100 s.
    history = History(graph(step("a", timeout="30s", **WAITING), timeout="1m"))
    history.start()
    history.started("a")
    history.wait(100)
    history.completed("a", attempt=1)
    kinds = [type(action) for action in history.last]
    assert kinds.index(EnqueueTask) < kinds.index(CancelTasks)
    (told,) = _told(history)
    assert told.steps == (("a", "a.task", 1), ("a", "a.task", 2))


def test_an_instance_of_a_shared_step_is_named_with_its_own_id_and_the_shared_task_type() -> None:
    history = History(graph(step("a", on_failure="rescue"), step("b", on_failure="rescue"), step("rescue")))
    history.start()
    history.failed("a")
    history.cancel()
    (told,) = _told(history)
    assert told.steps == (("b", "b.task", 1), ("rescue.for.a", "rescue.task", 1))


def test_thousands_are_named_in_one_action() -> None:
    history = History(graph(*(step(f"s{at}") for at in range(5_000))))
    history.start()
    history.cancel()
    (told,) = _told(history)
    assert len(told.steps) == 5_000
