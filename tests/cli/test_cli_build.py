"""`build` and `schema`: JSON files that are committed beside the Python they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dagnats.model.definition import json_schema

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

_BUILT = ["hello-pipeline.json", "order.json", "retrying.json", "waiting.json", "workflow.schema.json"]


def _files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_build_writes_one_file_per_workflow_and_the_schema(project: CommandLine) -> None:
    built = project.process("build")

    assert built.code == 0, built.err
    folder = project.folder / "workflows" / "build"
    assert _files(folder) == _BUILT
    assert built.lines == [f"created: workflows/build/{name}" for name in _BUILT]
    assert json.loads((folder / "order.json").read_text())["$schema"] == "./workflow.schema.json"
    assert project.process("build").lines == [f"unchanged: workflows/build/{name}" for name in _BUILT]
    assert project.process("build", "--check") == (0, "Up to date: 4 workflows\n", "")


def test_what_was_built_is_valid_and_can_be_registered_again(project: CommandLine) -> None:
    project.process("build")

    assert project("workflow", "validate", "workflows/build/order.json").out == "Valid: order (7 steps)\n"


def test_check_shows_what_is_stale_missing_and_extra_and_writes_nothing(project: CommandLine) -> None:
    project.process("build")
    folder = project.folder / "workflows" / "build"
    order = (folder / "order.json").read_text()
    (folder / "order.json").write_text(order.replace('"10m"', '"20m"'))
    (folder / "hello-pipeline.json").unlink()
    (folder / "gone.json").write_text(order)

    checked = project.process("build", "--check")

    assert checked.code == 1
    assert "stale: workflows/build/order.json" in checked.lines
    assert '-  "timeout": "20m"' in checked.lines
    assert '+  "timeout": "10m"' in checked.lines
    assert "missing: workflows/build/hello-pipeline.json" in checked.lines
    assert "--- /dev/null" in checked.lines
    assert "extra: workflows/build/gone.json" in checked.lines
    assert _files(folder) == ["gone.json", *(name for name in _BUILT if name != "hello-pipeline.json")]
    states = {it["file"]: it["state"] for it in project.process("build", "--check", "--json").json()["files"]}
    assert states == {
        "workflows/build/order.json": "stale",
        "workflows/build/hello-pipeline.json": "missing",
        "workflows/build/gone.json": "extra",
    }


def test_a_build_removes_what_is_gone_and_nothing_of_anybody_elses(project: CommandLine) -> None:
    project.process("build")
    folder = project.folder / "workflows" / "build"
    (folder / "gone.json").write_text((folder / "order.json").read_text())
    (folder / "mine.json").write_text('{"name": "mine"}')
    (folder / "broken.json").write_text("{")

    built = project.process("build")

    assert "removed: workflows/build/gone.json" in built.lines
    assert _files(folder) == sorted([*_BUILT, "broken.json", "mine.json"])


def test_a_build_of_one_file_keeps_the_others(project: CommandLine) -> None:
    project.process("build")
    (project.folder / "workflows" / "build" / "order.json").unlink()

    project.process("build", "workflows/order.py")

    assert _files(project.folder / "workflows" / "build") == _BUILT
    assert project.process("build", "workflows.hello", "--check").code == 0


def test_a_build_goes_where_it_is_told(project: CommandLine) -> None:
    built = project.process("build", "--out=elsewhere/json", "--json")

    assert built.json()["out"] == "elsewhere/json"
    assert built.json()["files"][0] == {"file": "elsewhere/json/hello-pipeline.json", "state": "created"}
    assert _files(project.folder / "elsewhere" / "json") == _BUILT


def test_an_invalid_workflow_stops_the_build_with_its_own_line(project: CommandLine) -> None:
    (project.folder / "workflows" / "broken.py").write_text(
        'from dagnats import Workflow\n\nwf = Workflow("broken")\nwf.task("one", "t").after("oen")\n'
    )

    refused = project.process("build")

    assert refused.code == 2
    assert refused.err.splitlines() == [
        "error: workflow 'broken' has 1 problem; nothing was written",
        'invalid: step "one" depends on non-existent step "oen"',
        "  at steps[0].depends_on[0] (workflows/broken.py:4); did you mean 'one'?",
    ]
    assert not (project.folder / "workflows" / "build").exists()


def test_a_workflow_file_that_ends_the_program_stops_the_build(project: CommandLine) -> None:
    (project.folder / "workflows" / "script.py").write_text("import sys\n\nsys.exit(0)\n")

    refused = project.process("build", "workflows/script.py")

    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: importing workflows.script failed: it ends the program with SystemExit(0)")


def test_a_folder_without_workflows_is_refused(project: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    refused = project.process("build", "empty")

    assert refused.code == 2
    assert refused.err.startswith("error: there is no workflow in empty\n")


def test_without_a_workflows_folder_the_hint_says_what_to_name(project: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "workflows").rename(tmp_path / "flows")

    assert project.process("build").code == 2
    assert project.process("build", "flows", "--check").code == 1


def test_the_schema_is_printed(offline: CommandLine) -> None:
    assert offline("schema").json() == json_schema()
