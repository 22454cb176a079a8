"""Versions of definitions: kept while a run may need them, removed when none can."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow, handler
from dagnats.client import AsyncClient
from dagnats.model.check import load_definition
from dagnats.runtime import version
from dagnats.runtime.jetstream import store
from dagnats.runtime.version import collect
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.embedded import EmbeddedServer

DAY_NS = 24 * 3600 * 1_000_000_000


@handler("versions.echo")
async def echo(value: int) -> int:
    return value


def revised(number: int) -> Workflow:
    """A workflow whose content differs with `number`."""
    workflow = Workflow("revised", timeout=f"{number + 1}h")
    workflow.task("echo", echo)
    return workflow


async def registered(system: System, count: int) -> list[WorkflowDef]:
    return [(await system.client.register(revised(number))).definition for number in range(count)]


async def hashes(system: System) -> set[str]:
    return set(await system.jetstream.ports.definitions.versions("revised"))


async def swept(system: System, *, days: float) -> int:
    return await collect(system.jetstream.ports, now_ns=time.time_ns() + int(days * DAY_NS))


async def test_versions_no_run_can_use_leave_and_the_newest_stays(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        definitions = await registered(system, 3)
        assert await swept(system, days=2.9) == 0
        assert await swept(system, days=3.1) == 2
        assert await hashes(system) == {definitions[2].identity}
        assert [each.definition.identity for each in await system.client.versions("revised")] == [
            definitions[2].identity
        ]
        assert await swept(system, days=1000) == 0


async def test_a_version_that_a_run_in_the_log_may_use_stays(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(nats_server) as system:
        first, second, third = await registered(system, 3)
        system.start_worker([echo])
        run = await system.client.start_json(second, b"1")
        await run.result(timeout="10s")
        monkeypatch.setattr(store, "RENEWED_NS", 0)
        client = AsyncClient(system.jetstream)  # another program, a day later
        await (await client.start_json(second, b"2")).result(timeout="10s")
        monkeypatch.setattr(version, "GRACE_NS", 0)
        assert await swept(system, days=100) == 1  # the first one is older than the oldest run
        assert await hashes(system) == {second.identity, third.identity}
        assert first.identity not in await hashes(system)


async def test_a_start_by_a_version_that_is_gone_brings_it_back(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        first, _ = await registered(system, 2)
        system.start_worker([echo])
        assert await swept(system, days=4) == 1
        run = await system.client.start_json(first, b"7")
        assert await run.result(int, timeout="10s") == 7
        assert first.identity in await hashes(system)


async def test_a_version_that_is_renewed_while_it_is_judged_stays(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RENEWED_NS", 0)
    async with running(nats_server, engine=False) as system:
        first, _ = await registered(system, 2)
        definitions = system.jetstream.ports.definitions
        remove = definitions.remove_version

        async def just_after_a_start(name: str, identity: str, *, revision: int) -> None:
            await definitions.add_version(name, identity, b"never stored")
            await remove(name, identity, revision=revision)

        monkeypatch.setattr(definitions, "remove_version", just_after_a_start)
        assert await swept(system, days=4) == 0
        assert (await system.client.version("revised", first.identity)) == first


async def test_renewing_changes_neither_content_nor_the_time_of_registration(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(nats_server, engine=False) as system:
        first, second = await registered(system, 2)
        before = await system.client.versions("revised")
        kept = (await system.jetstream.ports.definitions.versions("revised"))[first.identity]
        monkeypatch.setattr(store, "RENEWED_NS", 0)
        for _ in range(2):
            await system.jetstream.ports.definitions.add_version("revised", first.identity, b"other")
        renewed = (await system.jetstream.ports.definitions.versions("revised"))[first.identity]
        assert renewed.used_ns > kept.used_ns == kept.time_ns == renewed.time_ns
        assert renewed.data == kept.data
        assert await system.client.versions("revised") == before
        assert [each.definition.identity for each in before] == [second.identity, first.identity]


async def test_a_newer_registration_renews_the_version_it_replaces(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RENEWED_NS", 0)
    async with running(nats_server, engine=False) as system:
        (first,) = await registered(system, 1)
        kept = (await system.jetstream.ports.definitions.versions("revised"))[first.identity]
        await system.client.register(revised(9))
        renewed = (await system.jetstream.ports.definitions.versions("revised"))[first.identity]
        assert renewed.used_ns > kept.used_ns


async def test_what_a_tree_has_registered_leaves_once_its_first_run_is_removed(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(nats_server, engine=False) as system:
        ports = system.jetstream.ports
        for name in ("agent.gone.made", "agent.there.made", "promoted.made"):
            document = {"name": name, "steps": [{"id": "echo", "task": "versions.echo"}]}
            await system.client.register_scoped(load_definition(json.dumps(document)))
        assert await swept(system, days=2.9) == 0
        monkeypatch.setattr(version, "GRACE_NS", -DAY_NS)
        await ports.log.append("there", b"{}", id="there")  # later than all that was registered
        assert await swept(system, days=100) == 1
        assert await ports.definitions.names() == ["agent.there.made", "promoted.made"]
        assert await ports.definitions.versions("agent.gone.made") == {}
