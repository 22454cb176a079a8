"""Sleep steps: times that the engine waits for by itself."""

from __future__ import annotations

from typing import Any

import pytest
from history import BEGIN, SECOND, History, graph, step, typed

from dagnats.model.event import Due, SleepCompleted, SleepStarted
from dagnats.model.instant import parse_rfc3339, rfc3339
from dagnats.runtime.core.sleep import next_match

HOUR = 3600 * SECOND


def sleeping(value: Any = None, **config: Any) -> History:
    history = History(graph(typed("s", "sleep", config=config), step("after", "s")))
    history.start(value)
    return history


def test_a_duration_is_slept_from_the_runs_clock() -> None:
    history = sleeping(duration="1h")
    assert (history.timers, history.enqueued) == ([HOUR], [])
    assert [event.payload.due_ns for event in history.said(SleepStarted)] == [BEGIN + HOUR]
    history.tick()
    assert (history.enqueued, bytes(history.task.input)) == (["after"], b"null")
    assert len(history.said(SleepCompleted)) == 1


@pytest.mark.parametrize(
    ("value", "due_ns"),
    [(rfc3339(BEGIN + 5 * SECOND), 5 * SECOND), (2500, 2_500_000_000), (1.9, 1_000_000)],
)
def test_the_runs_input_may_say_until_when(value: Any, due_ns: int) -> None:
    assert sleeping({"at": value}, until_input_path="at").timers == [due_ns]


def test_a_sleeps_instant_is_read_from_the_runs_input_not_from_the_steps() -> None:
    sleep = typed("s", "sleep", "a", config={"until_input_path": "at"})
    history = History(graph(step("a"), sleep))
    history.start({"at": 5_000})
    history.completed("a", {"at": 9_000_000})
    assert history.timers == [5 * SECOND]


@pytest.mark.parametrize("value", ["2001-01-01T00:00:00Z", 0])
def test_a_time_that_is_past_is_not_slept_for(value: Any) -> None:
    history = sleeping({"at": value}, until_input_path="at")
    assert (history.enqueued, history.timers) == (["after"], [])


UNCLEAR: list[Any] = [
    "soon",
    "2026-01-01T00:00:00",
    True,
    -1,
    None,
    [],
    10**400,
    1e300,
    366 * 24 * 3_600_000,
    "9" * 10_000,
]


@pytest.mark.parametrize("value", UNCLEAR)
def test_a_time_that_nobody_understands_fails_the_step_visibly(value: Any) -> None:
    history = sleeping({"at": value}, until_input_path="at")
    assert history.run.status == "failed"
    assert "sleep until_input_path 'at'" in history.run.outcome.error
    assert len(history.run.outcome.error) < 300


def test_a_missing_time_fails_the_step_visibly() -> None:
    assert "there is no 'at' in the run's input" in sleeping({}, until_input_path="at").run.outcome.error


CRON = [
    ("0 9 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T07:00:00Z"),
    ("0 9 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T08:00:00Z"),
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),  # there is no half past two
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),  # there are two
    ("*/30 * * * *", "America/New_York", "2026-11-01T05:45:00Z", "2026-11-01T06:00:00Z"),
    ("* * * * *", "UTC", "2026-11-01T05:45:00Z", "2026-11-01T05:46:00Z"),
    ("* * * * *", "UTC", "2026-11-01T05:45:59.999999999Z", "2026-11-01T05:46:00Z"),
]


@pytest.mark.parametrize(("cron", "zone", "now", "due"), CRON)
def test_a_cron_expression_means_the_next_minute_in_its_zone(cron: str, zone: str, now: str, due: str) -> None:
    assert next_match(cron, zone, parse_rfc3339(now)) == parse_rfc3339(due)


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 29 2 *"])
def test_a_cron_expression_that_matches_no_coming_minute_fails_the_step(cron: str) -> None:
    assert f"the cron expression {cron!r} matches no" in sleeping(cron=cron).run.outcome.error


def test_what_the_log_says_of_a_sleep_counts_more_than_this_machines_time_zones() -> None:
    history = History(graph(typed("s", "sleep", config={"cron": "0 0 1 1 *"}), step("after", "s")), loops_back=False)
    history.start()
    history.say(SleepStarted, "s", payload=Due(due_ns=BEGIN + HOUR))
    assert history.run.wake_ns == BEGIN + HOUR
    history.tick()
    assert history.enqueued == ["after"]


def test_a_sleep_ends_while_its_run_is_paused_and_what_follows_waits() -> None:
    history = sleeping(duration="1h")
    history.paused()
    history.tick()
    assert (history.status("s"), history.enqueued) == ("completed", [])
    history.resumed()
    assert history.enqueued == ["after"]
