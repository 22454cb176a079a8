"""Which of several installations a command asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def test_a_flag_a_variable_and_a_context_name_the_installation(served: CommandLine) -> None:
    assert served("register", "workflows/hello.py", "--namespace", "apart").code == 0
    at = json.loads((served.data / "server.json").read_text())
    kept = ["context", "add", "apart", at["url"], "--token", at["token"], "--namespace", "apart"]
    assert served(*kept).code == 0
    try:
        named = {"DAGNATS_NAMESPACE": "apart"}
        asked = [
            served("status", "--json", "--namespace=apart"),
            served("status", "--json", **named),
            served("status", "--json", "--context=apart"),
        ]
        assert [(each.json()["namespace"], each.json()["active_runs"]) for each in asked] == [("apart", 0)] * 3
        assert "namespace" not in served("status", "--json", "--namespace", "off", **named).json()
        listed = served("workflow", "list", "--json", "--context", "apart").json()
        assert [each["name"] for each in listed] == ["hello-pipeline"]
        assert served("context", "show", "apart", "--json").json()["namespace"] == "apart"
    finally:
        assert served("context", "remove", "apart", "--force").code == 0
    lines = served("status", "--namespace", "apart").lines
    assert "Namespace: apart" in lines


def test_a_backup_of_a_mistyped_namespace_is_refused(served: CommandLine, tmp_path: Path) -> None:
    refused = served("backup", str(tmp_path / "b.tar"), "--namespace=mistyped")
    assert (refused.code, "there is no installation in namespace 'mistyped' on this server" in refused.err) == (2, True)
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--namespace", "a.b"], "namespace is 'a.b': a namespace is a letter, then letters, digits, '_' and '-'"),
        (["--namespace", "task"], "namespace is 'task': the names of an installation without a namespace begin so"),
        (["--server=http://h", "--namespace=staging"], "--namespace staging: DagNats over HTTP serves one namespace"),
    ],
)
def test_a_namespace_that_cannot_be_asked_for_is_refused(offline: CommandLine, words: list[str], told: str) -> None:
    refused = offline("status", *words)
    assert (refused.code, told in refused.err) == (2, True)
