"""Colour: on a terminal, and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from command_line import DEADLINE_S

from tests.support import nursery

if TYPE_CHECKING:
    from command_line import CommandLine


def _on_a_terminal(cli: CommandLine, *words: str, **env: str) -> str:
    """What a command prints where stdout and stderr are a terminal."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "wb") as terminal:
        child = nursery.start(
            *words, cwd=cli.folder, env={**cli.env, "TERM": "xterm", **env}, stdout=terminal, stderr=terminal
        )
    printed = b""
    try:
        while chunk := os.read(ours, 65536):
            printed += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    child.wait(DEADLINE_S)
    return printed.decode()


def test_a_terminal_gets_colour(served: CommandLine) -> None:
    assert "NATS: \x1b[32mconnected\x1b[0m" in _on_a_terminal(served, "status")
    assert "\x1b[31;1merror:\x1b[0m no workflow" in _on_a_terminal(served, "workflow", "show", "none")


def test_no_color_is_respected(served: CommandLine) -> None:
    assert "\x1b" not in _on_a_terminal(served, "status", NO_COLOR="1")


@pytest.mark.parametrize(
    "line", [["status"], ["--help"], ["workflow", "list"], ["workflow", "show", "none"], ["runn"], ["schema"]]
)
def test_a_pipe_gets_no_escape_codes(line: list[str], served: CommandLine) -> None:
    printed = served.process(*line, TERM="xterm-256color")

    assert "\x1b" not in printed.out + printed.err


def test_a_table_is_cut_to_the_terminal_unless_it_is_asked_whole(served: CommandLine) -> None:
    served("run", "start", "hello-pipeline", f'"{"x" * 100}"', "--watch", "--run-id", "wide-1")

    assert max(map(len, _plain(_on_a_terminal(served, "run", "events", "wide-1")))) == 80
    assert max(map(len, _plain(_on_a_terminal(served, "run", "events", "wide-1", "--wide")))) > 100
    assert max(map(len, _plain(_on_a_terminal(served, "run", "status", "wide-1", NO_COLOR="1")))) == 80
    assert max(map(len, served("run", "status", "wide-1").lines)) > 100  # a pipe is never cut


def _plain(text: str) -> list[str]:
    return text.splitlines()
