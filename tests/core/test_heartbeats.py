"""Heartbeats: a running attempt that is silent for too long fails; one that is heard of goes on."""

from __future__ import annotations

from history import BEGIN, SECOND, History, content, graph, step

from dagnats.model.event import StepHeartbeat, TimerFired
from dagnats.runtime.core.action import EnqueueTask, SendDeadLetter, SetTimer

BEATING = {"heartbeat_timeout": "10s"}
RETRIED = {**BEATING, "retry": {"max_attempts": 1, "initial_delay": "5s"}}


def _begun(**settings: object) -> History:
    history = History(graph(step("a", **settings)))
    history.start()
    history.started("a", worker_id="w1")
    return history


def test_silence_counts_from_the_start_not_from_the_queueing() -> None:
    history = History(graph(step("a", **BEATING)))
    history.start()
    assert (history.timers, history.task.heartbeat_ns) == ([], 10 * SECOND)
    history.wait(100)
    history.started("a")
    assert history.timers == [110 * SECOND]


def test_an_attempt_that_falls_silent_fails_and_names_the_limit() -> None:
    history = _begun(**BEATING)
    history.tick()
    assert history.run.status == "failed"
    assert history.run.outcome.error == "no heartbeat within the step's heartbeat timeout of 10s"
    (letter,) = history.of(SendDeadLetter)
    assert (letter.failure.detail, letter.failure.failure_type) == ("heartbeat_timeout", "retriable")


def test_it_is_retried_stopped_where_it_runs_and_heard_too_late() -> None:
    history = _begun(**RETRIED)
    history.tick()
    assert history.given_up == [("a", 1)]
    assert history.state("a").retry_at_ns == BEGIN + 15 * SECOND
    history.heartbeat("a")
    assert history.status("a") == "queued"
    history.tick()
    assert history.task.attempt == 2
    history.wait(60)  # waiting in the queue is no silence
    history.started("a")
    assert history.status("a") == "running"


def test_a_heartbeat_lets_the_silence_count_anew() -> None:
    history = _begun(**BEATING)
    for _ in range(10):
        history.wait(9)
        history.heartbeat("a")
    history.wait(9)
    history.completed("a", 1)
    assert history.run.status == "completed"


def test_a_heartbeat_at_the_last_instant_is_too_late() -> None:
    history = _begun(**RETRIED)
    history.wait(10)
    history.heartbeat("a")
    assert history.state("a").retry_at_ns == BEGIN + 15 * SECOND


def test_a_second_start_lets_the_silence_count_anew() -> None:
    history = _begun(**BEATING)
    history.wait(9)
    history.started("a", worker_id="w2")
    history.wait(9)
    history.completed("a")
    assert history.run.status == "completed"


def test_a_heartbeat_does_not_prolong_the_steps_timeout() -> None:
    history = _begun(**BEATING, timeout="15s")
    history.wait(9)
    history.heartbeat("a")
    history.wait(6)
    history.heartbeat("a")
    assert history.run.outcome.error == "no result within the step's timeout of 15s"


def test_of_both_limits_the_earlier_one_counts() -> None:
    history = _begun(**BEATING, timeout="15s")
    history.wait(100)
    history.completed("a")
    assert history.run.outcome.error == "no heartbeat within the step's heartbeat timeout of 10s"
    assert history.run.clock_ns == BEGIN + 100 * SECOND
    assert history.state("a").ended_ns == BEGIN + 10 * SECOND


def test_at_the_same_instant_the_timeout_is_what_is_blamed() -> None:
    history = _begun(**BEATING, timeout="10s")
    history.tick()
    assert history.run.outcome.error == "no result within the step's timeout of 10s"


def test_a_heartbeat_of_an_attempt_believed_to_wait_is_its_start() -> None:
    history = History(graph(step("a", **BEATING, timeout="15s", queue_timeout="1m")))
    history.start()
    history.wait(30)
    history.heartbeat("a", worker_id="w1")
    state = history.state("a")
    assert (state.status, state.worker_id, state.started_ns) == ("running", "w1", BEGIN + 30 * SECOND)
    assert (state.deadline_ns, state.heartbeat_due_ns) == (BEGIN + 45 * SECOND, BEGIN + 40 * SECOND)


def test_a_heartbeat_does_not_say_that_another_worker_has_the_attempt() -> None:
    history = _begun(**BEATING)
    history.started("a", worker_id="w2")
    history.heartbeat("a", worker_id="w1")  # thought to be dead, not quite
    assert history.state("a").worker_id == "w2"


def test_an_attempt_that_is_given_back_is_not_silent() -> None:
    history = _begun(**BEATING)
    history.released("a", worker_id="w1")
    history.wait(60)
    history.started("a", worker_id="w2")
    assert history.status("a") == "running"
    assert history.state("a").heartbeat_due_ns == BEGIN + 70 * SECOND


def test_heartbeats_of_a_step_without_a_limit_and_of_other_attempts_change_nothing() -> None:
    for settings, attempt in (({}, 1), (BEATING, 2)):
        history = _begun(**settings)
        seq, before = history.run.seq, content(history.run)
        assert history.feed(StepHeartbeat(run_id="r", step_id="a", attempt_number=attempt, worker_id="w9")) == []
        history.run.seq = seq
        assert content(history.run) == before


def test_what_a_heartbeat_says_stays_in_the_log() -> None:
    history = _begun(**BEATING)
    before = len(content(history.run))
    history.heartbeat("a", details={"done": "x" * 1_000})
    assert len(content(history.run)) < before + 100


def test_ten_thousand_heartbeats_leave_a_small_run_and_cost_a_wake_up_per_timeout() -> None:
    history = History(graph(step("a", **RETRIED, timeout="1h"), step("b", queue_timeout="2h"), timeout="3h"))
    history.start()
    history.started("a")
    for at in range(10_000):
        history.wait(0.1)
        if history.run.wake_ns <= history.time_ns:
            history.feed(TimerFired(run_id="r", due_ns=history.run.wake_ns))
        history.heartbeat("a")
        assert len(history.run.deadlines) < 100, at
    assert len(history.of(SetTimer)) <= 3 + 1_000 / 10
    assert history.status("a") == "running"
    history.wait(10)
    history.heartbeat("a")
    assert history.state("a").error == "no heartbeat within the step's heartbeat timeout of 10s"
    history.wait(5)
    history.completed("b")
    assert [(task.step_id, task.attempt) for task in history.of(EnqueueTask)] == [("a", 1), ("b", 1), ("a", 2)]


def test_no_deadline_is_lost_with_those_that_were_passed_over() -> None:
    steps = [step(f"s{at}", timeout=f"{100 + at}s", heartbeat_timeout="50s") for at in range(40)]
    history = History(graph(*steps, timeout="40s"))
    history.start()
    for _ in range(20):
        for at in range(40):
            history.started(f"s{at}")
    standing = {(BEGIN + (100 + at) * SECOND, f"s{at}", 1) for at in range(40)}
    standing |= {(BEGIN + 50 * SECOND, f"s{at}", 1) for at in range(40)} | {(BEGIN + 40 * SECOND, "", 0)}
    assert standing <= set(history.run.deadlines)
    assert len(history.run.deadlines) <= 4 * 40 + 64


def test_a_handler_that_works_for_days_does_not_use_up_its_runs_history() -> None:
    history = History(graph(step("a", **BEATING)))
    history.start(max_events=4)
    history.started("a")
    history.wait(2)
    for _ in range(20):
        history.wait(6)
        history.heartbeat("a")
        history.tick()
    assert history.run.status == "running"
    assert len(history.log) > 40
    history.completed("a")
    assert history.run.status == "completed"
