"""`run export`, `import`, `imported` and `replay` as a person types them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


def test_a_run_leaves_one_installation_and_is_looked_at_in_another(served: CommandLine, tmp_path: Path) -> None:
    file = str(tmp_path / "run.json")
    assert served("run", "start", "hello-pipeline", '"ada"', "--run-id", "portable-one", "--watch").code == 0

    told = served("run", "export", "portable-one", file)
    assert (told.code, told.out.startswith("Exported: portable-one, ")) == (0, True)
    document = json.loads(served("run", "export", "portable-one").out)
    assert (document["format"], document["runs"][0]["run_id"]) == ("dagnats.run/1", "portable-one")
    here = served("run", "import", file)
    assert (here.code, "one of this installation's" in here.err) == (2, True)

    other = json.loads((tmp_path / "run.json").read_text().replace("portable-one", "portable-two"))
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert (
        served("run", "import", str(tmp_path / "other.json"))
        .lines[0]
        .startswith("Imported: portable-two (hello-pipeline, ")
    )
    assert served("run", "import", str(tmp_path / "other.json"), "--json").json()["runs"][0]["action"] == "unchanged"

    shown = served("run", "status", "portable-t")
    assert (shown.code, "Status: completed" in shown.out, "was imported" in shown.err) == (0, True, True)
    for command in ("inspect", "replay", "tree", "watch"):
        looked = served("run", command, "portable-two")
        assert (looked.code, looked.out != "") == (0, True), (command, looked)
    refused = served("run", "cancel", "portable-two")
    assert refused.code == 2
    assert served("run", "retry", "portable-two").code == 2
    assert "portable-two" not in served("run", "list", "--limit", "500").out

    assert served("run", "imported", "--json").json() == [
        {"run_id": "portable-two", "workflow_id": "hello-pipeline", "status": "completed"}
    ]
    assert served("run", "imported", "--remove", "portable-two").code == 0
    assert served("run", "imported").out == "No runs were imported.\n"
    assert served("run", "imported", "--remove", "portable-two").code == 2


def test_a_replay_says_where_another_definition_parts(served: CommandLine, tmp_path: Path) -> None:
    assert served("run", "start", "waiting", "--run-id", "replayed-one").code == 0
    same = served("run", "replay", "replayed-one")
    assert (same.code, ": running, no difference" in same.out) == (0, True)

    (tmp_path / "waiting.json").write_text('{"name": "waiting", "steps": [{"id": "wait", "task": "somebody"}]}')
    other = served("run", "replay", "replayed-one", "--with", str(tmp_path / "waiting.json"))
    assert other.code == 1
    assert other.lines[1].startswith("At event ")
    assert other.lines[2:] == [
        "  did:   hand out step 'wait' as 'nobody.serves.this', attempt 1",
        "  would: hand out step 'wait' as 'somebody', attempt 1",
    ]
    found = served("run", "replay", "replayed-one", "--with", str(tmp_path / "waiting.json"), "--json").json()
    assert (found["same"], found["difference"]["type"]) == (False, "workflow.started")

    (tmp_path / "strange.json").write_text('{"name": "strange", "steps": [{"id": "wait", "task": "somebody"}]}')
    strange = served("run", "replay", "replayed-one", "--with", str(tmp_path / "strange.json"))
    assert (strange.code, "is of workflow 'waiting'" in strange.err) == (2, True)
