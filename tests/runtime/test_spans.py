"""The spans of a run follow from its history."""

from __future__ import annotations

from typing import Any

from dagnats.model.event import (
    AnyEvent,
    ApprovalRequested,
    ChildFailed,
    ChildOutcome,
    ChildSpawned,
    CompensateCompleted,
    Outcome,
    Parent,
    Record,
    Spawn,
    Start,
    StepCompleted,
    StepFailed,
    StepHeartbeat,
    StepQueued,
    StepReleased,
    StepStarted,
    TimerFired,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowReopened,
    WorkflowStarted,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import encode
from dagnats.model.trace import run_span, step_span
from dagnats.runtime.telemetry.otlp import decode_spans, encode_spans
from dagnats.runtime.telemetry.span import Moment, Span, spans_of

SECOND = 1_000_000_000
CALLER = f"00-{'a' * 32}-{'b' * 16}-01"


def history(*events: AnyEvent) -> list[Record]:
    """Events one second apart, from second 1 on."""
    return [Record(at, at * SECOND, event) for at, event in enumerate(events, start=1)]


def started(**start: Any) -> WorkflowStarted:
    return WorkflowStarted(run_id="r1", trace_parent=CALLER, payload=Start(workflow="order", def_hash="h", **start))


def completed(step: str, attempt: int = 1, **fields: Any) -> StepCompleted:
    return StepCompleted(run_id="r1", step_id=step, attempt_number=attempt, **fields)


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_a_run_is_a_span_under_its_starter_and_each_attempt_is_one_under_it() -> None:
    failed = StepFailed(run_id="r1", step_id="charge", attempt_number=1, payload=encode({"error": "declined"}))
    ends = WorkflowCompleted(run_id="r1", payload=Outcome())
    run, first, second = spans_of(history(started(), failed, completed("charge", 2, worker_id="w1"), ends))
    assert {span.trace_id for span in (run, first, second)} == {"a" * 32}
    assert (run.span_id, run.above, run.name, run.status) == (run_span("r1"), "b" * 16, "run order", "ok")
    assert (run.start_ns, run.end_ns) == (SECOND, 4 * SECOND)
    assert first.above == second.above == run.span_id
    assert (first.name, first.status, first.error) == ("step charge", "error", "declined")
    assert (second.span_id, second.status) == (step_span("r1", "charge", 2), "ok")
    assert (second.attributes["attempt"], second.attributes["worker_id"]) == (2, "w1")


def test_a_fast_step_begins_when_its_worker_says_and_never_after_its_end() -> None:
    early = completed("early", started_at=rfc3339(SECOND + 5))
    ahead = completed("ahead", started_at=rfc3339(99 * SECOND))
    odd = completed("odd", started_at="yesterday")
    spans = by_name(spans_of(history(started(), early, ahead, odd)))
    assert (spans["step early"].start_ns, spans["step early"].end_ns) == (SECOND + 5, 2 * SECOND)
    assert spans["step ahead"].start_ns == spans["step ahead"].end_ns == 3 * SECOND
    assert spans["step odd"].start_ns == 4 * SECOND


def test_what_goes_on_has_no_end_and_what_only_waits_is_no_span() -> None:
    begun = StepStarted(run_id="r1", step_id="load", attempt_number=1)
    beat = StepHeartbeat(run_id="r1", step_id="load", attempt_number=1)
    back = StepReleased(run_id="r1", step_id="load", attempt_number=1)
    waits = StepQueued(run_id="r1", step_id="later", attempt_number=1)
    run, load = spans_of(history(started(), begun, beat, back, begun, waits))
    assert run.end_ns == load.end_ns == 0
    assert load.moments == (Moment(5 * SECOND, "step.started"),)


def test_what_a_run_does_not_wait_for_any_more_ends_with_it() -> None:
    begun, late = (StepStarted(run_id="r1", step_id=step, attempt_number=1) for step in ("load", "late"))
    cancelled = WorkflowCancelled(run_id="r1", payload=Outcome())
    run, load, after = spans_of(history(started(), begun, cancelled, late))
    assert (load.end_ns, load.status, load.attributes["event"]) == (run.end_ns, "unset", "run.cancelled")
    assert after.end_ns == after.start_ns == 4 * SECOND


def test_a_result_without_an_attempt_belongs_to_the_newest_one() -> None:
    begun = StepStarted(run_id="r1", step_id="load", attempt_number=3)
    _, load = spans_of(history(started(), begun, completed("load", 0)))
    assert (load.attributes["attempt"], load.end_ns) == (3, 3 * SECOND)


def test_a_child_is_under_the_step_that_runs_it() -> None:
    spawned = ChildSpawned(
        run_id="r1", step_id="sub", attempt_number=2, payload=Spawn(child_workflow="ship", child_run_id="c1")
    )
    ended = ChildFailed(
        run_id="r1", step_id="sub", attempt_number=2, payload=ChildOutcome(child_run_id="c1", error="no stock")
    )
    _, step = spans_of(history(started(), spawned, ended))
    assert (step.status, step.error, step.attributes["child_run_id"]) == ("error", "no stock", "c1")
    above = Parent(run_id="r1", step_id="sub", attempt=2, root="r1", depth=1)
    (child,) = spans_of(history(started(parent=above)))
    assert child.above == step.span_id


def test_a_run_that_is_opened_again_ends_when_it_ends_for_the_last_time() -> None:
    lost = WorkflowFailed(run_id="r1", payload=Outcome(error="no stock"))
    late = WorkflowCancelled(run_id="r1", payload=Outcome(error="late"))
    events = [started(), TimerFired(run_id="r1", due_ns=1), lost, WorkflowReopened(run_id="r1")]
    (failed,) = spans_of(history(*events[:3], late))
    assert (failed.status, failed.error, failed.end_ns) == ("error", "no stock", 3 * SECOND)
    (again,) = spans_of(history(*events))
    assert (again.status, again.error, again.end_ns) == ("unset", "", 0)
    assert [moment.name for moment in again.moments] == ["timer.fired", "workflow.reopened"]


def test_a_run_that_was_undone_is_an_error_and_one_that_was_cancelled_is_not() -> None:
    (undone,) = spans_of(history(started(), CompensateCompleted(run_id="r1", payload=Outcome(error="no stock"))))
    assert (undone.status, undone.error, undone.attributes["status"]) == ("error", "no stock", "compensated")
    (cancelled,) = spans_of(history(started(), WorkflowCancelled(run_id="r1", payload=Outcome())))
    assert (cancelled.status, cancelled.attributes["status"]) == ("unset", "cancelled")


def test_a_history_without_its_beginning_has_no_spans() -> None:
    assert spans_of([]) == spans_of(history(completed("load"))) == []


def test_spans_are_written_as_opentelemetry_writes_them_and_read_again() -> None:
    asked = ApprovalRequested(run_id="r1", step_id="ask", attempt_number=1)
    failed = StepFailed(run_id="r1", step_id="load", attempt_number=1, payload=encode({"error": "«»"}))
    spans = spans_of(history(started(labels={"team": "a"}), asked, failed, TimerFired(run_id="r1", due_ns=1)))
    data = encode_spans(spans, {"attributes": []})
    assert decode_spans(data) == spans
    assert b'"traceId":"%s"' % (b"a" * 32) in data
    assert b'"startTimeUnixNano":"1000000000"' in data
    assert decode_spans(b"{}") == decode_spans(b"no json") == decode_spans(b'{"resourceSpans": 1}') == []
