"""`token` and `audit` on a real server, and `workflow delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def test_a_token_is_printed_once_alone_on_standard_output(served: CommandLine) -> None:
    made = served("token", "create", "deploy", "--scope=run", "--workflow=order-*", "--expires", "30d", "--by=ann")
    try:
        (text,) = made.lines
        assert text.startswith("dagnats_")
        assert made.err.startswith("Created: deploy (")
        assert "run for order-*" in made.err
        listed = served("token", "list")
        assert listed.lines[0].split() == ["ID", "NAME", "SCOPE", "WORKFLOWS", "CREATED", "EXPIRES"]
        (row,) = [line for line in listed.lines if " deploy " in line]
        assert row.split()[1:4] == ["deploy", "run", "order-*"]
        assert text.rpartition("_")[2] not in listed.out
        (document,) = [each for each in served("token", "list", "--json").json() if each["name"] == "deploy"]
        assert (document["by"], document["expired"], "token" in document) == ("ann", False, False)
    finally:
        revoked = served("token", "revoke", "deploy", "--json").json()
    assert revoked == {"id": document["id"], "name": "deploy", "revoked": True}
    gone = served("token", "revoke", "deploy")
    assert (gone.code, "no token 'deploy'" in gone.err) == (2, True)
    did = served("audit", "--target=deploy", "--json").json()
    assert [each["action"] for each in did] == ["token revoke", "token create"]
    assert did[1]["by"] == "ann"
    assert served("audit", "--target=deploy").lines[0].split() == ["TIME", "BY", "ACTION", "TARGET", "OUTCOME"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["x"], "--scope"),
        (["x", "--scope=root"], "'root' is not one of 'read', 'run', 'operate', 'admin'"),
        (["x", "--scope=read", "--expires=0s"], "has passed"),
    ],
)
def test_a_token_that_cannot_be_is_not_made(served: CommandLine, words: list[str], why: str) -> None:
    refused = served("token", "create", *words)
    assert (refused.code, refused.out) == (2, "")
    assert why in refused.err


def test_a_deleted_workflow_starts_no_runs_unless_another_one_needs_it(served: CommandLine, tmp_path: Path) -> None:
    child = Workflow("doomed")
    child.sleep("rest", "1ms")
    parent = Workflow("needs-doomed")
    parent.sub_workflow("child", "doomed")
    for workflow in (child, parent):
        (tmp_path / "w.json").write_bytes(workflow.build().to_json())
        assert served("workflow", "register", str(tmp_path / "w.json")).code == 0
    assert served("run", "start", "doomed", "--run-id", "doomed-run-1", "--watch").code == 0
    needed = served("workflow", "delete", "doomed", "--force")
    assert (needed.code, needed.err.partition("\n")[0]) == (2, "error: workflow 'doomed' is run by 'needs-doomed'")
    unasked = served("workflow", "delete", "needs-doomed")
    assert (unasked.code, "--force" in unasked.err) == (2, True)
    assert served("workflow", "delete", "needs-doomed", "--force").out == "Deleted: needs-doomed\n"
    assert served("workflow", "delete", "doomed", "--force", "--json").json() == {"name": "doomed", "deleted": True}
    assert served("run", "start", "doomed").code == 2
    assert served("run", "status", "doomed-run-1").code == 0
