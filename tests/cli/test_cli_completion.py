"""What is offered behind Tab, and the scripts that make shells ask for it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import CommandLine, Result

_LONGEST_S = 0.3
_SLACK = 3  # shared machines are slower than a desk; a heavy import costs more than this


@pytest.fixture(scope="module")
def hello(served: CommandLine) -> str:
    assert served("run", "start", "hello-pipeline", "--run-id", "complete-1", "--watch").code == 0
    return "complete-1"


def pressed(line: str, cli: CommandLine, patience: str = "30", *, process: bool = False) -> Result:
    """Tab behind a line."""
    env = {
        "_DAGNATS_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(f"{line}.".split()) - 1),
        "DAGNATS_COMPLETION_SECONDS": patience,
    }
    return cli.process(**env) if process else cli(**env)


def offered(line: str, cli: CommandLine, patience: str = "30") -> list[str]:
    answered = pressed(line, cli, patience)
    assert (answered.code, answered.err) == (0, "")
    return answered.out.split()


def test_names_and_ids_complete_from_the_live_server(served: CommandLine, hello: str) -> None:
    assert "hello-pipeline" in offered("dagnats workflow show ", served)
    assert offered("dagnats run start hello-p", served) == ["hello-pipeline"]
    assert hello in offered("dagnats run status ", served)
    assert hello in offered("dagnats run status --json comp", served)
    assert "uppercase" in offered("dagnats queue show u", served)
    assert all(not each.startswith("_") for each in offered("dagnats run status ", served))


@pytest.mark.parametrize(
    "line",
    ["run skip complete-1 ", "run skip complete ", "run events complete-1 --step ", "run fork complete-1 --from "],
)
def test_steps_are_those_of_the_run(line: str, served: CommandLine, hello: str) -> None:
    assert offered(f"dagnats {line}", served) == ["greet", "uppercase", "reverse"]
    assert offered(f"dagnats {line}u", served) == ["uppercase"]


def test_a_server_over_http_is_asked_there(served: CommandLine, project: CommandLine, hello: str) -> None:
    line = f"dagnats --server {served.http}"
    assert offered(f"{line} run start hello-p", project) == ["hello-pipeline"]
    assert hello in offered(f"{line} run status ", project)
    assert "uppercase" in offered(f"{line} queue show u", project)
    assert offered(f"{line} run skip {hello} ", project) == ["greet", "uppercase", "reverse"]

    assert project("context", "add", "web", served.http, "--use").code == 0
    assert offered("dagnats run start hello-p", project) == ["hello-pipeline"]
    assert offered("dagnats --server http://127.0.0.1:1 run start hello-p", project, patience="0.1") == []


@pytest.mark.parametrize(
    "line", ["run status ", "workflow show ", "queue show ", "run skip complete-1 ", "run skip nobody "]
)
def test_who_has_no_answer_offers_nothing_and_says_nothing(
    line: str, offline: CommandLine, served: CommandLine, project: CommandLine
) -> None:
    (project.folder / "dagnats.yaml").write_text("data_dir: [\n")
    assert offered(f"dagnats {line}", offline) == []
    assert offered(f"dagnats --server nats://127.0.0.1:1 {line}", served) == []
    assert offered(f"dagnats {line}", served, patience="0") == []
    assert offered(f"dagnats {line}", project) == []


def test_an_answer_takes_hardly_longer_than_help(served: CommandLine, hello: str) -> None:
    def took() -> float:
        before = os.times()
        assert hello in pressed("dagnats run status ", served, process=True).out
        after = os.times()
        # The processor's seconds: other tests do not count.
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert any(took() < _LONGEST_S * _SLACK for _ in range(3))


def test_a_shell_loads_the_script_it_is_given(offline: CommandLine) -> None:
    script = offline("completion", "bash").out
    listed = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p dagnats"], capture_output=True, text=True, timeout=60, check=True
    )
    assert listed.stdout == "complete -o default -F _dagnats_completion dagnats\n"
    assert offline("completion", "zsh").out.startswith("#compdef dagnats\n")
    assert "complete --command dagnats" in offline("completion", "fish", "--json").json()["script"]
    assert offline("completion", "tcsh").code == 2
