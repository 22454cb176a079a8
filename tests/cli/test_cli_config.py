"""`dagnats config`, and the commands that are configured by a file."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from command_line import CommandLine

SECRET = "s3cr3t-Zebra"

_WORKFLOW = """
from dagnats import Workflow

wf = Workflow("shouting")
wf.task("say", "text.upper")
"""

_WORKERS = """
nats_port: 0
data_dir: store
worker:
  text.upper:
    exec: [tr, a-z, A-Z]
"""


# -- show and check --------------------------------------------------------------------------------------------


def test_show_prints_the_values_of_the_file_and_the_environment_as_the_guide_does(project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text("http_addr: :8080\nmax_store_bytes: 1073741824\n")

    shown = project("config", "show", DAGNATS_DATA_DIR="/tmp/dagnats")

    assert shown.code == 0
    assert shown.lines[:5] == [
        "data_dir: /tmp/dagnats",
        "http_addr: :8080",
        "nats_port: 4222",
        "monitor_port: (disabled)",
        "max_store_bytes: 1073741824",
    ]
    assert project("config", DAGNATS_DATA_DIR="/tmp/dagnats").out == shown.out
    document = project("config", "show", "--json", DAGNATS_DATA_DIR="/tmp/dagnats").json()
    assert list(document)[:2] == ["data_dir", "http_addr"]
    assert (document["data_dir"], document["http_addr"]) == ("/tmp/dagnats", ":8080")


def test_show_says_where_each_value_is_from(project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text("\nsync: 1s\nretention: 2d\n")

    shown = project("config", "show", "--token", "x", DAGNATS_RETENTION="3d", DAGNATS_DATA_DIR="")

    at = shown.lines.index("")
    assert [line.split(maxsplit=1) for line in shown.lines[at + 1 :]] == [
        ["KEY", "FROM"],
        ["token", "flag --token"],
        ["sync", "dagnats.yaml:2"],
        ["retention", "environment DAGNATS_RETENTION"],
        ["Everything", "else is the default."],
    ]
    origins = project("config", "--json", DAGNATS_RETENTION="3d").json()["origins"]
    assert (origins["sync"], origins["nats_port"]) == ("dagnats.yaml:2", "default")


def test_no_command_shows_a_secret(project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text(
        f"token: {SECRET}\n"
        f"url: nats://u:{SECRET}@127.0.0.1:1\n"
        f"worker.pay.http: https://u:{SECRET}@h.example/{SECRET}\n"
        f"worker.pay.headers: {{X-Key: {SECRET}}}\n"
    )
    said = [
        project(*line, *debug) for line in (["config"], ["config", "check"], ["status"]) for debug in ([], ["--json"])
    ]
    said.append(project("status", "--debug"))
    assert [one.code for one in said] == [0, 0, 0, 0, 3, 3, 3]
    assert SECRET not in "".join(one.out + one.err for one in said)


def test_check_lists_everything_that_is_wrong_with_its_line(project: CommandLine) -> None:
    assert project("config", "check").out == "Valid: no configuration file, only defaults and the environment\n"
    (project.folder / "dagnats.yaml").write_text("sync: always\n")
    assert project("config", "check").out == "Valid: dagnats.yaml\n"

    (project.folder / "dagnats.yaml").write_text("nats_prot: 1\nsync: often\n")
    wrong = project("config", "check")
    assert wrong.code == 2
    assert wrong.err.splitlines() == [
        "error: the configuration has 2 problems (dagnats.yaml)",
        "invalid: there is no key 'nats_prot'",
        "  at nats_prot (dagnats.yaml:1); did you mean 'nats_port'?",
        "invalid: sync is 'often': 'often' is not a duration; write a number with a unit, such as '500ms', '30s', "
        "'1h30m' or '7d'",
        "  at sync (dagnats.yaml:2)",
    ]
    document = project("config", "check", "--json").json()
    assert document["error"]["kind"] == "invalid-configuration"
    assert [problem["source"] for problem in document["error"]["problems"]] == ["dagnats.yaml:1", "dagnats.yaml:2"]


@pytest.mark.parametrize("line", [["status"], ["workers"], ["serve"], ["worker"], ["run", "list"], ["config"]])
def test_no_command_works_on_a_configuration_that_cannot_be(line: list[str], project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text("nats_prot: 1\n")
    refused = project(*line)
    assert refused.code == 2
    assert refused.err.startswith("error: the configuration has 1 problem (dagnats.yaml)\n")


def test_another_file_can_be_named(project: CommandLine) -> None:
    (project.folder / "other.yaml").write_text("sync: 5s\n")
    assert "sync: 5s" in project("config", "--config", "other.yaml").lines
    assert project("config", "--config=nope.yaml").err == (
        "error: the configuration cannot be read\ninvalid: configuration file 'nope.yaml' does not exist\n"
    )


# -- what it changes -------------------------------------------------------------------------------------------


def test_serve_runs_the_commands_that_are_configured(project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text(_WORKERS)
    (project.folder / "shouting.py").write_text(_WORKFLOW)
    project = type(project)(project.folder, project.data, DAGNATS_DATA_DIR="")
    with project.start("serve") as server:
        lines = server.reads("Ctrl-C stops")
        assert f"Data:      {project.folder / 'store'}" in lines
        assert "Working:   1 task type: text.upper" in lines
        # Who looks for the server finds it by the same file.
        assert project.process("register", "shouting.py").code == 0
        done = project("run", "start", "shouting", '"hello"', "--output")
        assert done.code == 0, done.err
        assert json.loads(done.lines[-1]) == "HELLO"
        assert server.stop().code == 0


def test_a_worker_serves_what_is_configured_beside_what_is_written(served: CommandLine, project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text("worker.text.upper.exec: tr a-z A-Z\n")
    project = type(project)(project.folder, served.data)
    with project.start("worker", "workflows/hello.py") as worker:
        lines = worker.reads("Ctrl-C stops")
        assert worker.stop().code == 0
    assert "  text.upper" in lines
    assert "  greet" in lines

    (project.folder / "dagnats.yaml").write_text("worker.greet.exec: cat\n")
    refused = project.process("worker", "workflows/hello.py")
    assert refused.code == 2
    assert "two handlers serve task type 'greet'" in refused.err
    assert "dagnats.yaml:1" in refused.err


def test_the_server_is_as_large_and_as_watched_as_it_is_configured(project: CommandLine) -> None:
    (project.folder / "dagnats.yaml").write_text("nats_port: 0\nmax_store_bytes: 2147483648\nsync: always\n")
    with project.start("serve") as server:
        server.reads("Ctrl-C stops")
        written = (project.data / "nats.conf").read_text()
        assert server.stop().code == 0
    assert "max_file_store: 2147483648\n" in written
    assert "sync_interval: always\n" in written


def test_a_server_reads_its_file_again_and_status_says_what_came_of_it(project: CommandLine) -> None:
    file = project.folder / "dagnats.yaml"
    (project.folder / "empty.yaml").write_text("")
    first = "nats_port: 0\nworkflows:\n- name: said\n  steps: [{id: say, task: text.upper}]\n"
    file.write_text(first)

    def reported(what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(600):
            found = project("status", "--json").json()["configuration"]
            if what(found):
                return found
        raise AssertionError(f"status still says {found}")

    with project.start("serve") as server:
        server.reads("Ctrl-C stops")
        assert [each["name"] for each in project("workflow", "list", "--json").json()] == ["said"]
        begun = reported(lambda found: True)
        assert (begun["file"], begun["pid"], begun["refused_at"]) == ("dagnats.yaml", server.process.pid, None)

        file.write_text(first.replace("said", "other") + "policy: {control_plane: {grants: []}}\nsyncc: 1s\n")
        refused = reported(lambda found: found["refused_at"])
        assert refused["loaded_at"] == begun["loaded_at"]
        assert [problem["source"] for problem in refused["problems"]] == ["dagnats.yaml:5", "dagnats.yaml:6"]
        text = project("status")
        assert text.code == 0
        assert "    at syncc (dagnats.yaml:6); did you mean 'sync'?" in text.lines
        assert [each["name"] for each in project("workflow", "list", "--json", "--config", "empty.yaml").json()] == [
            "said"
        ]

        file.write_text(first.replace("said", "other") + "sync: 1s\n")
        server.signal(signal.SIGHUP)
        renewed = reported(lambda found: found["refused_at"] is None)
        assert renewed["loaded_at"] > begun["loaded_at"]
        assert (renewed["problems"], renewed["restart"]) == ([], ["sync"])
        assert "  From the next start of the server: sync" in project("status").lines
        assert {each["name"] for each in project("workflow", "list", "--json").json()} == {"said", "other"}
        assert server.stop().err.count("stays in force") == 1
