"""A run as a tree."""

from __future__ import annotations

from views import CREATED, MS, done, run, step

from dagnats.cli.output import display_width
from dagnats.cli.tree import tree_lines


def test_a_step_stands_under_the_step_it_depends_on() -> None:
    view = run(
        done("reserve", begin_ms=0, end_ms=6, output="shelf-3"),
        done("charge", begin_ms=6, end_ms=9, needs=("reserve",), output={"cents": 4990}),
        done("ship", begin_ms=9, end_ms=31, needs=("charge",), output="parcel", attempts=3),
        done("record", begin_ms=9, end_ms=12, needs=("charge",), output=None),
    )

    assert tree_lines(view) == [
        "code-review a1b2c3d4 completed in 31 ms",
        '✓ reserve        6 ms  1 attempt   "shelf-3"',
        '└─ ✓ charge      3 ms  1 attempt   {"cents": 4990}',
        '   ├─ ✓ ship    22 ms  3 attempts  "parcel"',
        "   └─ ✓ record   3 ms  1 attempt   null",
    ]


def test_a_compensated_run_shows_what_was_undone_and_what_did_not_run() -> None:
    view = run(
        done("reserve", begin_ms=0, end_ms=4, output="shelf-3"),
        step(
            "charge",
            status="failed",
            attempts=1,
            needs=("reserve",),
            error="card declined",
            queued_ns=CREATED + 4 * MS,
            ended_ns=CREATED + 7 * MS,
        ),
        step("ship", needs=("charge",)),
        done("release", begin_ms=7, end_ms=9, auxiliary=True, serves="reserve", output="released"),
        step("refund", auxiliary=True),
        status="compensated",
        error="card declined",
        failed_step="charge",
    )

    assert tree_lines(view) == [
        "code-review a1b2c3d4 compensated in 31 ms: charge: card declined",
        '✓ reserve     4 ms  1 attempt  "shelf-3"',
        '├─ ↺ release  2 ms  1 attempt  undoes reserve: "released"',
        "└─ ✗ charge   3 ms  1 attempt  card declined",
        "   └─ \N{EN DASH} ship                   did not run",
    ]


def test_a_failure_step_stands_under_the_step_whose_failure_it_handles() -> None:
    view = run(
        step("record", status="recovered", attempts=1, error="db down", queued_ns=CREATED, ended_ns=CREATED + 3 * MS),
        done("notify", begin_ms=3, end_ms=5, auxiliary=True, serves="record", output="told"),
    )

    assert tree_lines(view)[1:] == [
        "✓ record     3 ms  1 attempt  db down",
        '└─ ↳ notify  2 ms  1 attempt  handles the failure of record: "told"',
    ]


def test_a_step_with_several_dependencies_stands_under_the_deepest_one() -> None:
    view = run(
        done("a", begin_ms=0, end_ms=1),
        done("join", begin_ms=2, end_ms=3, needs=("b", "a")),
        done("b", begin_ms=1, end_ms=2, needs=("a",)),
    )

    assert [line[:10].rstrip() for line in tree_lines(view)[1:]] == ["✓ a", "└─ ✓ b", "   └─ ✓ jo"]


def test_a_run_under_way_shows_what_runs_and_what_waits() -> None:
    view = run(
        step("a", status="running", attempts=1, queued_ns=CREATED),
        step("b", needs=("a",)),
        status="running",
        ended_ns=0,
    )

    lines = tree_lines(view)
    assert lines[0] == "code-review a1b2c3d4 running"
    assert lines[1].startswith("• a")
    assert lines[2].endswith("waits")


def test_no_line_is_wider_than_the_terminal() -> None:
    chain = [done("step-0", begin_ms=0, end_ms=1, output="x" * 500)]
    for at in range(1, 60):
        chain.append(done(f"step-{at}", begin_ms=at, end_ms=at + 1, needs=(f"step-{at - 1}",), output="日本語" * 99))
    view = run(*chain, status="failed", failed_step="step-59", error="e" * 300)

    for width in (40, 80, 120):
        assert max(display_width(line) for line in tree_lines(view, width=width)) <= width


def test_ten_thousand_steps_in_a_line_are_drawn() -> None:
    chain = [done("s0", begin_ms=0, end_ms=1)]
    chain += [done(f"s{at}", begin_ms=at, end_ms=at + 1, needs=(f"s{at - 1}",)) for at in range(1, 10_000)]

    assert len(tree_lines(run(*chain))) == 10_001


def test_paint_is_asked_for_marks_and_statuses() -> None:
    def tagged(text: str, *styles: str) -> str:
        return f"<{'+'.join(styles)}:{text}>"

    painted = tree_lines(run(done("a", begin_ms=0, end_ms=1)), paint=tagged)

    assert "<green+bold:completed>" in painted[0]
    assert "<green:✓>" in painted[1]
