"""Runs and events as they are printed, against the lines of the guides."""

from __future__ import annotations

from typing import Any

import pytest
from views import CREATED, SECOND, done, event, run, step

from dagnats.cli.history import EVENT_HEADER, event_document, event_row, watch_line
from dagnats.cli.output import table
from dagnats.cli.report import detail, output_document, output_text, run_document, status_lines


def test_a_run_has_the_layout_of_the_cli_reference() -> None:
    view = run(
        done("fetch-diff", begin_ms=0, end_ms=3, output={"files": 2}),
        step("lint", status="running", attempts=1, needs=("fetch-diff",)),
        status="running",
        ended_ns=0,
    )

    assert status_lines(view) == [
        "Run: a1b2c3d4e5f6",
        "Workflow: code-review",
        "Status: running",
        "Created: 2025-01-15 09:00:00 UTC",
        "",
        "Steps:",
        '  fetch-diff  completed (attempts: 1)  {"files": 2}',
        "  lint        running (attempts: 1)",
    ]


def test_a_failed_run_says_which_step_and_why() -> None:
    view = run(
        step("charge", status="failed", attempts=2, error="card\ndeclined"),
        status="failed",
        error="card\ndeclined",
        failed_step="charge",
    )

    lines = status_lines(view)
    assert "Error: charge: card declined" in lines
    assert lines[-1] == "  charge  failed (attempts: 2)  card declined"


def test_auxiliary_steps_are_shown_only_when_they_ran() -> None:
    released = done("release", begin_ms=5, end_ms=6, auxiliary=True, serves="reserve", output="ok")
    view = run(done("reserve", begin_ms=0, end_ms=3), released, step("refund", auxiliary=True))

    assert [line.split()[0] for line in status_lines(view)[6:]] == ["reserve", "release"]


def test_a_waiting_retry_says_when_it_is_due() -> None:
    waiting = step("ship", status="queued", attempts=1, error="no answer", retry_at_ns=CREATED + 90 * SECOND)

    assert detail(waiting, now_ns=CREATED + 60 * SECOND) == (
        "next attempt at 2025-01-15 09:01:30 UTC (in 30.0s); the last one: no answer"
    )
    assert "(in 0.0s)" in detail(waiting, now_ns=CREATED + 99 * SECOND)


def test_a_step_that_rests_says_when_it_goes_on() -> None:
    resting = step("ship", status="queued", attempts=1, retry_at_ns=CREATED + 90 * SECOND)
    assert detail(resting, now_ns=CREATED + 60 * SECOND) == "goes on at 2025-01-15 09:01:30 UTC (in 30.0s)"


def test_a_status_line_is_cut_to_the_terminal() -> None:
    lines = status_lines(run(done("a", begin_ms=0, end_ms=1, output="x" * 200)), width=40)

    assert len(lines[-1]) == 40
    assert lines[-1].endswith("…")


def test_the_document_of_a_run_holds_every_step() -> None:
    document = run_document(run(done("a", begin_ms=0, end_ms=1, output=1), step("b", needs=("a",))))

    assert list(document) == [
        "run_id",
        "workflow_id",
        "def_hash",
        "status",
        "paused",
        "created_at",
        "completed_at",
        "run_at",
        "labels",
        "parent_run_id",
        "retry_of",
        "forked_from",
        "events",
        "steps",
        "input",
        "output",
        "error",
        "failed_step",
        "trace_parent",
        "trace_id",
        "leaves",
        "compensating",
        "seq",
    ]
    assert document["created_at"] == "2025-01-15T09:00:00.000000000Z"
    assert document["steps"]["a"]["output"] == 1
    assert document["steps"]["a"]["completed_at"] == "2025-01-15T09:00:00.001000000Z"
    assert document["steps"]["b"]["status"] == "pending"
    assert document["steps"]["b"]["depends_on"] == ("a",)
    assert document["steps"]["b"]["started_at"] is None


def test_what_a_step_in_flight_waits_for_stands_behind_it() -> None:
    due_ns = CREATED + 3_600 * SECOND
    steps = [
        step("all", status="running", type="map", items=10, left=7, failed_items=1),
        step("plan", status="running", type="planner", left=2),
        step("call", status="running", type="sub_workflow", child_run_id="c0ffee"),
        step("rest", status="running", type="sleep", due_ns=due_ns),
        step("paid", status="running", type="wait_for_event", due_ns=due_ns, awaits="payment.paid"),
        step("ask", status="running", type="approval", due_ns=due_ns),
        step("think", status="queued", type="agent_loop", iteration=2),
    ]

    assert [detail(each) for each in steps] == [
        "3/10 items, 1 failed",
        "2 planned steps to go",
        "child run c0ffee",
        "sleeps until 2025-01-15 10:00:00 UTC",
        "waits for payment.paid until 2025-01-15 10:00:00 UTC",
        "waits for an approval until 2025-01-15 10:00:00 UTC",
        "turn 3",
    ]


def test_a_running_step_shows_how_far_its_handler_says_it_is() -> None:
    said: list[tuple[dict[str, Any], str]] = [
        ({"progress": 0.4}, "40%"),
        ({"progress": 0.4, "message": "reading\nrows"}, "40% reading rows"),
        ({"message": "reading"}, "reading"),
        ({"progress": 1.0, "details": {"row": 5}}, "100%"),
        ({"details": {"row": 5}}, '{"row": 5}'),
        ({}, ""),
    ]
    assert [detail(step("s", status="running", **fields)) for fields, _ in said] == [text for _, text in said]
    assert detail(step("s", status="queued", progress=0.4)) == ""


