"""One real server and one real worker for all tests of the command line."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from command_line import ROOT, SELDOM, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A run that stays where it is: nobody serves its task type.
_WAITING = """
from dagnats import Workflow

wf = Workflow("waiting")
wf.task("wait", "nobody.serves.this")
"""

# A run whose first attempt fails and whose second one is an hour away.
_RETRYING = """
from datetime import timedelta

from dagnats import Fixed, Retry, Workflow

wf = Workflow("retrying")


@wf.step(retry=Fixed(max_attempts=1))
async def call() -> None:
    raise Retry("busy", after=timedelta(hours=1))
"""


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A project with two of the example workflows, and no server."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "workflows").mkdir()
    for example in ("hello.py", "order.py"):
        shutil.copy(ROOT / "workflows" / example, folder / "workflows")
    (folder / "workflows" / "waiting.py").write_text(_WAITING)
    (folder / "workflows" / "retrying.py").write_text(_RETRYING)
    return CommandLine(folder, tmp_path_factory.mktemp("no-data"))


@pytest.fixture(scope="session")
def served(offline: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The project, with a server, the engine and a worker, all its workflows registered."""
    served = CommandLine(offline.folder, tmp_path_factory.mktemp("data"))
    with served.start("serve", "--port", "0", *SELDOM) as server:
        (http,) = (line for line in server.reads("Ctrl-C stops") if line.startswith("HTTP:"))
        served.http = http.split()[1]
        registered = served.process("register")
        assert registered.code == 0, registered.err
        with served.start("worker") as worker:
            worker.reads("Ctrl-C stops")
            yield served
            worker.stop()
        server.stop()


@pytest.fixture
def project(offline: CommandLine, tmp_path: Path) -> CommandLine:
    """A project of the test's own, which it may change; no server."""
    shutil.copytree(offline.folder / "workflows", tmp_path / "workflows", ignore=shutil.ignore_patterns("__pycache__"))
    return CommandLine(tmp_path, tmp_path / "data")
