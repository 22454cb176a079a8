"""What changes in a running server when its configuration does: all of it, or nothing."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.client import AsyncClient
from dagnats.config.load import load
from dagnats.config.policy import NOBODY
from dagnats.config.watch import Watch
from dagnats.errors import DefinitionError
from dagnats.runtime.loaded import ask_loaded
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.plane.charter import Charter
from dagnats.runtime.reload import Reloader, tell_loaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

WORKFLOW = "workflows: [{{name: said, version: '{version}', steps: [{step}]}}]\n"
STEP = "{id: say, task: shout}"
CHILD = "{id: say, type: sub_workflow, config: {workflow: nobody}}"
GRANT = "policy: {control_plane: {grant: [said], promote: [said]}}\n"


class Scene:
    """A server's configuration, and what it leads to."""

    def __init__(self, file: Path, server: MemoryServer, client: AsyncClient) -> None:
        self.file, self.server, self.client = file, server, client
        self.charter = Charter(NOBODY)
        ports = client.connection.ports
        self.reloader = Reloader(Watch(load(str(file))), client, self.charter, ports.clock)
        tell_loaded(ports.inquiries, self.reloader)

    async def rereads(self, text: str) -> None:
        self.file.write_text(text)
        await self.reloader.reload()

    async def version(self) -> str:
        return (await self.client.workflow("said")).version


@asynccontextmanager
async def scene(tmp_path: Path, text: str) -> AsyncGenerator[Scene]:
    file = tmp_path / "dagnats.yaml"
    file.write_text(text)
    server = MemoryServer()
    async with server.connect() as memory:
        yield Scene(file, server, AsyncClient(memory))


async def test_a_server_begins_with_the_workflows_and_the_policy_of_its_file(tmp_path: Path) -> None:
    async with scene(tmp_path, WORKFLOW.format(version=1, step=STEP) + GRANT) as it:
        await it.reloader.begin()
        assert await it.version() == "1"
        assert "said" in it.charter
        assert it.charter.promote == ("said",)


async def test_a_newer_file_counts_from_now_on(tmp_path: Path) -> None:
    async with scene(tmp_path, WORKFLOW.format(version=1, step=STEP) + GRANT) as it:
        await it.reloader.begin()
        await it.rereads(WORKFLOW.format(version=2, step=STEP) + "sync: 1s\n")
        assert await it.version() == "2"
        assert "said" not in it.charter
        loaded = await ask_loaded(it.client.connection.ports.inquiries)
        assert loaded is not None
        assert (loaded.file, loaded.restart, loaded.refused_at) == (str(it.file), ("sync",), "")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (WORKFLOW.format(version=2, step=STEP) + "policy: {control_plane: {promote: [said]}}\n", "policy"),
        (WORKFLOW.format(version=2, step=CHILD), "unknown-workflow"),
        ("workflows: [\n", "yaml"),
    ],
)
async def test_of_a_file_that_cannot_be_nothing_counts_and_what_was_loaded_stays(
    tmp_path: Path, text: str, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(tmp_path, WORKFLOW.format(version=1, step=STEP) + GRANT) as it:
        await it.reloader.begin()
        begun = it.reloader.state
        await it.rereads(text)
        assert await it.version() == "1"
        assert "said" in it.charter
        assert it.reloader.state.loaded_at == begun.loaded_at
        assert it.reloader.state.refused_at >= begun.loaded_at
        assert [problem.rule for problem in it.reloader.state.problems] == [rule]
        assert [record.levelname for record in caplog.records] == ["WARNING"]

        await it.rereads(WORKFLOW.format(version=3, step=STEP))
        assert await it.version() == "3"
        assert (it.reloader.state.refused_at, it.reloader.state.problems) == ("", ())


async def test_what_the_server_does_not_take_is_refused_as_well(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, WORKFLOW.format(version=1, step=STEP)) as it:
        await it.reloader.begin()
        it.server.definitions.max_payload_bytes = 0
        await it.rereads(WORKFLOW.format(version=2, step=STEP))
        assert [problem.rule for problem in it.reloader.state.problems] == ["refused"]


async def test_a_server_does_not_begin_with_a_workflow_that_runs_an_unknown_one(tmp_path: Path) -> None:
    async with scene(tmp_path, WORKFLOW.format(version=1, step=CHILD)) as it:
        with pytest.raises(DefinitionError, match="nobody"):
            await it.reloader.begin()