def test_of_the_parts_of_a_step_only_those_in_trouble_are_shown() -> None:
    parts = [
        step("all", status="running", type="map", items=2, left=1),
        step("all.map.0", status="completed", part_of="all", attempts=1),
        step("all.map.1", status="failed", part_of="all", attempts=1, error="broken"),
        step("plan", status="running", type="planner", left=1),
        step("plan.search", part_of="plan"),
    ]
    lines = status_lines(run(*parts, status="running"))

    assert [line.split()[0] for line in lines[lines.index("Steps:") + 1 :]] == [
        "all",
        "all.map.1",
        "plan",
        "plan.search",
    ]


def test_where_a_run_comes_from_and_what_it_waits_for_stands_above_its_steps() -> None:
    view = run(
        status="pending", paused=True, retry_of="old-1", parent_run_id="above-1", labels={"team": "x", "tier": "1"}
    )

    assert status_lines(view)[2:] == [
        "Status: pending (paused)",
        "Created: 2025-01-15 09:00:00 UTC",
        "Waits: until a limit of its workflow lets it begin",
        "Parent: above-1",
        "Retry of: old-1",
        "Labels: team=x, tier=1",
    ]


def test_one_leaf_gives_its_output_and_several_give_an_object() -> None:
    post = done("post", begin_ms=0, end_ms=1, output={"issues_found": 3, "summary": "All checks passed"})

    assert output_text(run(post)) == '{"issues_found": 3, "summary": "All checks passed"}'
    two = run(post, done("tell", begin_ms=0, end_ms=1, output="é"), leaves=("post", "tell"))
    assert output_text(two) == '{"post": {"issues_found": 3, "summary": "All checks passed"}, "tell": "é"}'
    assert output_document(two) == {
        "run_id": "a1b2c3d4e5f6",
        "status": "completed",
        "outputs": {"post": '{"issues_found": 3, "summary": "All checks passed"}', "tell": '"é"'},
    }


def test_events_are_a_table_with_the_columns_of_the_cli_reference() -> None:
    failed = event(
        "step.failed", "lint", {"error": "E501"}, trace_parent="00-abc1234567890abcdef1234567890abc-0123456789abcdef-01"
    )
    started = event("workflow.started", payload={"workflow": "code-review"})

    assert table(EVENT_HEADER, [event_row(it, full=False) for it in (started, failed)]) == [
        "TIMESTAMP            TYPE              STEP  TRACE      DATA",
        '2025-01-15 09:00:00  workflow.started  -     -          {"workflow": "code-review"}',
        '2025-01-15 09:00:00  step.failed       lint  abc123...  {"error": "E501"}',
    ]


def test_the_data_of_an_event_is_cut_at_200_characters_unless_all_of_it_is_asked_for() -> None:
    long = event("step.completed", "a", "x" * 300)

    assert event_row(long, full=False)[-1] == f'"{"x" * 199}…'
    assert event_row(long, full=True)[-1] == f'"{"x" * 300}"'


def test_the_document_of_an_event_holds_its_data_as_text() -> None:
    assert event_document(event("step.completed", "a", {"n": 1}, seq=7)) == {
        "type": "step.completed",
        "run_id": "a1b2c3d4e5f6",
        "step_id": "a",
        "timestamp": "2025-01-15T09:00:00.000000000Z",
        "data": '{"n": 1}',
        "trace_parent": "",
        "seq": 7,
        "name": "",
    }


@pytest.mark.parametrize(
    ("type", "step_id", "payload", "line"),
    [
        ("workflow.started", "", {"workflow": "w"}, "Run a1b2c3d4e5f6 started"),
        ("step.started", "greet", None, "step.greet: started"),
        ("step.completed", "greet", "Hello", "step.greet: completed"),
        ("step.failed", "greet", {"error": "no\nanswer"}, "step.greet: failed (attempt 1): no answer"),
        ("step.failed", "greet", "an old worker's text", "step.greet: failed (attempt 1): an old worker's text"),
        ("timer.fired", "", None, ""),
        ("compensate.started", "", {"error": "declined"}, "Run a1b2c3d4e5f6 compensating: declined"),
        ("compensate.step.completed", "undo", {"original_step": "do"}, "step.undo: undid do"),
        ("workflow.completed", "", {"output": 1}, "Run a1b2c3d4e5f6 completed"),
        ("workflow.failed", "", {"error": "declined"}, "Run a1b2c3d4e5f6 failed: declined"),
        ("workflow.cancelled", "", {}, "Run a1b2c3d4e5f6 cancelled"),
        ("compensate.completed", "", {"error": "declined"}, "Run a1b2c3d4e5f6 compensated: declined"),
        ("compensate.failed", "", {"error": "stuck"}, "Run a1b2c3d4e5f6 failed to compensate: stuck"),
    ],
)
def test_a_watched_event_is_one_line(type: str, step_id: str, payload: Any, line: str) -> None:
    assert watch_line(event(type, step_id, payload)) == line
