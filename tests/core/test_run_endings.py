"""Endings: one terminal event, nothing left in flight, and then silence."""

from __future__ import annotations

import re

import pytest
from history import BEGIN, SECOND, History, content, graph, step

from dagnats.model.event import (
    AnyEvent,
    CompensateCompleted,
    CompensateFailed,
    CompensateStarted,
    CompensateStepCompleted,
    Outcome,
    Poison,
    Start,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepReleased,
    StepStarted,
    TimerFired,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPoisoned,
    WorkflowStarted,
)
from dagnats.model.run import IN_FLIGHT, RunStatus
from dagnats.runtime.core.action import CancelTasks, DropTimer, EndRun
from dagnats.runtime.core.graph import graph_of

PARALLEL = graph(step("a"), step("b"), step("waits", retry={"max_attempts": 1, "initial_delay": "1h"}), step("c", "b"))

EVENTS: list[AnyEvent] = [
    WorkflowStarted(run_id="r", payload=Start(workflow="w", def_hash="")),
    StepStarted(run_id="r", step_id="a", attempt_number=1),
    StepCompleted(run_id="r", step_id="a", attempt_number=1),
    StepFailed(run_id="r", step_id="b", attempt_number=1),
    StepHeartbeat(run_id="r", step_id="a", attempt_number=1),
    StepReleased(run_id="r", step_id="a", attempt_number=1),
    WorkflowPoisoned(run_id="r", payload=Poison(error="unreadable")),
    TimerFired(run_id="r", due_ns=BEGIN + 10**6 * SECOND),
    WorkflowCompleted(run_id="r"),
    WorkflowFailed(run_id="r"),
    WorkflowCancelled(run_id="r"),
    CompensateStarted(run_id="r"),
    CompensateStepCompleted(run_id="r", step_id="a"),
    CompensateCompleted(run_id="r"),
    CompensateFailed(run_id="r"),
]


def _begun() -> History:
    history = History(PARALLEL)
    history.start()
    history.started("a")
    history.failed("waits", kind="retriable")
    return history


def test_a_run_ends_when_its_terminal_event_is_folded_not_when_it_is_decided() -> None:
    history = History(graph(step("a")), loops_back=False)
    history.start()
    history.completed("a", 7)
    (end,) = [action for action in history.last if isinstance(action, EndRun)]
    assert isinstance(end.event, WorkflowCompleted)
    assert end.event.timestamp == history.stamp
    assert (history.run.status, history.run.ending) == ("running", "completed")
    history.wait(2)
    history.feed_own()
    assert (history.run.status, history.run.ending) == ("completed", "")
    assert history.run.ended_ns == BEGIN + 2 * SECOND
    assert history.run.outcome == Outcome(output=end.event.payload.output)


def test_a_failed_run_leaves_nothing_in_flight() -> None:
    history = _begun()
    history.failed("b", "boom")
    assert history.run.status == "failed"
    assert [history.status(name) for name in ("a", "b", "waits", "c")] == [
        "cancelled",
        "failed",
        "cancelled",
        "pending",
    ]
    assert history.state("a").ended_ns == BEGIN
    assert (history.state("waits").retry_at_ns, history.run.deadlines, history.run.wake_ns) == (0, [], 0)


