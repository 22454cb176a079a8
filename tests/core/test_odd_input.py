"""What comes from outside, however odd it is, decides something or nothing, and never breaks the core."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from history import BEGIN, SECOND, History, content, graph, step, typed

from dagnats.model.event import (
    ApprovalGranted,
    ChildCompleted,
    ChildOutcome,
    Record,
    StepCompleted,
    StepQueued,
    StepSkipped,
    StepStarted,
    TimerFired,
    WaitMatched,
    WorkflowCancelled,
    WorkflowPaused,
    WorkflowReopened,
)
from dagnats.model.run import Run, decode_run, encode_run
from dagnats.runtime.core.action import AppendEvent, EndRun
from dagnats.runtime.core.advance import advance, fold
from dagnats.runtime.core.condition import matches
from dagnats.runtime.core.graph import Graph, UnusableGraph, graph_of
from dagnats.runtime.core.path import Missing, decoded, raw_at, value_at

GONE = UnusableGraph("w", "0" * 64, "is not stored")


MATCH = {"left": "n", "op": "eq", "right": {"value": 1}}
WORKFLOW = graph(
    step("a"),
    typed("w", "wait_for_event", config={"event": "e", "timeout": "1h", "match": MATCH}),
    typed("c", "sub_workflow", config={"workflow": "child"}),
    typed("s", "sleep", config={"duration": "1h"}),
    step("m0"),
    typed("m", "map", "m0", config={}),
    timeout=60 * SECOND,
)


def in_flight() -> Run:
    """A run with a step of every kind in flight."""
    history = History(WORKFLOW)
    history.start()
    history.completed("m0", [1, 2])
    return history.run


EVENTS: list[Any] = [
    StepCompleted(run_id="r", step_id="a"),
    StepSkipped(run_id="r", step_id="w"),
    TimerFired(run_id="r", due_ns=BEGIN + 3600 * SECOND),
    WorkflowPaused(run_id="r"),
    WorkflowReopened(run_id="r"),
]


@pytest.mark.parametrize("event", EVENTS)
def test_a_run_whose_definition_is_gone_fails_visibly_at_its_next_event(event: Any) -> None:
    run, actions, _ = advance(GONE, in_flight(), Record(99, BEGIN + 90 * SECOND, event))
    (end,) = [action for action in actions if isinstance(action, EndRun)]
    assert "is not stored" in end.event.payload.error
    cancelled = [action.event for action in actions if isinstance(action, AppendEvent)]
    assert [type(event) for event in cancelled] == [WorkflowCancelled], "its child is stopped all the same"
    run, actions, _ = advance(GONE, run, Record(100, BEGIN + 90 * SECOND, event))
    assert actions == ()
    run, _, _ = advance(GONE, run, Record(101, BEGIN + 90 * SECOND, end.event))
    assert run is not None
    assert run.status == "failed"
    assert advance(GONE, run, Record(102, BEGIN, WorkflowReopened(run_id="r"))).actions == ()


def test_a_run_whose_definition_is_gone_can_be_cancelled() -> None:
    run, _, _ = advance(GONE, in_flight(), Record(99, BEGIN, WorkflowCancelled(run_id="r")))
    assert run is not None
    assert (run.status, run.flying) == ("cancelled", 0)


def test_a_run_of_a_definition_that_is_not_there_never_begins() -> None:
    history = History(GONE)
    history.start()
    assert history.run.status == "failed"
    assert graph_of("w", "0" * 64, None).unusable == GONE.unusable
    assert "is not valid" in graph_of("w", "0" * 64, b"{}").unusable


def test_a_stored_definition_makes_a_graph() -> None:
    data = msgspec.json.encode({"name": "w", "steps": [step("a")]})
    assert graph_of("w", "", data).nodes["a"].task == "a.task"


STRANGE: list[Any] = [
    StepStarted(run_id="r", step_id="a.map.0"),
    StepQueued(run_id="r", step_id="nobody"),
    StepCompleted(run_id="r", step_id="m.map.99"),
    StepCompleted(run_id="r", step_id="a.for.b"),
    WaitMatched(run_id="r", step_id="a"),
    ApprovalGranted(run_id="r", step_id="w"),
    ChildCompleted(run_id="r", step_id="s", payload=ChildOutcome(child_run_id="x")),
    StepSkipped(run_id="r", step_id="m.map.99"),
    StepSkipped(run_id="r", step_id="a.b.c.d"),
]


@pytest.mark.parametrize("event", STRANGE)
def test_events_about_what_is_not_there_change_nothing(event: Any) -> None:
    made = in_flight()
    before = decode_run(encode_run(made))
    before.seq, before.time_ns = 99, made.time_ns
    decision = advance(WORKFLOW, made, Record(99, BEGIN, event))
    assert decision.actions == ()
    assert content(decision.run) == content(before)


def test_late_news_of_a_run_whose_history_is_gone_is_nothing() -> None:
    assert fold(graph(step("a")), [Record(1, BEGIN, StepCompleted(run_id="r", step_id="a"))]) is None


DEEP = msgspec.Raw(b'{"a":' + b"[" * 300 + b"]" * 300 + b"}")
PAYLOADS = [b"", b"[", b'"\xff"', b"1e999", b"9" * 5000, DEEP]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_condition_on_what_cannot_be_read_is_false_and_the_step_runs(payload: bytes) -> None:
    skip = {"step_id": "a", "field": "x", "op": "==", "value": 1}
    history = History(graph(step("a"), step("b", "a", skip_if=skip)))
    history.start()
    history.feed(StepCompleted(run_id="r", step_id="a", payload=msgspec.Raw(payload)))
    assert history.enqueued == ["b"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_cannot_be_read_is_missing(payload: bytes) -> None:
    with pytest.raises(Missing):
        value_at(decoded(msgspec.Raw(payload)), "x")
    with pytest.raises(Missing):
        raw_at(msgspec.Raw(payload), "x")
    with pytest.raises(Missing):
        raw_at(msgspec.Raw(b"[" + payload + b",,]"), "0")


def test_brackets_in_texts_are_not_depth() -> None:
    value = {"x": "[" * 1_000, 'y"': '\\"[[{' * 300}
    assert value_at(decoded(msgspec.Raw(msgspec.json.encode(value))), "x") == "[" * 1_000


def test_paths_walk_objects_and_arrays_and_escape_dots() -> None:
    payload = msgspec.Raw(b'{"a.b":[0,{"c":null}],"d":{"1":2}}')
    assert bytes(raw_at(payload, r"a\.b.1.c")) == b"null"
    assert value_at(decoded(payload), r"a\.b.1.c") is None
    assert bytes(raw_at(payload, "d.1")) == b"2"
    for path in (r"a\.b.2", r"a\.b.x", "d.2", "d.1.0", r"a\.b.²"):
        with pytest.raises(Missing):
            raw_at(payload, path)
        with pytest.raises(Missing):
            value_at(decoded(payload), path)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


SAME = [
    (1, "eq", 1.0, True),
    (1, "eq", True, False),
    ({"a": [1, {"b": None}]}, "eq", {"a": [1.0, {"b": None}]}, True),
    ({"a": 1}, "eq", {"b": 1}, False),
    ([1, 2], "eq", [1], False),
    ([1, 2], "ne", [1, 3], True),
    (nested(5_000), "eq", nested(5_000), True),
    (1, "in", [True, 1], True),
    (1, "in", 1, False),
    (2, "gt", 1, True),
    ("a", "lt", "b", True),
    (1, "lt", "b", False),
    (1, "ge", 1, True),
    (1, "le", 0, False),
    (None, "le", None, False),
]


@pytest.mark.parametrize(("value", "op", "right", "holds"), SAME)
def test_events_are_compared_as_json(value: Any, op: Any, right: Any, holds: bool) -> None:
    assert matches(value, op, right) is holds


def test_an_attempts_start_by_a_broken_clock_is_kept_between_its_queueing_and_its_end() -> None:
    for started_at in ("", "soon", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        history = History(graph(step("a")))
        history.start()
        history.wait(5)
        history.completed("a", started_at=started_at)
        assert BEGIN <= history.state("a").started_ns <= history.time_ns


def test_which_outputs_decisions_look_into() -> None:
    skip = {"any": [{"step_id": "a", "field": "x", "op": "==", "value": 1}]}
    match = {"left": "n", "op": "eq", "right": "step.b.output.x"}
    limit = {"keyed_rate_limit": {"key": "k", "limit": 1, "period": "1s"}}
    made: Graph = graph(
        step("a"),
        step("b", "a", skip_if=skip),
        step("c", "b"),
        typed("w", "wait_for_event", "c", config={"event": "e", "timeout": "1h", "match": match}),
        step("k0"),
        step("k", "k0", **limit),
        step("r0"),
        typed("r", "respond", "r0", config={"body_from": "x"}),
        step("m0"),
        typed("m", "map", "m0", config={}),
        typed("p", "planner", config={"max_steps": 1}),
    )
    assert {name for name in made.nodes if made.reads(name)} == {"a", "b", "k0", "r0", "m0", "p"}
    assert [made.reads(name) for name in ("m.map.3", "p.x", "c.for.a", "nobody", "nobody.x")] == [
        False,
        True,
        False,
        False,
        False,
    ]
