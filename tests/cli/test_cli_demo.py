"""The demo: the quickstart that starts everything by itself."""

from __future__ import annotations

import re
import signal
import sys

import pytest
from command_line import CommandLine

from dagnats.cli import demo
from dagnats.cli.output import display_width

_ENDINGS = {
    "three steps in a line": "completed",
    "a good order": "completed",
    "a declined card": "compensated",
    "a carrier that is down": "completed",
}


@pytest.fixture(scope="module")
def shown(offline: CommandLine) -> str:
    """All of the demo, in a pipe."""
    ran = offline.process("demo")
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_the_demo_shows_four_runs_as_trees(shown: str) -> None:
    assert re.search(r'^ {6}└─ ✓ reverse +\d+ ms  1 attempt  "!DLROW ,OLLEH"$', shown, re.M)
    assert re.search(r'^ {3}├─ ↺ release +\d+ ms  1 attempt  undoes reserve: "released shelf-3"$', shown, re.M)
    assert re.search(r"^ {3}└─ ✗ charge +\d+ ms  1 attempt  card declined$", shown, re.M)
    assert re.search(r'^ {6}├─ ✓ ship +\d+ ms  3 attempts  "parcel-A-4"$', shown, re.M)
    assert re.search(r"^ {6}└─ \N{EN DASH} record +did not run$", shown, re.M)


def test_the_demo_ends_with_a_table_of_its_runs_and_what_to_try_next(shown: str) -> None:
    lines = shown.splitlines()
    table = lines.index(next(line for line in lines if line.startswith("RUN ")))

    assert {line[:24].strip(): line.split()[-3] for line in lines[table + 1 : table + 5]} == _ENDINGS
    assert [line.partition(":")[0] for line in lines[-2:]] == ["Next", "Then"]


def test_the_demo_fits_80_columns_and_has_no_escape_codes_in_a_pipe(shown: str) -> None:
    assert max(display_width(line) for line in shown.splitlines()) <= 80
    assert "\x1b" not in shown


def test_the_demo_leaves_nothing_behind(shown: str, offline: CommandLine) -> None:
    assert shown
    assert not list(offline.data.iterdir())


def test_ctrl_c_ends_the_demo_and_takes_everything_along(project: CommandLine) -> None:
    place = project.folder / "temporary"
    place.mkdir()
    cli = CommandLine(project.folder, project.data, TMPDIR=str(place))
    with cli.start("demo") as running:
        running.reads("1. ")
        running.signal(signal.SIGINT)
        ended = running.ends()

    assert (ended.code, ended.err) == (130, "")
    assert not list(place.iterdir())


def test_one_topic_can_be_shown_alone(offline: CommandLine) -> None:
    ran = offline.process("demo", "hello", "--json")

    (run,) = ran.json()["runs"]
    assert (run["title"], run["status"], run["output"]) == ("three steps in a line", "completed", "!DLROW ,OLLEH")
    assert offline("demo", "helo").code == 2


def test_a_run_that_ends_otherwise_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from dagnats.cli.app import run

    wrong = demo.Scenario("hello", "a wrong guess", "It completes.", "World", ends="failed")
    monkeypatch.setattr(demo, "SCENARIOS", (wrong,))

    assert run(["demo"]) == 1
    assert "the run for 'a wrong guess' ended completed; it should have ended failed" in capsys.readouterr().err


def test_the_example_workflows_are_loaded_without_a_place_on_the_path() -> None:
    from dagnats.cli.stage import load_workflow

    before = list(sys.path)

    assert load_workflow("order").name == "order"
    assert load_workflow("order") is load_workflow("order")
    assert sys.path == before
