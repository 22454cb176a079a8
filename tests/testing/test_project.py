"""The example project of the docs: its tests pass, and fail when its workflow changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.support import nursery
from tests.support.nursery import ROOT

PROJECT = Path(__file__).parent / "project"
DEADLINE_S = 60
PLUGINS = ("syrupy", "dagnats.testing.plugin")
PINNED = "__snapshots__/test_greeting/test_its_json_changes_only_when_somebody_means_it.json"


class Project:
    """A copy of the example project."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder
        self.workflow = folder / "workflows" / "greeting.py"
        self.pinned = folder / PINNED

    def test(
        self, *arguments: str, file: str = "test_greeting.py", plugins: tuple[str, ...] = PLUGINS
    ) -> tuple[int, str]:
        """Run tests of it in a process of their own: the exit code, and what was printed."""
        named = [word for plugin in plugins for word in ("-p", plugin)]
        # Plugins are named, so that the test is the same wherever and however DagNats is installed.
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        # Nor does it matter how these tests are run: in one process, or in several.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        child = nursery.start(
            *("-q", "-p", "no:cacheprovider", *named, file, *arguments),
            cwd=self.folder,
            env={**ours, **alone},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            module="pytest",
        )
        printed = "".join(child.communicate(DEADLINE_S))
        return child.wait(), printed

    def change(self, old: str, new: str) -> None:
        """Edit the workflow."""
        text = self.workflow.read_text()
        assert old in text
        self.workflow.write_text(text.replace(old, new))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_a_new_snapshot_is_written_when_it_is_asked_for_and_then_holds(project: Project) -> None:
    code, printed = project.test()
    assert code == 1, printed
    assert not project.pinned.exists()
    code, printed = project.test("--snapshot-update")
    assert code == 0, printed
    assert b'"name": "greeting"' in project.pinned.read_bytes()
    code, printed = project.test()
    assert code == 0, printed
    assert "3 passed" in printed


def test_a_changed_workflow_fails_and_shows_the_changed_line(project: Project) -> None:
    project.test("--snapshot-update")
    project.change('.with_timeout("5s")', '.with_timeout("6s")')
    code, printed = project.test()
    assert code == 1
    assert '-       "timeout": "5s"' in printed
    assert '+       "timeout": "6s"' in printed
    assert "1 failed, 2 passed" in printed


def test_one_byte_more_in_the_pinned_file_fails(project: Project) -> None:
    project.test("--snapshot-update")
    project.pinned.write_bytes(project.pinned.read_bytes() + b"\n")
    assert project.test()[0] == 1


def test_a_workflow_with_a_mistake_fails_with_all_of_them(project: Project) -> None:
    project.change("async def greet(name: str)", "async def greet(name: int)")
    project.change('with_timeout("5s")', 'with_timeout("5 s")')
    code, printed = project.test("-k", "nothing_looks_wrong")
    assert code == 1
    assert "workflow 'greeting' has 2 problems" in printed
    assert "[edge-type]" in printed


def test_without_syrupy_only_the_snapshot_fails_and_says_what_is_missing(project: Project) -> None:
    code, printed = project.test(plugins=("dagnats.testing.plugin",))
    assert code == 1
    assert "workflow_snapshot needs syrupy: pip install syrupy" in printed
    assert "2 passed, 1 error" in printed


def test_its_workflows_run_in_a_harness_as_they_would_on_a_server(project: Project) -> None:
    code, printed = project.test(file="test_order.py", plugins=("dagnats.testing.plugin",))
    assert code == 0, printed
    assert "3 passed" in printed


def test_its_handlers_run_with_a_context_of_no_worker(project: Project) -> None:
    code, printed = project.test(file="test_handlers.py", plugins=("dagnats.testing.plugin",))
    assert code == 0, printed
    assert "9 passed" in printed


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    loaded = import_module(entries["dagnats"])
    for fixture in ("workflow_snapshot", "dagnats_harness", "dagnats_server"):
        assert hasattr(loaded, fixture)