def test_a_cancelled_run_leaves_nothing_in_flight_and_undoes_nothing() -> None:
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("undo"), timeout="1h"))
    history.start()
    history.completed("a")
    history.wait(5)
    assert history.cancel() == [
        DropTimer(id="r.3.0", run_id="r", seq=1),
        CancelTasks(id="r.3.1", run_id="r", steps=(("b", "b.task", 1),), ended=True),
    ]
    assert history.run.status == "cancelled"
    assert history.status("b") == "cancelled"
    assert (history.run.ended_ns, history.run.deadline_ns, history.run.deadlines) == (BEGIN + 5 * SECOND, 0, [])


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (WorkflowCompleted(run_id="r", payload=Outcome(error="by hand")), "completed"),
        (WorkflowFailed(run_id="r", payload=Outcome(error="by hand")), "failed"),
        (WorkflowCancelled(run_id="r", payload=Outcome(error="by hand")), "cancelled"),
        (CompensateCompleted(run_id="r", payload=Outcome(error="by hand")), "compensated"),
        (CompensateFailed(run_id="r", payload=Outcome(error="by hand")), "compensate_failed"),
    ],
)
def test_the_first_terminal_event_in_the_log_counts_whoever_wrote_it(event: AnyEvent, status: RunStatus) -> None:
    history = _begun()
    history.feed(event)
    assert [type(action) for action in history.last] == [DropTimer, CancelTasks]
    assert history.run.status == status
    assert history.run.outcome.error == "by hand"
    assert not [state for state in history.run.steps.values() if state.status in IN_FLIGHT]


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled", "compensated", "compensate_failed"])
def test_an_ended_run_absorbs_every_event(ending: RunStatus) -> None:
    history = _begun()
    terminal = {
        "completed": WorkflowCompleted,
        "failed": WorkflowFailed,
        "cancelled": WorkflowCancelled,
        "compensated": CompensateCompleted,
        "compensate_failed": CompensateFailed,
    }[ending]
    history.feed(terminal(run_id="r"))
    assert history.run.status == ending
    before = content(history.run)
    for event in EVENTS:
        assert history.feed(event) == []
        assert content(history.run) == before


def test_between_the_decision_and_its_event_nothing_else_counts() -> None:
    history = History(graph(step("a"), step("b")), loops_back=False)
    history.start()
    history.failed("a", "boom")
    for event in [*EVENTS[:8], WorkflowCancelled(run_id="r")]:
        assert history.feed(event) == []
    assert history.run.status == "running"
    history.feed_own()
    assert (history.run.status, history.run.outcome.error) == ("failed", "boom")


def test_a_second_start_changes_nothing() -> None:
    history = _begun()
    seq, before = history.run.seq, content(history.run)
    assert history.start("other input") == []
    history.run.seq = seq
    assert content(history.run) == before


def test_reports_of_the_engine_itself_change_nothing() -> None:
    history = _begun()
    before = content(history.run).replace(b'"seq":3', b'"seq":_')
    history.feed(CompensateStarted(run_id="r"))
    history.feed(CompensateStepCompleted(run_id="r", step_id="a"))
    assert content(history.run).replace(b'"seq":5', b'"seq":_') == before


def test_a_run_knows_the_place_and_the_servers_time_of_its_last_event() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    assert (history.run.seq, history.run.time_ns) == (1, BEGIN)
    history.wait(5)
    history.completed("a")
    history.wait(-3)  # the server's clock was set back: the run's clock was not
    history.completed("b")
    assert (history.run.seq, history.run.time_ns) == (4, BEGIN + 2 * SECOND)
    assert history.run.clock_ns == BEGIN + 5 * SECOND


def test_a_run_whose_definition_is_gone_can_still_be_ended() -> None:
    history = _begun()
    history.graph = graph_of("w", "0" * 64, None)
    history.cancel()
    assert history.run.status == "cancelled"
    assert history.status("a") == "cancelled"
    assert history.given_up == []  # nobody knows whose queues they are in


def test_actions_are_numbered_by_the_event_that_decided_them() -> None:
    history = _begun()
    history.failed("b")
    assert [action.id for action in history.actions] == [
        *("r.1.0", "r.1.1", "r.1.2"),  # three tasks
        "r.3.0",  # a wake-up
        *("r.4.0", "r.4.1", "r.4.2"),  # a dead letter, the end, whom to stop
        "r.5.0",  # the wake-up is not needed
    ]
    assert all(re.fullmatch(r"r\.\d+\.\d+", action.id) for action in history.actions)
    assert {action.run_id for action in history.actions} == {"r"}
