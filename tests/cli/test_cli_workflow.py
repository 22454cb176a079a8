"""Definitions: validate, register, list, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from dagnats.errors import Problem
from dagnats.model.check import load_definition

if TYPE_CHECKING:
    from command_line import CommandLine

# Five mistakes, each on its own.
_BAD: dict[str, Any] = {
    "name": "bad flow",
    "version": 1,
    "steps": [
        {"id": "a", "task": "t", "depends_on": ["b"]},
        {"id": "b", "task": "t", "depends_on": ["a"]},
        {"id": "c", "task": "t", "depends_on": ["x"], "timeout": "5 minutes"},
    ],
}
_BAD_PLACES = [
    ("name", "identifier"),
    ("version", "type"),
    ("steps[0].depends_on", "cycle"),
    ("steps[2].depends_on[0]", "unknown-step"),
    ("steps[2].timeout", "duration"),
]


def _steps(*ids: str) -> list[dict[str, Any]]:
    """Steps in a line."""
    return [
        {"id": step_id, "task": f"do.{step_id}", **({"depends_on": [ids[at - 1]]} if at else {})}
        for at, step_id in enumerate(ids)
    ]


def _file(folder: Path, name: str, *ids: str, **settings: Any) -> str:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"name": name, "steps": _steps(*ids), **settings}))
    return str(file)


def _parent(folder: Path, name: str, child: str) -> str:
    file = folder / f"{name}.json"
    step = {"id": "call", "type": "sub_workflow", "config": {"workflow": child}}
    file.write_text(json.dumps({"name": name, "steps": [step]}))
    return str(file)


def _bad(folder: Path) -> str:
    (folder / "bad.json").write_text(json.dumps(_BAD))
    return str(folder / "bad.json")


# -- validate ----------------------------------------------------------------------------------------------


def test_a_valid_file_is_told_in_the_words_of_the_cli_reference(offline: CommandLine, tmp_path: Path) -> None:
    file = _file(tmp_path, "code-review", *"abcde")

    assert offline("workflow", "validate", file) == (0, "Valid: code-review (5 steps)\n", "")
    assert offline("workflow", "validate", file, "--json").json() == {"valid": True, "name": "code-review", "steps": 5}


def test_one_step_is_singular(offline: CommandLine, tmp_path: Path) -> None:
    assert offline("workflow", "validate", _file(tmp_path, "w", "a")).out == "Valid: w (1 step)\n"


def test_an_unknown_step_is_told_in_the_words_of_the_cli_reference(offline: CommandLine, tmp_path: Path) -> None:
    steps = [{"id": "x", "task": "t", "depends_on": ["y"]}]
    (tmp_path / "bad.json").write_text(json.dumps({"name": "w", "steps": steps}))

    answered = offline("workflow", "validate", str(tmp_path / "bad.json"))

    assert answered == (1, 'invalid: step "x" depends on non-existent step "y"\n  at steps[0].depends_on[0]\n', "")


def test_five_mistakes_are_five_problems_and_the_answer_is_no(offline: CommandLine, tmp_path: Path) -> None:
    answered = offline("workflow", "validate", _bad(tmp_path))

    assert answered.code == 1
    assert answered.err == ""
    assert [line.startswith("invalid: ") for line in answered.lines] == [True, False] * 5
    assert [line.split()[1] for line in answered.lines[1::2]] == [path for path, _ in _BAD_PLACES]


def test_five_mistakes_under_json_are_the_commands_own_object(offline: CommandLine, tmp_path: Path) -> None:
    answered = offline("workflow", "validate", _bad(tmp_path), "--json")

    document = answered.json()
    assert answered.code == 1
    assert list(document) == ["valid", "name", "problems"]
    assert (document["valid"], document["name"]) == (False, "bad flow")
    assert [(it["path"], it["rule"]) for it in document["problems"]] == _BAD_PLACES
    assert set(document["problems"][0]) == set(Problem.__slots__)


def test_a_warning_leaves_the_answer_yes(offline: CommandLine, tmp_path: Path) -> None:
    steps = [{"id": "nap", "type": "sleep", "config": {"duration": "1h"}, "timeout": "1m"}]
    (tmp_path / "odd.json").write_text(json.dumps({"name": "odd", "steps": steps}))

    answered = offline("workflow", "validate", str(tmp_path / "odd.json"))

    assert (answered.code, answered.out) == (0, "Valid: odd (1 step)\n")
    assert answered.err.splitlines() == [
        "warning: `timeout` does nothing on \"nap\": no worker runs a step of type 'sleep'",
        "  at steps[0].timeout",
    ]
    told = offline("workflow", "validate", str(tmp_path / "odd.json"), "--json").json()["warnings"]
    assert [it["rule"] for it in told] == ["no-effect"]


def test_a_file_that_is_not_there_is_no_answer(offline: CommandLine) -> None:
    assert offline("workflow", "validate", "none.json") == (2, "", "error: no file 'none.json'\n")


def test_python_is_not_a_definition_file(offline: CommandLine) -> None:
    refused = offline("workflow", "validate", "workflows/order.py")

    assert refused.code == 2
    assert "`dagnats register`" in refused.err


# -- register ----------------------------------------------------------------------------------------------


def test_registering_says_what_was_done_and_what_changed(served: CommandLine, tmp_path: Path) -> None:
    file = _file(tmp_path, "code-review", *"abcde")

    assert served("workflow", "register", file)[:2] == (0, "Workflow created: code-review (5 steps)\n")
    assert served("workflow", "register", file).out == "Workflow unchanged: code-review (5 steps)\n"
    _file(tmp_path, "code-review", *"abcd", timeout="5m")
    assert served("register", file).lines == [
        "Workflow updated: code-review (4 steps)",
        "  - step e",
        "  + timeout 5m",
    ]


def test_registering_one_file_names_the_task_types_that_no_worker_serves(served: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "typo.json"
    steps = [("a", "greet"), ("b", "payment.chrge"), ("c", "payment.chrge"), ("d", "nobody.does")]
    file.write_text(json.dumps({"name": "typo", "steps": [{"id": name, "task": task} for name, task in steps]}))

    told = served("workflow", "register", str(file))
    assert (told.code, told.out) == (0, "Workflow created: typo (4 steps)\n")
    assert told.err.splitlines() == [
        "warning: no worker serves 'payment.chrge' now",
        "  at typo: steps[1].task; workers serve 'payment.charge'",
        "warning: no worker serves 'nobody.does' now",
        "  at typo: steps[3].task",
    ]
    warnings = served("workflow", "register", str(file), "--json").json()["warnings"]
    assert [(each["rule"], each["path"]) for each in warnings] == [
        ("no-worker", "steps[1].task"),
        ("no-worker", "steps[3].task"),
    ]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(served: CommandLine, tmp_path: Path) -> None:
    file = _file(tmp_path, "dry", "a")

    assert served("register", file, "--dry-run") == (0, "Workflow would be created: dry (1 step)\n", "")
    assert served("workflow", "show", "dry").code == 2
    served("register", file)
    _file(tmp_path, "dry", "a", "b")
    would = ["Workflow would be updated: dry (2 steps)", "  + step b"]
    assert served("workflow", "register", file, "--dry-run").lines == would
    assert served("register", file, "--dry-run").lines == would
    assert served("register", file, "--dry-run", "--json").json() == [
        {
            "name": "dry",
            "action": "updated",
            "steps": 2,
            "changes": [{"change": "added", "what": "step b", "after": _steps("a", "b")[1]}],
            "dry_run": True,
        }
    ]
    _file(tmp_path, "dry", "a")
    assert served("register", file, "--dry-run").out == "Workflow unchanged: dry (1 step)\n"


def test_triggers_travel_with_the_workflow_and_are_no_part_of_its_version(served: CommandLine, tmp_path: Path) -> None:
    def nightly(hour: int) -> list[dict[str, Any]]:
        return [{"id": "nightly", "cron": {"expression": f"0 {hour} * * *"}}]

    file = _file(tmp_path, "report", "a")
    served("register", file)

    _file(tmp_path, "report", "a", triggers=nightly(2))
    assert served("register", file).lines == ["Workflow updated: report (1 step)", "  + trigger nightly"]
    assert served("register", file).lines == ["Workflow unchanged: report (1 step)"]
    _file(tmp_path, "report", "a", triggers=nightly(3))
    assert served("register", file).lines == [
        "Workflow updated: report (1 step)",
        '  ~ trigger.nightly.cron.expression "0 2 * * *" → "0 3 * * *"',
    ]
    assert served("workflow", "diff", "report", file).out == "unchanged\n"
    _file(tmp_path, "report", "a", "b", triggers=nightly(3))
    served("register", file)
    version = load_definition(Path(file).read_bytes()).identity
    assert served("workflow", "diff", f"report@{version}", file).lines == ["+ trigger nightly"]


def test_a_parent_and_its_child_are_registered_together_in_any_order(served: CommandLine, tmp_path: Path) -> None:
    parent = _parent(tmp_path, "a-parent", "z-child")

    refused = served("register", parent)
    assert refused.code == 2
    assert refused.err.splitlines() == [
        "error: workflow 'a-parent' has 1 problem; nothing was registered",
        "invalid: step \"call\" runs workflow 'z-child', which is not known here",
        "  at steps[0].config.workflow",
    ]
    assert served("register", parent, "--dry-run").code == 2
    assert served("register", parent, _file(tmp_path, "z-child", "a")).lines == [
        "Workflow created: a-parent (1 step)",
        "Workflow created: z-child (1 step)",
    ]
    assert served("workflow", "register", parent).out == "Workflow unchanged: a-parent (1 step)\n"


def test_registering_under_json_says_what_was_done(served: CommandLine, tmp_path: Path) -> None:
    file = _file(tmp_path, "json-review", "a")

    registered = served("workflow", "register", file, "--json")
    assert registered.json().items() >= {"name": "json-review", "action": "created", "steps": 1}.items()
    assert served("register", file, "--json").json() == [{"name": "json-review", "action": "unchanged", "steps": 1}]


def test_an_invalid_definition_is_not_registered(served: CommandLine, tmp_path: Path) -> None:
    refused = served("workflow", "register", _bad(tmp_path))

    assert refused.code == 2
    assert refused.err.startswith("error: workflow 'bad flow' has 5 problems; nothing was registered\n")
    assert refused.err.count("invalid: ") == 5


def test_one_invalid_definition_keeps_all_others_out(served: CommandLine, tmp_path: Path) -> None:
    good = _file(tmp_path, "innocent", "a")

    refused = served("register", good, _bad(tmp_path), "--json")

    assert refused.code == 2
    error = refused.json()["error"]
    assert error["kind"] == "invalid-definition"
    assert [(it["workflow"], it["path"]) for it in error["problems"]] == [("bad flow", path) for path, _ in _BAD_PLACES]
    assert served("workflow", "show", "innocent").code == 2


def test_two_definitions_of_one_name_are_refused(served: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [_file(tmp_path, "twice", "a"), _file(tmp_path / "other", "twice", "b")]

    refused = served("register", *files)

    assert refused.code == 2
    assert "two different definitions are named 'twice'" in refused.err


def test_an_unknown_target_is_told(offline: CommandLine) -> None:
    refused = offline.process("register", "no.such.module")

    assert refused.code == 2
    assert refused.err.startswith("error: no module or file 'no.such.module'\nhint: ")


# -- list and show -----------------------------------------------------------------------------------------


def test_the_list_has_the_columns_of_the_cli_reference(served: CommandLine, tmp_path: Path) -> None:
    served("register", _file(tmp_path, "deploy-pipeline", "a", "b", "c", timeout="30m"))

    listed = served("workflow", "list")

    rows = [line.split() for line in listed.lines]
    assert rows[0] == ["NAME", "STEPS", "TIMEOUT"]
    assert ["deploy-pipeline", "3", "30m0s"] in rows
    assert ["hello-pipeline", "3", "none"] in rows
    assert ["order", "7", "10m0s"] in rows
    names = {it["name"]: it for it in served("workflow", "list", "--json").json()}
    assert names["deploy-pipeline"]["timeout"] == "30m"
    assert [step["id"] for step in names["hello-pipeline"]["steps"]] == ["greet", "uppercase", "reverse"]


def test_a_workflow_is_shown_as_in_the_cli_reference(served: CommandLine) -> None:
    assert served("workflow", "show", "hello-pipeline").lines == [
        "Name: hello-pipeline",
        "Version: 1.0",
        "Steps: 3",
        "Timeout: none",
        "",
        "ID         TASK       DEPENDS ON",
        "greet      greet      -",
        "uppercase  uppercase  greet",
        "reverse    reverse    uppercase",
    ]
    assert served("--json", "workflow", "show", "hello-pipeline").json()["name"] == "hello-pipeline"


def test_an_unknown_workflow_comes_with_near_names(served: CommandLine) -> None:
    refused = served("workflow", "show", "ordr")

    assert refused == (2, "", "error: no workflow 'ordr'\nhint: did you mean 'order'?\n")


def test_steps_that_no_worker_runs_show_their_type(served: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "nap.json").write_text(
        json.dumps({"name": "nap", "steps": [{"id": "rest", "type": "sleep", "config": {"duration": "1h"}}]})
    )
    served("register", str(tmp_path / "nap.json"))

    assert served("workflow", "show", "nap").lines[-1].split() == ["rest", "(sleep)", "-"]


# -- graph and diff ----------------------------------------------------------------------------------------


def test_a_graph_is_mermaid_text_or_a_picture(served: CommandLine, tmp_path: Path) -> None:
    file = _file(tmp_path, "line", "a", "b")
    text = 'flowchart TD\n  s0["a<br/>do.a"]\n  s1["b<br/>do.b"]\n  s0 --> s1\n'

    assert served("workflow", "graph", file) == (0, text, "")
    assert served("workflow", "graph", file, "--json").json() == {"name": "line", "format": "mermaid", "graph": text}
    picture = served("workflow", "graph", "hello-pipeline", "--format=svg").out
    assert [it.text for it in ElementTree.fromstring(picture).iterfind(".//{*}text[@class='id']")] == [
        "greet",
        "uppercase",
        "reverse",
    ]


def test_a_graph_of_a_file_needs_no_server(offline: CommandLine, tmp_path: Path) -> None:
    assert offline("workflow", "graph", _file(tmp_path, "line", "a")).code == 0
    assert offline("workflow", "graph", "line").code == 3


def test_two_definitions_are_compared_line_by_line(offline: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = _file(tmp_path / "old", "line", "a", "b", timeout="10m")
    new = _file(tmp_path, "line", "a", "b", "c", timeout="20m")

    assert offline("workflow", "diff", old, new) == (0, "+ step c\n~ timeout 10m → 20m\n", "")
    assert offline("workflow", "diff", old, old) == (0, "unchanged\n", "")
    assert offline("workflow", "diff", old, new, "--json").json()["changes"][1] == {
        "change": "changed",
        "what": "timeout",
        "before": "10m",
        "after": "20m",
    }


def test_an_invalid_file_is_not_compared(offline: CommandLine, tmp_path: Path) -> None:
    refused = offline("workflow", "diff", _bad(tmp_path), _bad(tmp_path))

    assert refused.code == 2
    assert refused.err.count("invalid: ") == 5


def test_an_unknown_version_is_told(served: CommandLine) -> None:
    refused = served("workflow", "graph", "order@none")

    assert refused.code == 2
    assert refused.err.startswith("error: no version 'order@none'\nhint: `dagnats workflow versions order` lists")
    assert served("workflow", "graph", "a.b@c") == (2, "", "error: no version 'a.b@c'\n")


# -- versions ----------------------------------------------------------------------------------------------


def test_versions_are_listed_the_last_registered_first(served: CommandLine, tmp_path: Path) -> None:
    file = _file(tmp_path, "aged", "a")
    served("register", file)
    first = served("workflow", "versions", "aged", "--json").json()
    _file(tmp_path, "aged", "a", "b", version="2.0")
    served("register", file)

    rows = [line.split() for line in served("workflow", "versions", "aged").lines]
    assert rows[0] == ["HASH", "VERSION", "STEPS", "REGISTERED", "NEWEST"]
    assert [(row[1], row[2], row[-1]) for row in rows[1:]] == [("2.0", "2", "yes"), ("1", "1", "-")]
    second, older = served("workflow", "versions", "aged", "--json").json()
    assert older == {**first[0], "newest": False}
    assert second["hash"].startswith(rows[1][0])
    assert second["registered_at"] > older["registered_at"]


def test_an_older_version_that_is_registered_again_is_the_newest(served: CommandLine, tmp_path: Path) -> None:
    for steps in ("a", "ab", "a"):
        served("register", _file(tmp_path, "back", *steps))

    listed = served("workflow", "versions", "back", "--json").json()
    assert [(it["steps"], it["newest"]) for it in listed] == [(2, False), (1, True)]


def test_two_versions_are_compared_by_the_beginnings_of_their_hashes(served: CommandLine, tmp_path: Path) -> None:
    for minutes in range(1, 19):  # by the pigeonhole, two of their hashes begin alike
        served("register", _file(tmp_path, "grown", "a", timeout=f"{minutes}m"))
    hashes = [it["hash"] for it in served("workflow", "versions", "grown", "--json").json()]

    compared = served("workflow", "diff", f"grown@{hashes[1][:12]}", f"grown@{hashes[0][:12]}")
    assert compared == (0, "~ timeout 17m → 18m\n", "")
    twice = next(it[0] for it in hashes if sum(other[0] == it[0] for other in hashes) > 1)
    refused = served("workflow", "diff", f"grown@{twice}", "grown")
    assert refused.code == 2
    assert refused.err.startswith(f"error: '{twice}' is the beginning of ")


def test_versions_of_an_unknown_workflow_come_with_near_names(served: CommandLine) -> None:
    assert served("workflow", "versions", "ordr") == (2, "", "error: no workflow 'ordr'\nhint: did you mean 'order'?\n")


def test_an_empty_list_says_so(project: CommandLine) -> None:
    with project.start("serve", "--port", "0") as server:
        server.reads("Ctrl-C stops")

        assert project("workflow", "list").out == "No workflows are registered.\n"
        assert project("workflow", "list", "--json").json() == []
        assert "none is registered yet" in project("run", "start", "order").err
        assert project("run", "status", "--last").err.startswith("error: no run")
        server.stop()


# -- not reachable -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["workflow", "list"], ["run", "start", "order", "1"], ["status"], ["worker"]])
def test_without_a_server_the_exit_code_is_3(command: list[str], offline: CommandLine) -> None:
    failed = offline(*command)

    assert failed.code == 3
    assert failed.out == ""
    sentence, hint = failed.err.splitlines()
    assert sentence == "error: no server is named, and no local one is running"
    assert hint.startswith("hint: run `dagnats serve`")


def test_a_server_that_does_not_answer_is_named(offline: CommandLine) -> None:
    failed = offline("status", "--server", "nats://127.0.0.1:1", "--json")

    assert failed.code == 3
    assert failed.json()["error"]["kind"] == "unavailable"
    assert "nats://127.0.0.1:1" in failed.json()["error"]["message"]
    assert failed.err == ""
