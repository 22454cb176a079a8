"""Who starts when: counters, joins, and what each step receives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from history import BEGIN, SECOND, History, graph, step

from dagnats.model.event import NOTHING, Start, StepCompleted, StepStarted, WorkflowStarted
from dagnats.model.json import encode
from dagnats.runtime.core.action import EnqueueTask
from dagnats.runtime.core.advance import fold
from dagnats.runtime.core.graph import UnusableGraph, graph_of

DIAMOND = graph(step("top"), step("left", "top"), step("right", "top"), step("join", "left", "right"))


def _input(history: History) -> Any:
    return json.loads(bytes(history.task.input))


def test_a_run_begins_with_every_step_that_waits_for_nothing() -> None:
    history = History(graph(step("a"), step("b"), step("c", "a")))
    history.start()
    assert history.enqueued == ["a", "b"]
    assert history.run.status == "running"
    assert history.run.created_ns == history.run.clock_ns == BEGIN


def test_a_task_carries_what_its_worker_needs() -> None:
    limits = {"timeout": "30s", "queue_timeout": "5m", "heartbeat_timeout": "10s"}
    history = History(graph(step("a", **limits), timeout="1h"))
    history.start({"n": 1}, trace_parent="00-trace")
    assert history.task == EnqueueTask(
        id="r.1.0",
        run_id="r",
        workflow="w",
        step_id="a",
        task="a.task",
        attempt=1,
        input=encode({"n": 1}),
        timeout_ns=30 * SECOND,
        heartbeat_ns=10 * SECOND,
        expires_ns=BEGIN + 300 * SECOND,
        deadline_ns=BEGIN + 3_600 * SECOND,
        trace_parent="00-trace",
    )


def test_a_join_starts_when_the_last_of_its_dependencies_is_done() -> None:
    history = History(DIAMOND)
    history.start()
    history.completed("top")
    assert history.enqueued == ["left", "right"]
    history.completed("right")
    assert history.enqueued == []
    history.completed("left")
    assert history.enqueued == ["join"]


def test_a_join_of_roots_and_chains_waits_for_all() -> None:
    history = History(graph(step("a"), step("b"), step("c", "b"), step("join", "a", "b", "c")))
    history.start()
    for step_id in ("b", "a"):
        history.completed(step_id)
        assert "join" not in history.enqueued
    history.completed("c")
    assert history.enqueued == ["join"]


def test_a_step_without_dependencies_receives_the_run_input() -> None:
    history = History(graph(step("a")))
    history.start({"x": [1, 2.0]})
    assert bytes(history.task.input) == b'{"x":[1,2.0]}'


def test_a_run_without_input_gives_its_steps_none() -> None:
    history = History(graph(step("a")))
    history.feed(WorkflowStarted(run_id="r", payload=Start(workflow="w", def_hash="")))
    assert history.task.input == NOTHING


def test_a_step_with_one_dependency_receives_its_output() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start("input")
    history.completed("a", {"rows": 3})
    assert _input(history) == {"rows": 3}


def test_an_output_that_is_absent_reads_as_null() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start("input")
    history.feed(StepCompleted(run_id="r", step_id="a"))
    assert bytes(history.task.input) == b"null"


def test_a_step_with_several_dependencies_receives_them_by_name_in_its_own_order() -> None:
    history = History(graph(step("a"), step("b"), step("join", "b", "a")))
    history.start()
    history.completed("a", 1)
    history.feed(StepCompleted(run_id="r", step_id="b"))
    assert bytes(history.task.input) == b'{"b":null,"a":1}'


def test_the_output_of_the_only_leaf_is_the_runs() -> None:
    history = History(DIAMOND)
    history.start()
    for step_id in ("top", "left", "right"):
        history.completed(step_id)
    history.completed("join", {"total": 9})
    assert history.run.status == "completed"
    assert bytes(history.run.outcome.output) == b'{"total":9}'


def test_several_leaves_are_the_runs_output_by_name() -> None:
    history = History(graph(step("a"), step("b"), step("c", "a")))
    history.start()
    history.completed("b", "B")
    history.completed("a", "A")
    history.completed("c", "C")
    assert json.loads(bytes(history.run.outcome.output)) == {"b": "B", "c": "C"}


def test_a_step_remembers_when_it_was_queued_started_and_ended_and_by_whom() -> None:
    history = History(graph(step("a")), loops_back=False)
    history.start()
    history.wait(1)
    history.started("a", worker_id="w1")
    assert history.status("a") == "running"
    history.wait(1)
    history.completed("a", worker_id="w1")
    state = history.state("a")
    assert (state.queued_ns, state.started_ns, state.ended_ns) == (BEGIN, BEGIN + SECOND, BEGIN + 2 * SECOND)
    assert state.worker_id == "w1"


@pytest.mark.parametrize(
    ("seconds_after_queueing", "kept"),
    [(0.5, 0.5), (-60, 0), (60, 1), (None, 1)],
    ids=["between", "before it was queued", "in the future", "nonsense"],
)
def test_a_fast_steps_start_is_taken_from_its_result_within_reason(
    seconds_after_queueing: float | None, kept: float
) -> None:
    history = History(graph(step("a")))
    history.start()
    if seconds_after_queueing is None:
        stamp = "yesterday"
    else:
        history.wait(seconds_after_queueing)
        stamp = history.stamp
        history.wait(-seconds_after_queueing)
    history.wait(1)
    history.completed("a", started_at=stamp)
    assert history.state("a").started_ns == BEGIN + int(kept * SECOND)


def test_a_reported_start_counts_more_than_the_one_in_the_result() -> None:
    history = History(graph(step("a")))
    history.start()
    stamp = history.stamp
    history.wait(1)
    history.started("a")
    history.wait(1)
    history.completed("a", started_at=stamp)
    assert history.state("a").started_ns == BEGIN + SECOND


def test_events_of_a_run_without_a_beginning_lead_to_nothing() -> None:
    history = History(graph(step("a")))
    assert history.feed(StepStarted(run_id="r", step_id="a")) == []
    assert fold(history.graph, history.log) is None


def test_events_of_steps_nobody_handed_out_change_nothing() -> None:
    history = History(DIAMOND)
    history.start()
    for step_id in ("join", "nowhere"):
        assert history.completed(step_id, attempt=1) == []
        assert history.status(step_id) == "pending"


def test_folding_gives_the_same_run_as_driving() -> None:
    history = History(DIAMOND)
    history.start()
    for step_id in ("top", "left", "right", "join"):
        history.completed(step_id, step_id)
    assert fold(DIAMOND, history.log) == history.run


@pytest.mark.parametrize(
    ("stored", "reason"),
    [(None, "is not stored"), (b'{"name":"w","steps":[]}', "is not valid: steps: [] needs at least one entry")],
)
def test_a_run_whose_definition_cannot_be_used_fails_visibly(stored: bytes | None, reason: str) -> None:
    history = History(graph_of("w", "0123456789abcdef", stored))
    assert isinstance(history.graph, UnusableGraph)
    history.start()
    assert history.run.status == "failed"
    assert reason in history.run.outcome.error
    assert "'0123456789ab' of workflow 'w'" in history.run.outcome.error


def test_a_stored_definition_gives_its_graph() -> None:
    found = graph_of("w", "", b'{"name":"w","steps":[{"id":"a","task":"t"}]}')
    assert not isinstance(found, UnusableGraph)
    assert found.unusable == ""
    assert list(found.nodes) == ["a"]
    assert found.identity
