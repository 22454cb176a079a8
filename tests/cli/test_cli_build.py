"""`build` and `schema`: JSON files that are committed beside the Python they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

from dagnats.model.check import load_definition
from dagnats.model.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    assert '-  "timeout": "20m",' in checked.lines
    assert '+  "timeout": "10m",' in checked.lines
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


def test_check_says_no_after_one_builder_call_was_changed(project: CommandLine) -> None:
    project.process("build")
    assert project.process("build", "--check").code == 0
    module = project.folder / "workflows" / "hello.py"
    module.write_text(module.read_text().replace('.with_timeout("30s")', '.with_timeout("45s")'))

    checked = project.process("build", "--check")

    assert checked.code == 1
    assert checked.lines[0] == "stale: workflows/build/hello-pipeline.json"
    changed = [line for line in checked.lines[3:] if line.startswith(("+", "-"))]
    assert changed == ['-      "timeout": "30s",', '+      "timeout": "45s",']
    assert checked.err == "1 file not up to date: `dagnats build` writes them\n"
    assert project.process("build").code == 0
    assert project.process("build", "--check").code == 0


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


# -- the Go dialect ----------------------------------------------------------------------------------------


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value in a document, at any depth."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield key, inner
            yield from _inside(inner)
    for inner in cast("list[Any]", value) if isinstance(value, list) else ():
        yield from _inside(inner)


def test_the_go_dialect_has_whole_nanoseconds_and_aux_steps_where_they_are_needed(project: CommandLine) -> None:
    project.process("build", "--out=native")

    built = project.process("build", "--out=go", "--dialect", "go")

    assert built.code == 0, built.err
    assert _files(project.folder / "go") == _BUILT
    for name in _BUILT[:-1]:
        text = (project.folder / "go" / name).read_bytes()
        document = json.loads(text)
        times = [inner for key, inner in _inside(document) if key in ("timeout", "initial_delay", "max_delay")]
        assert all(type(inner) is int for inner in times), name
        assert "$schema" not in document
        assert ("aux_steps" in document) == (name == "order.json")
        assert load_definition(text) == load_definition((project.folder / "native" / name).read_bytes())
    order = json.loads((project.folder / "go" / "order.json").read_text())
    assert order["timeout"] == 600_000_000_000
    assert order["aux_steps"] == {"notify-billing": True, "refund": True, "release": True}


def test_an_extension_in_the_go_dialect_is_an_error_that_names_it(project: CommandLine) -> None:
    (project.folder / "workflows" / "more.py").write_text(
        'from dagnats import Workflow\n\nwf = Workflow("more")\nwf.task("one", "t").with_priority(3)\n'
    )

    refused = project.process("build", "--dialect=go", "--out=go")

    assert refused.code == 2
    assert refused.err.splitlines() == [
        "error: workflow 'more' uses what the Go engine has not; nothing was written",
        "invalid: the Go engine has no `priority`",
        "  at steps[0].priority",
    ]
    assert not (project.folder / "go").exists()
    problems = project.process("build", "--dialect=go", "--json").json()["error"]["problems"]
    assert [(it["workflow"], it["path"], it["rule"]) for it in problems] == [("more", "steps[0].priority", "extension")]


def test_files_of_the_go_dialect_are_removed_when_their_workflow_is_gone(project: CommandLine) -> None:
    project.process("build", "--dialect=go", "--out=go")
    (project.folder / "go" / "mine.json").write_text('{"name": "mine", "steps": [{"id": "a", "task": "t"}]}')
    (project.folder / "workflows" / "waiting.py").unlink()

    built = project.process("build", "--dialect=go", "--out=go")

    assert "removed: go/waiting.json" in built.lines
    assert _files(project.folder / "go") == sorted(["mine.json", *(it for it in _BUILT if it != "waiting.json")])


def test_an_unknown_dialect_is_refused(offline: CommandLine) -> None:
    refused = offline("build", "--dialect=rust")

    assert refused.code == 2
    assert "'rust' is not one of 'native', 'go'" in refused.err


# -- graphs ------------------------------------------------------------------------------------------------


def test_a_build_with_graphs_draws_each_workflow_twice(project: CommandLine) -> None:
    built = project.process("build", "--graph")

    assert built.code == 0, built.err
    folder = project.folder / "workflows" / "build"
    pictures = [f"{name[:-5]}.{form}" for name in _BUILT[:-1] for form in ("mmd", "svg")]
    assert _files(folder) == sorted([*_BUILT, *pictures])
    assert (folder / "order.mmd").read_text().startswith("flowchart TD\n")
    assert ElementTree.parse(folder / "order.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert project.process("build", "--graph", "--check").code == 0
    (folder / "order.mmd").unlink()
    assert project.process("build", "--graph", "--check").lines[0] == "missing: workflows/build/order.mmd"
    assert project.process("build", "--check").code == 0


def test_graphs_of_a_workflow_that_is_gone_are_removed_with_it(project: CommandLine) -> None:
    project.process("build", "--graph")
    folder = project.folder / "workflows" / "build"
    (project.folder / "workflows" / "waiting.py").unlink()
    (project.folder / "workflows" / "retrying.py").unlink()
    (folder / "retrying.svg").write_text("<svg>mine</svg>")

    built = project.process("build")

    removed = [line for line in built.lines if line.startswith("removed: ")]
    assert removed == [
        f"removed: workflows/build/{name}"
        for name in ("retrying.json", "retrying.mmd", "waiting.json", "waiting.mmd", "waiting.svg")
    ]


def test_a_graph_that_is_too_large_for_a_picture_is_text_only(project: CommandLine) -> None:
    steps = [{"id": f"s{at}", "task": "t"} for at in range(2_001)]
    (project.folder / "large.json").write_text(json.dumps({"name": "large", "steps": steps}))

    built = project("build", "large.json", "--graph", "--out=drawn")

    assert built.code == 0, built.err
    assert _files(project.folder / "drawn") == ["large.json", "large.mmd", "workflow.schema.json"]


# -- warnings ----------------------------------------------------------------------------------------------

_PARENT = 'from dagnats import Workflow\n\nwf = Workflow("parent")\nwf.sub_workflow("child", "helo-pipeline")\n'


def test_a_child_that_is_nowhere_is_a_warning_with_a_near_name(project: CommandLine) -> None:
    (project.folder / "workflows" / "parent.py").write_text(_PARENT)

    built = project.process("build")

    assert built.code == 0
    assert built.err.splitlines() == [
        "warning: step \"child\" runs workflow 'helo-pipeline', which is not known here",
        "  at parent: steps[0].config.workflow; did you mean 'hello-pipeline'?",
    ]
    told = project.process("build", "--json").json()["warnings"]
    assert [(it["workflow"], it["rule"]) for it in told] == [("parent", "unknown-workflow")]


def test_of_one_file_among_others_nobody_can_say_which_workflows_there_are(project: CommandLine) -> None:
    (project.folder / "workflows" / "parent.py").write_text(_PARENT)

    assert project.process("build", "workflows/parent.py").err == ""


def test_the_schema_is_printed(offline: CommandLine) -> None:
    assert offline("schema").json() == json_schema()
