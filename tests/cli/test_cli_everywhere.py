"""What holds for every command: JSON that parses, exit codes, no escape codes in a pipe, no secret in any output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dagnats.cli.app import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command_line import CommandLine

_SECRET = "hunter2-correct-horse"

# Of every command one line that answers, in an order in which all can. RUN is a run that waits, OLD one that is over.
_LINES = (
    "schema",
    "completion bash",
    "verify",
    "doctor",
    "bench --runs 3 --warm-up 1",
    "status",
    "status --detail",
    "config show",
    "config check",
    "context add every nats://user:hunter2-correct-horse@127.0.0.1:1 --token hunter2-correct-horse",
    "context list",
    "context show every",
    "context use local",
    "context remove every --force",
    "workers list",
    "trigger-type list",
    "trigger-type describe nothing",
    "queue list",
    "queue show nobody.serves.this",
    "queue pause nobody.serves.this",
    "queue resume nobody.serves.this",
    "queue limit nobody.serves.this --concurrency 1000",
    "queue limit nobody.serves.this --concurrency 0",
    "queue repair",
    "dlq list",
    "dlq inspect 999999",
    "dlq replay 999999",
    "dlq discard 999999 --force",
    "event publish every.where {}",
    "waitpoint list",
    "waitpoint show OLD",
    "waitpoint complete OLD",
    "waitpoint token OLD",
    "waitpoint cancel OLD",
    "token create every-where --scope read --expires 30d",
    "token list",
    "token revoke every-where",
    "audit",
    "workflow delete nothing --force",
    "workflow list",
    "workflow show waiting",
    "workflow versions waiting",
    "workflow diff waiting waiting",
    "workflow graph waiting",
    "workflow validate nothing.json",
    "workflow register nothing.json",
    "workflow pause retrying",
    "workflow resume retrying",
    "workflow limit retrying --max-runs 1000",
    "workflow limit retrying --max-runs 0 --max-events 0 --max-depth 0",
    "run start waiting --label a=b",
    "run list",
    "run count",
    "run status RUN",
    "run inspect RUN",
    "run tree RUN",
    "run diagnose RUN",
    "run events RUN",
    "run logs RUN",
    "trace OLD",
    "logs search a",
    "logs --tail 5",
    "run output OLD",
    "run result OLD",
    "run watch OLD",
    "run stream OLD greet",
    "run replay OLD",
    "run export OLD",
    "run import nothing.json",
    "run imported",
    "run pause RUN",
    "run resume RUN",
    "run signal RUN go 1",
    "signal list RUN",
    "run approve RUN",
    "run reject RUN",
    "run fork OLD --from greet",
    "run retry OLD",
    "run retry-all --workflow waiting --mode rerun --dry-run",
    "run bulk --workflow waiting 1",
    "run cancel-all --workflow waiting --dry-run",
    "run skip RUN nothing",
    "run fail RUN wait",
    "run cancel RUN",
    "clean --type runs --older-than 30d --dry-run",
    "backup nowhere/at.tar",
    "restore nothing.tar",
)
_LINES_OF_JSON = ("run watch", "run stream", "logs --tail")  # one document a line

_GO_ON = {"serve", "worker", "demo", "dev", "dlq watch"}
"""Commands that go on until they are stopped, with tests of their own."""
_PROJECT = {"init project", "init workflow", "build", "register"}
"""Commands that make a project or import one, with tests of their own."""


def _commands(group: Any, before: str = "") -> Iterator[str]:
    """Every command there is, by all its words."""
    for name, command in group.commands.items():
        words = f"{before} {name}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, words)
        else:
            yield words


def _all() -> list[str]:
    return sorted(_commands(tree()))


def test_every_command_has_a_line_here_or_goes_on() -> None:
    tried = {command for command in _all() for line in _LINES if f"{line} ".startswith(f"{command} ")}

    assert {*_all()} - tried - _GO_ON - _PROJECT == set()


@pytest.mark.parametrize("command", _all())
def test_an_option_that_is_not_there_is_a_usage_error_in_one_form(offline: CommandLine, command: str) -> None:
    refused = offline(*command.split(), "--no-such-option", "--json")

    assert refused.code == 2, refused
    assert refused.err == ""
    assert refused.json()["error"]["kind"] == "usage"


_CONFIGURED = f"""
access:
  basic:
    ann: {{password: basic-{_SECRET}, scope: admin}}
worker:
  notify:
    http: https://user:{_SECRET}@hooks.example.com/services/{_SECRET}
    headers: {{Authorization: Bearer {_SECRET}}}
"""


@pytest.fixture(scope="module")
def secrets(served: CommandLine) -> dict[str, str]:
    """What nobody may see, by where it is."""
    token: str = json.loads((served.data / "server.json").read_text())["token"]
    assert token
    return {"the server's token": token, "the planted one": _SECRET}


@pytest.fixture(scope="module")
def runs(served: CommandLine) -> dict[str, str]:
    """A run that waits, and one that is over."""
    assert served("run", "start", "hello-pipeline", '"Ann"', "--run-id", "every-old-1", "--watch").code == 0
    assert served("run", "start", "waiting", "--run-id", "every-run-1").code == 0
    return {"OLD": "every-old-1", "RUN": "every-run-1"}


# One test for all: the server is shared, and what one line pauses the next one has to resume.
def test_every_command_prints_json_that_parses_and_text_without_colours_and_secrets(
    served: CommandLine, secrets: dict[str, str], runs: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "dagnats.yaml").write_text(_CONFIGURED)
    for line in _LINES:
        words = [*(runs.get(word, word) for word in line.split()), f"--config={tmp_path / 'dagnats.yaml'}"]
        in_json = served(*words, "--json", DAGNATS_BRIDGE_TOKEN=_SECRET)
        in_text = served(*words, "--debug", DAGNATS_BRIDGE_TOKEN=_SECRET)

        documents = in_json.lines if line.startswith(_LINES_OF_JSON) else [in_json.out]
        parsed = [json.loads(document) for document in documents]
        assert in_json.code in (0, 1, 2), line
        assert in_json.code != 2 or set(parsed[0]) == {"error"}, line
        assert "\x1b" not in in_text.out + in_text.err + in_json.out + in_json.err, line
        for where, secret in secrets.items():
            assert all(secret not in said for said in (*in_json[1:], *in_text[1:])), (line, where)
