"""A run as a timeline, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from views import CREATED, MS, done, run, step

from dagnats import Workflow
from dagnats.cli.output import display_width
from dagnats.cli.timeline import timeline_lines

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def test_a_bar_says_when_a_step_waited_and_when_it_was_worked_on() -> None:
    view = run(
        done("reserve", begin_ms=0, end_ms=10, started_ns=CREATED + 5 * MS),
        done("charge", begin_ms=10, end_ms=20, needs=("reserve",)),
        ended_ns=CREATED + 20 * MS,
    )

    assert timeline_lines(view, now_ns=0, width=38) == [
        "code-review a1b2c3d4 completed in 20 …",
        "reserve  ░░░░░██████             10 ms",
        "charge              ███████████  10 ms",
    ]


def test_a_step_under_way_goes_on_to_now_and_one_that_waits_has_no_bar() -> None:
    view = run(
        step("reserve", status="running", attempts=1, queued_ns=CREATED, started_ns=CREATED),
        step("charge", needs=("reserve",)),
        status="running",
        ended_ns=0,
    )

    lines = timeline_lines(view, now_ns=CREATED + 2_000 * MS, width=60)

    assert lines[1:] == [f"reserve  {'█' * 41}  2,000 ms"]


def test_no_line_of_a_timeline_is_wider_than_the_terminal() -> None:
    view = run(*(done("s" * (at + 1), begin_ms=at, end_ms=at + 1) for at in range(30)))

    for width in (60, 80, 120):
        assert max(display_width(line) for line in timeline_lines(view, now_ns=0, width=width)) <= width


# -- on a server -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calling(served: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registered workflow whose step runs another one."""
    workflow = Workflow("calling")
    workflow.sub_workflow("hello", "hello-pipeline")
    file: Path = tmp_path_factory.mktemp("calling") / "calling.json"
    file.write_bytes(workflow.build().to_json())
    assert served("workflow", "register", str(file)).code == 0
    return "calling"


def test_a_run_is_drawn_with_the_runs_that_it_has_started(served: CommandLine, calling: str) -> None:
    assert served("run", "start", calling, '"Ann"', "--run-id", "calling-0001", "--watch").code == 0

    drawn = served("run", "tree", "calling-0001").lines
    at = drawn.index("↳ hello:")
    assert drawn[0].startswith("calling calling-")
    assert drawn[at + 1].startswith("  hello-pipeline ")
    assert "uppercase" in drawn[at + 3]
    timed = served("run", "tree", "calling-0001", "--gantt")
    assert (timed.code, timed.out.count("█") >= 4) == (0, True)
    document = served("run", "tree", "calling-0001", "--json").json()
    assert document["children"]["hello"]["workflow_id"] == "hello-pipeline"


def test_a_result_is_waited_for_and_is_no_when_there_is_none(served: CommandLine, calling: str) -> None:
    assert served("run", "start", calling, '"Bob"', "--run-id", "calling-0002").code == 0
    assert served("run", "result", "calling-0002").out == '"!BOB ,OLLEH"\n'

    assert served("run", "start", "waiting", "--run-id", "no-result-1").code == 0
    late = served("run", "result", "no-result-1", "--timeout", "10ms")
    assert (late.code, late.out, late.err) == (1, "", "run no-result-1 has not ended within 10ms; it goes on\n")
    assert served("run", "cancel", "no-result-1", "--reason", "enough").code == 0
    ended = served("run", "result", "no-result-1", "--json")
    assert (ended.code, ended.json()["status"]) == (1, "cancelled")
