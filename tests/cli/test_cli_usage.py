"""The command tree itself: help, versions, and lines that make no sense."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import dagnats
from dagnats.cli.app import tree
from dagnats.cli.contents import ENTRIES, Entry

if TYPE_CHECKING:
    from command_line import CommandLine
    from syrupy.assertion import SnapshotAssertion

_COMMANDS = (
    "backup",
    "bench",
    "build",
    "completion",
    "config",
    "config check",
    "config show",
    "demo",
    "dev",
    "dlq",
    "dlq discard",
    "dlq inspect",
    "dlq list",
    "dlq replay",
    "dlq watch",
    "event",
    "event publish",
    "init",
    "init workflow",
    "logs",
    "logs search",
    "queue",
    "queue limit",
    "queue list",
    "queue pause",
    "queue repair",
    "queue resume",
    "queue show",
    "register",
    "restore",
    "run",
    "run approve",
    "run bulk",
    "run cancel",
    "run cancel-all",
    "run events",
    "run export",
    "run fail",
    "run fork",
    "run import",
    "run imported",
    "run list",
    "run logs",
    "run output",
    "run pause",
    "run reject",
    "run replay",
    "run resume",
    "run retry",
    "run retry-all",
    "run signal",
    "run skip",
    "run start",
    "run status",
    "run stream",
    "run watch",
    "schema",
    "serve",
    "status",
    "trace",
    "trigger-type",
    "trigger-type describe",
    "trigger-type list",
    "verify",
    "worker",
    "workers",
    "workers list",
    "workflow",
    "workflow diff",
    "workflow graph",
    "workflow limit",
    "workflow list",
    "workflow pause",
    "workflow register",
    "workflow resume",
    "workflow show",
    "workflow validate",
    "workflow versions",
)
_HELP_S = 0.3
_LIST_LOADED = "import sys; from dagnats.cli.app import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
_SLACK = 2  # shared machines are slower than a desk; a heavy import costs more than this


def test_help_lists_every_command(offline: CommandLine, snapshot: SnapshotAssertion) -> None:
    shown = offline.process("--help")

    assert shown.code == 0
    assert {name.split()[0] for name in _COMMANDS} <= set(shown.out.split())
    assert shown.out == snapshot


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_explains_itself(command: str, offline: CommandLine, snapshot: SnapshotAssertion) -> None:
    shown = offline(*command.split(), "-h")

    assert shown.code == 0
    assert f"Usage: dagnats {command}" in shown.out
    assert shown.err == ""
    assert shown.out == snapshot


def test_help_comes_at_once(offline: CommandLine) -> None:
    def took() -> float:
        before = os.times()
        subprocess.run(
            offline.argv("--help"), env=offline.env, cwd=offline.folder, stdout=subprocess.DEVNULL, check=True
        )
        after = os.times()
        # The processor's seconds: other tests do not count.
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert any(0 < took() < _HELP_S * _SLACK for _ in range(3))


def test_help_loads_no_command(offline: CommandLine) -> None:
    listed = subprocess.run(
        [sys.executable, "-c", _LIST_LOADED, "--help"], env=offline.env, capture_output=True, text=True, check=True
    )

    loaded = {name.removeprefix("dagnats.cli.") for name in listed.stderr.split() if name.startswith("dagnats.cli.")}
    assert loaded == {"app", "contents", "failure", "help", "option", "output"}
    assert "markdown_it" not in listed.stderr.split()


def test_who_draws_markdown_can_do_so_after_the_help(offline: CommandLine) -> None:
    drawn = "from dagnats.cli.app import run; run(['--help']); from rich.markdown import Markdown; Markdown('*so*')"
    subprocess.run([sys.executable, "-c", drawn], env=offline.env, stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_help_says_of_a_command_what_it_says_of_itself(entry: Entry) -> None:
    command = tree().commands[entry.name]

    assert command.help.split("\n\n")[0].replace("\n", " ").strip() == entry.help
    assert command.rich_help_panel == entry.panel


@pytest.mark.parametrize("noun", [[], ["dlq"], ["event"], ["init"], ["queue"], ["run"], ["trigger-type"], ["workflow"]])
def test_a_noun_alone_shows_what_there_is(noun: list[str], offline: CommandLine) -> None:
    shown = offline(*noun)

    assert (shown.code, shown.err) == (0, "")
    assert "Commands" in shown.out or "Start here" in shown.out


def test_the_version_is_printed(offline: CommandLine) -> None:
    assert offline.process("--version") == (0, f"dagnats {dagnats.__version__}\n", "")
    assert offline("run", "-v", "--json").json() == {"version": dagnats.__version__}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["runn"], "error: no such command 'runn'. Did you mean 'run'?"),
        (["run", "strt"], "error: no such command 'strt'. Did you mean 'start'"),
        (["run", "status", "--lst"], "error: no such option: --lst (Possible options: --last)"),
        (["run", "start"], "error: missing argument 'WORKFLOW'"),
        (["run", "status"], "error: which run?"),
        (["run", "status", "a1b2c3d4", "--last"], "error: --last and the run id 'a1b2c3d4' say two things"),
        (["worker", "--concurrency", "0"], "error: invalid value for '--concurrency'"),
        (["worker", "--limit", "greet"], "error: --limit 'greet' is no limit"),
        (["worker", "--grace", "soon"], "error: --grace 'soon': 'soon' is not a duration"),
        (["status", "--server"], "error: option --server needs a value"),
        (["status", "--server", "ftp://host:8080"], "error: 'ftp://host:8080' is not the address of a NATS server"),
        (["status", "--server", "nats://host:port"], "error: 'nats://host:port' is not the address of a NATS server"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_with_a_hint(line: list[str], message: str, served: CommandLine) -> None:
    refused = served(*line)

    assert refused.code == 2
    assert refused.out == ""
    sentence, hint = refused.err.splitlines()
    assert sentence.startswith(message)
    assert hint.startswith("hint: ")


def test_a_usage_error_under_json_is_json(offline: CommandLine) -> None:
    refused = offline("runn", "--json")

    assert refused.code == 2
    assert refused.err == ""
    assert refused.json()["error"]["kind"] == "usage"
