"""The README is true: its first program runs, and what it tells people to type exists."""

from __future__ import annotations

import re
import shlex
from typing import Any, get_args

import pytest

from dagnats import Workflow
from dagnats.cli.app import tree
from dagnats.cli.option import split
from dagnats.client import ailment, diagnosis
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = ("docs/operating.md", "docs/limits.md", "docs/quickstart.md", "docs/troubleshooting.md")
SHOWN = [
    line for page in PAGES for line in re.findall(r"^(?:\$ )?(dagnats .*)$", (ROOT / page).read_text(), re.MULTILINE)
] + re.findall(r"`(dagnats [^`]+)`", (ROOT / "docs/troubleshooting.md").read_text())


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def _typed(program: str) -> list[str]:
    """Every line the README shows typed at a prompt, and every `program …` in its text."""
    shown = re.findall(rf"^\$ ({program} .*)$", README, flags=re.MULTILINE)
    return shown + re.findall(rf"`({program} [^`]+)`", README)


def _command(line: str) -> Any:
    """The command that a line calls, or None; what follows it are its own arguments."""
    command: Any = tree()
    for word in shlex.split(line, comments=True)[1:]:
        if not hasattr(command, "commands"):
            return command
        if word not in command.commands:
            return None
        command = command.commands[word]
    return command


def test_the_first_program_is_whole_and_builds_its_workflow() -> None:
    program = _blocks("python")[0]
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec"), names)  # what a reader would do with it
    found: list[Workflow] = [value for value in names.values() if isinstance(value, Workflow)]
    (workflow,) = found
    steps = {step.id: step for step in workflow.build().steps}
    assert steps["charge"].depends_on == ("reserve",)
    assert steps["reserve"].compensate == "release"


def test_the_first_program_fits_a_screen() -> None:
    assert len(_blocks("python")[0].splitlines()) <= 25


@pytest.mark.parametrize("line", _typed("dagnats"))
def test_every_command_it_names_exists(line: str) -> None:
    assert _command(line) is not None, line


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert _command("dagnats nonsense") is None
    assert _command("dagnats run nonsense abc") is None


@pytest.mark.parametrize("line", _typed("make"))
def test_every_make_target_it_names_exists(line: str) -> None:
    target = shlex.split(line)[1]
    assert re.search(rf"^{re.escape(target)}:.*## ", MAKEFILE, flags=re.MULTILINE), line


def test_there_is_something_to_check() -> None:
    assert len(_typed("dagnats")) >= 4
    assert len(_typed("make")) >= 2


@pytest.mark.parametrize("file", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_page_it_links_to_exists(file: str) -> None:
    assert (ROOT / file).is_file() or (ROOT / f"{file}.md").is_file()


def _parsed(line: str) -> None:
    """Read a line as the shell and the command would, without carrying it out."""
    command: Any = tree()
    _, words = split(shlex.split(line, comments=True)[1:])  # what every command takes is taken off before
    while hasattr(command, "commands") and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("command", words, help_option_names=["-h", "--help"])  # it keeps what it is asked for first


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_the_pages_show_can_be_given(line: str) -> None:
    _parsed(line)


def test_a_command_with_an_option_that_does_not_exist_would_be_found() -> None:
    assert len(SHOWN) >= 40
    with pytest.raises(Exception, match="--nonsense"):
        _parsed("dagnats run pause abc --nonsense")


def test_the_page_for_what_is_stuck_names_everything_that_can_be_found() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    kinds = {*get_args(ailment.Kind), *get_args(diagnosis.Kind)} - {"ended", "queued", "dead-letters"}
    assert sorted(kind for kind in kinds if f"`{kind}`" not in page) == []
