"""Log lines and traces as people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagnats.cli.logs import log_lines
from dagnats.cli.trace import trace_lines
from dagnats.runtime.telemetry.entry import LogEntry
from dagnats.runtime.telemetry.span import Span

if TYPE_CHECKING:
    from command_line import CommandLine


def entry(**fields: object) -> LogEntry:
    attributes = {"run_id": "26384bac6d6654c28aac09fd91f24b0d", "step_id": "lint", "error": "bad\nthing", "attempt": 2}
    return LogEntry(
        timestamp="2026-11-21T09:15:30.5Z", severity="WARN", body="attempt\tfailed", service_name="worker",
        attributes={**attributes, **fields},  # pyright: ignore[reportArgumentType]  # whatever a test gives
    )  # fmt: skip


def span(id: str, above: str = "", *, at: int = 0, ms: float = 5.0, name: str = "", **fields: object) -> Span:
    end_ns = at + int(ms * 1e6) if ms else 0
    return Span(
        trace_id="a" * 32, span_id=id, above=above, name=name or f"step {id}", start_ns=at, end_ns=end_ns, **fields  # pyright: ignore[reportArgumentType]  # whatever a test gives
    )  # fmt: skip


def test_a_log_line_is_one_line_and_names_the_run_first() -> None:
    (line,) = log_lines(entry(exception="Traceback"), full=False)
    assert line == "09:15:30 WARN worker attempt failed [run_id=26384bac step=lint attempt=2 error=bad thing]"
    assert log_lines(LogEntry(timestamp="2026-11-21T09:15:30Z", body="up", service_name="api"), full=True) == [
        "09:15:30 INFO api up"
    ]


def test_where_a_handler_raised_is_shown_when_it_is_asked_for() -> None:
    raised = 'Traceback:\n  File "x.py", line 1\n    go()\x1b[31m\nValueError: no'
    _, *lines = log_lines(entry(exception=raised), full=True, width=24)
    assert lines == ["    Traceback:", '      File "x.py", line…', "        go()\\x1b[31m", "    ValueError: no"]


def test_a_trace_is_a_tree_in_the_order_of_starts_with_how_long_each_took() -> None:
    spans = [
        span("run", "starter", name="run order", ms=157.3, status="ok", attributes={"status": "completed"}),
        span("charge", "run", at=1, attributes={"attempt": 1}, status="error", error="card\ndeclined"),
        span("again", "run", name="step charge", at=2, attributes={"attempt": 2}, status="ok", ms=12),
        span("child", "again", name="run ship", at=3, status="ok"),
        span("last", "run", at=4, ms=0),
    ]
    assert trace_lines(spans) == [
        f"Trace: {'a' * 32}",
        "run order (157ms) [completed]",
        "├─ step charge (5.0ms) [error] card declined",
        "├─ step charge (attempt 2) (12ms) [ok]",
        "│  └─ run ship (5.0ms) [ok]",
        "└─ step last (not over)",
    ]
    assert trace_lines(spans, width=20)[2] == "├─ step charge (5.0…"


def test_a_trace_says_in_its_own_word_how_each_ended() -> None:
    spans = [
        span("undone", status="error", attributes={"status": "compensated"}, error="charge: declined"),
        span("stopped", ms=212_491, attributes={"status": "cancelled"}),
        span("left out", attributes={"event": "step.skipped"}),
        span("going on", ms=0, attributes={"event": "step.paused"}),
        span("theirs", attributes={"status": "blue"}),
    ]
    assert [line.removeprefix("step ") for line in trace_lines(spans)[1:]] == [
        "undone (5.0ms) [compensated] charge: declined",
        "stopped (3m32s) [cancelled]",
        "left out (5.0ms) [skipped]",
        "going on (not over)",
        "theirs (5.0ms)",
    ]


def test_somebody_elses_spans_may_go_in_circles() -> None:
    lines = trace_lines([span("run", "run"), span("a", "b"), span("b", "a"), span("c", "run")])
    assert [line.split(" (")[0] for line in lines[1:]] == ["step run", "└─ step c"]


def test_the_trace_and_the_log_of_a_run_are_shown(served: CommandLine) -> None:
    run_id = served("run", "start", "hello-pipeline", "--json").json()["run_id"]
    assert served("run", "result", run_id, "--timeout", "60s").code == 0

    shown = served("trace", run_id)
    assert shown.lines[1].startswith("run hello-pipeline (")
    spans = served("trace", run_id, "--json").json()
    assert spans[0]["attributes"]["run_id"] == run_id
    assert spans[1]["parent_span_id"] == spans[0]["span_id"]
    (begun, *_) = served("run", "events", run_id, "--json").json()
    assert begun["trace_parent"].split("-")[1] == spans[0]["trace_id"]
    assert served("run", "logs", run_id, "--level", "ERROR") == (0, "No log lines were found.\n", "")
    assert served("logs", "search", "nothing has this", "--json").json() == []
    assert served("logs", "--since", "1h", "--service", "nobody") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("logs", "--level", "warm"), "there is no level 'warm'"),
        (("logs", "--service", "a.b"), "'a.b' cannot name a service"),
        (("logs", "search", "x", "--since", "yesterday"), "--since 'yesterday' is no age and no time"),
        (("logs", "--tail", "20000"), "'--tail'"),
        (("trace",), "which run?"),
        (("run", "logs", "no-such-run"), "no run 'no-such-run'"),
    ],
)
def test_a_question_that_cannot_be_is_refused(served: CommandLine, words: tuple[str, ...], says: str) -> None:
    refused = served(*words)
    assert (refused.code, refused.out) == (2, "")
    assert says in refused.err
