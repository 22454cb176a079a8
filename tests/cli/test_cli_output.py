"""Tables, cutting and colour."""

from __future__ import annotations

import pytest

from dagnats.cli import output
from dagnats.cli.output import counted, cut, display_width, one_line, pad, plain, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    lines = table(("NAME", "STEPS"), [("code-review", "5"), ("etl", "12")])

    assert lines == ["NAME         STEPS", "code-review  5", "etl          12"]


def test_a_table_is_cut_to_the_width_that_is_asked_for() -> None:
    assert table(("A", "B"), [("x", "y" * 20)], width=10) == ["A  B", "x  yyyyyy…"]


def test_wide_signs_take_two_cells() -> None:
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    assert pad("日", 4) == "日  "
    assert cut("日本語", 5) == "日本…"
    assert table(("A", "B"), [("日本", "x"), ("y", "z")]) == ["A     B", "日本  x", "y     z"]


def test_what_fits_is_not_cut() -> None:
    assert cut("exact", 5) == "exact"
    assert cut("anything", None) == "anything"
    assert cut("anything", 0) == ""


def test_other_peoples_text_stays_on_one_line_and_cannot_steer_the_terminal() -> None:
    assert one_line("first\nsecond\t third") == "first second third"
    assert one_line("\x1b[31mred\x9b") == "\\x1b[31mred\\x9b"
    assert "\x1b" not in table(("A",), [("\x1b[2J",)])[1]


def test_one_step_is_not_many() -> None:
    assert [counted(1, "step"), counted(0, "step"), counted(5, "step")] == ["1 step", "0 steps", "5 steps"]


class _Stream:
    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "env", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    terminal: bool, env: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", _Stream(terminal))

    assert output.paint("text", "red") == ("\x1b[31mtext\x1b[0m" if coloured else "text")
    assert plain("text", "red") == "text"
