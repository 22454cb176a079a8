"""Events on the wire: what is written is read again, and what is not ours is refused with its bytes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.errors import DecodeError
from dagnats.model.event import (
    NOTHING,
    AnyEvent,
    ApprovalExpired,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    ChildSpawned,
    CompensateCompleted,
    CompensateFailed,
    CompensateStarted,
    CompensateStepCompleted,
    Compensation,
    Due,
    Failure,
    Items,
    MapCompleted,
    MapStarted,
    Note,
    Outcome,
    Parent,
    Plan,
    PlannerMaterialized,
    Poison,
    Question,
    Responded,
    Response,
    SignalReceived,
    SleepCompleted,
    SleepStarted,
    Spawn,
    Start,
    StepCompleted,
    StepContinued,
    StepFailed,
    StepHeartbeat,
    StepPaused,
    StepQueued,
    StepReleased,
    StepSkipped,
    StepStarted,
    TimerFired,
    WaitMatched,
    WaitStarted,
    WaitTimeout,
    WorkflowAdmitted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowPoisoned,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
    decode_event,
    encode_event,
    event_type,
    failure_of,
)
from dagnats.model.json import NULL, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
RAWS = st.just(NOTHING) | st.just(NULL) | st.builds(encode, st.integers() | TEXTS | st.lists(TEXTS, max_size=2))
OUTCOMES = st.builds(Outcome, output=RAWS, step_id=TEXTS, error=TEXTS)
COMPENSATIONS = st.builds(Compensation, original_step=TEXTS, trigger_step=TEXTS, error=TEXTS)
COMMON: dict[str, Any] = {"run_id": TEXTS, "timestamp": TEXTS, "trace_parent": TEXTS, "trace_state": TEXTS}
OF_STEPS: dict[str, Any] = {**COMMON, "step_id": TEXTS, "attempt_number": st.integers(0, 99), "worker_id": TEXTS}
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=2)
CONSUMED = st.dictionaries(TEXTS, st.integers(0, 2**62), max_size=2)
INSTANTS = st.integers(0, 2**62)
NOTES = st.builds(Note, by=TEXTS, reason=TEXTS)
PARENTS = st.builds(
    Parent,
    run_id=TEXTS,
    step_id=TEXTS,
    attempt=st.integers(0, 9),
    root=TEXTS,
    depth=st.integers(0, 9),
    ancestors=st.lists(TEXTS, max_size=2).map(tuple),
)
EVENTS: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(
        WorkflowStarted,
        **COMMON,
        payload=st.builds(
            Start,
            workflow=TEXTS,
            def_hash=TEXTS,
            input=RAWS,
            core_version=st.integers(0, 9),
            labels=MAPS,
            parent=st.none() | PARENTS,
            run_at_ns=INSTANTS,
            held=st.booleans(),
            refusal=TEXTS,
            max_events=st.integers(1, 9),
            max_depth=st.integers(0, 9),
            retry_of=TEXTS,
            forked_from=TEXTS,
            outputs=st.dictionaries(TEXTS, RAWS.filter(bytes), max_size=2),
            by=TEXTS,
        ),
    ),
    *(st.builds(kind, **COMMON, payload=NOTES) for kind in (WorkflowPaused, WorkflowResumed, WorkflowReopened)),
    st.builds(WorkflowAdmitted, **COMMON),
    st.builds(SignalReceived, **COMMON, name=TEXTS, payload=RAWS),
    st.builds(StepQueued, **OF_STEPS),
    st.builds(StepSkipped, **OF_STEPS, payload=NOTES),
    st.builds(StepContinued, **OF_STEPS, payload=RAWS, started_at=TEXTS, consumed=CONSUMED),
    *(st.builds(kind, **OF_STEPS, payload=st.builds(Due, due_ns=INSTANTS)) for kind in (SleepStarted, WaitStarted)),
    *(st.builds(kind, **OF_STEPS) for kind in (SleepCompleted, WaitTimeout, ApprovalExpired)),
    st.builds(WaitMatched, **OF_STEPS, payload=RAWS, event_seq=st.integers(0, 9)),
    st.builds(
        ApprovalRequested,
        **OF_STEPS,
        payload=st.builds(Question, subject=TEXTS, description=TEXTS, metadata=MAPS, expires_ns=INSTANTS),
    ),
    *(st.builds(kind, **OF_STEPS, payload=RAWS, by=TEXTS) for kind in (ApprovalGranted, ApprovalRejected)),
    st.builds(
        ChildSpawned,
        **OF_STEPS,
        payload=st.builds(Spawn, child_run_id=TEXTS, child_workflow=TEXTS, detach=st.booleans()),
    ),
    *(
        st.builds(
            kind,
            **OF_STEPS,
            payload=st.builds(ChildOutcome, child_run_id=TEXTS, status=TEXTS, output=RAWS, error=TEXTS),
        )
        for kind in (ChildCompleted, ChildFailed)
    ),
    *(
        st.builds(kind, **OF_STEPS, payload=st.builds(Items, items=st.integers(0, 9), failed=st.integers(0, 9)))
        for kind in (MapStarted, MapCompleted)
    ),
    st.builds(PlannerMaterialized, **OF_STEPS, payload=st.builds(Plan, steps=st.lists(TEXTS, max_size=2).map(tuple))),
    st.builds(
        Responded,
        **OF_STEPS,
        payload=st.builds(Response, status=st.integers(200, 599), headers=MAPS, content_type=TEXTS, body=RAWS),
    ),
    *(
        st.builds(kind, **COMMON, payload=OUTCOMES)
        for kind in (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, CompensateCompleted, CompensateFailed)
    ),
    st.builds(StepStarted, **OF_STEPS),
    st.builds(StepCompleted, **OF_STEPS, payload=RAWS, started_at=TEXTS),
    st.builds(StepFailed, **OF_STEPS, payload=RAWS, started_at=TEXTS),
    st.builds(StepReleased, **OF_STEPS),
    st.builds(StepPaused, **OF_STEPS, delay_ms=st.integers(0, 2**53), started_at=TEXTS, consumed=CONSUMED),
    st.builds(StepHeartbeat, **OF_STEPS, payload=RAWS),
    st.builds(WorkflowPoisoned, **COMMON, payload=st.builds(Poison, error=TEXTS)),
    st.builds(TimerFired, **COMMON, due_ns=INSTANTS),
    st.builds(CompensateStarted, **COMMON, payload=COMPENSATIONS),
    st.builds(CompensateStepCompleted, **COMMON, step_id=TEXTS, payload=COMPENSATIONS),
)

WIRE_TYPES = {
    WorkflowStarted: "workflow.started",
    WorkflowCompleted: "workflow.completed",
    WorkflowFailed: "workflow.failed",
    WorkflowCancelled: "workflow.cancelled",
    StepStarted: "step.started",
    StepCompleted: "step.completed",
    StepFailed: "step.failed",
    StepReleased: "step.released",
    StepPaused: "step.paused",
    StepHeartbeat: "step.heartbeat",
    WorkflowPoisoned: "workflow.poisoned",
    TimerFired: "timer.fired",
    CompensateStarted: "compensate.started",
    CompensateStepCompleted: "compensate.step.completed",
    CompensateCompleted: "compensate.completed",
    CompensateFailed: "compensate.failed",
    WorkflowAdmitted: "workflow.admitted",
    WorkflowPaused: "workflow.paused",
    WorkflowResumed: "workflow.resumed",
    WorkflowReopened: "workflow.reopened",
    SignalReceived: "signal.received",
    StepQueued: "step.queued",
    StepSkipped: "step.skipped",
    StepContinued: "step.continue",
    SleepStarted: "step.sleep.started",
    SleepCompleted: "step.sleep.completed",
    WaitStarted: "step.wait.started",
    WaitMatched: "step.wait.matched",
    WaitTimeout: "step.wait.timeout",
    ApprovalRequested: "approval.requested",
    ApprovalGranted: "approval.granted",
    ApprovalRejected: "approval.rejected",
    ApprovalExpired: "approval.expired",
    ChildSpawned: "workflow.spawn",
    ChildCompleted: "workflow.child.completed",
    ChildFailed: "workflow.child.failed",
    MapStarted: "step.map.started",
    MapCompleted: "step.map.completed",
    PlannerMaterialized: "planner.materialized",
    Responded: "workflow.responded",
}


@given(EVENTS)
def test_an_event_that_was_written_reads_as_it_was(event: AnyEvent) -> None:
    data = encode_event(event)
    assert decode_event(data) == event
    assert encode_event(decode_event(data)) == data
    assert json.loads(data)["type"] == event_type(event) == WIRE_TYPES[type(event)]


def test_every_event_of_the_union_has_its_type_on_the_wire() -> None:
    assert set(WIRE_TYPES) == set(AnyEvent.__args__)


def test_defaults_are_left_out_on_the_wire() -> None:
    assert encode_event(StepStarted(run_id="r", step_id="s")) == b'{"type":"step.started","run_id":"r","step_id":"s"}'


def test_a_payload_passes_byte_for_byte() -> None:
    data = b'{"type":"step.completed","run_id":"r","step_id":"s","payload":{"b" : 1.00, "a":[ ]}}'
    event = decode_event(data)
    assert isinstance(event, StepCompleted)
    assert bytes(event.payload) == b'{"b" : 1.00, "a":[ ]}'


def test_keys_we_do_not_know_are_left_to_those_who_do() -> None:
    event = decode_event(b'{"type":"step.started","run_id":"r","step_id":"s","iteration":4}')
    assert event == StepStarted(run_id="r", step_id="s")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"step.exploded","run_id":"r"}',
        b'{"run_id":"r"}',
        b'{"type":"step.started","run_id":"r"}',
        b'{"type":"step.started","run_id":"r","step_id":5}',
        b'{"type":"step.started","run_id":"\xff","step_id":"s"}',
        b'{"type":"workflow.started","run_id":"r"}',
        b'{"type":"workflow.poisoned","run_id":"r"}',
        b'{"type":"workflow.poisoned","run_id":"r","payload":{}}',
        b'{"type":"timer.fired","run_id":"r","due_ns":"now"}',
        b'{"type":"step.completed","run_id":"r","step_id":"s","payload":' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not an event") as caught:
        decode_event(data)
    assert caught.value.data == data


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_event(data)


# -- failures ----------------------------------------------------------------------------------------------


@given(
    st.builds(
        Failure,
        error=TEXTS.filter(bool),
        failure_type=st.sampled_from(["retriable", "non_retriable", "retry_after"]),
        retry_after_ms=st.integers(0, 10**9),
        detail=TEXTS,
    )
)
def test_a_failure_that_was_written_reads_as_it_was(failure: Failure) -> None:
    assert failure_of(encode(failure)) == failure


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", ""),
        (b'"connection refused"', "connection refused"),
        (b"null", "null"),
        (b"42", "42"),
        (b'["a","b"]', '["a","b"]'),
        (b'{"message":"boom"}', '{"message":"boom"}'),
        (b'{"error":"boom","failure_type":"cosmic"}', '{"error":"boom","failure_type":"cosmic"}'),
        (b'{"error":5}', '{"error":5}'),
        (b'"\xff"', '"�"'),
        (b'{"error":"\xff"}', '{"error":"�"}'),
    ],
)
def test_what_an_old_worker_says_keeps_its_text_and_is_retriable(payload: bytes, text: str) -> None:
    assert failure_of(msgspec.Raw(payload)) == Failure(error=text, failure_type="retriable")


def test_a_failure_without_a_text_keeps_its_kind() -> None:
    failure = failure_of(msgspec.Raw(b'{"failure_type":"non_retriable","detail":"x"}'))
    assert failure.failure_type == "non_retriable"
    assert failure.detail == "x"
    assert failure.error == '{"failure_type":"non_retriable","detail":"x"}'


def test_a_failure_nested_too_deep_to_read_keeps_its_text() -> None:
    payload = b'{"error":"boom","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert failure_of(msgspec.Raw(payload)).error == payload.decode()


@given(st.binary(max_size=30))
def test_no_failure_payload_raises(payload: bytes) -> None:
    assert isinstance(failure_of(msgspec.Raw(payload)), Failure)


@pytest.mark.parametrize(("levels", "is_read"), [(500, True), (600, False), (200_000, False)])
def test_how_deep_an_event_may_be_nested_does_not_depend_on_who_reads_it(levels: int, is_read: bool) -> None:
    payload = b"[" * levels + b"]" * levels
    data = b'{"type":"step.completed","run_id":"r","step_id":"[[[","payload":' + payload + b"}"
    if is_read:
        assert isinstance(decode_event(data), StepCompleted)
    else:
        with pytest.raises(DecodeError, match="nested deeper than 512 levels"):
            decode_event(data)


def test_a_payload_may_be_wide_with_many_brackets_that_are_not_nested() -> None:
    wide = b"[" + b",".join([b'[{"text":"]["}]'] * 600) + b"]"
    data = b'{"type":"step.completed","run_id":"r","step_id":"a","payload":%b}' % wide
    event = decode_event(data)
    assert isinstance(event, StepCompleted)
    assert bytes(event.payload) == wide
