"""A history folded once more: by its own definition, and by others that decide otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import NotFoundError, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.client.rehearsal import Rehearsal, rehearse
from dagnats.model.run import decode_run, encode_run
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.model.definition import WorkflowDef


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@handler("rehearsal.echo")
async def echo(value: dict[str, int]) -> dict[str, int]:
    return value


def shop(*, timeout: str = "30s", audited: bool = False, charged: bool = True, version: str = "1") -> WorkflowDef:
    workflow = Workflow("shop", version=version)
    last = workflow.task("reserve", echo).with_timeout(timeout)
    if charged:
        last = workflow.task("charge", echo).after(last)
    if audited:
        workflow.task("audit", echo).after(last)
    return workflow.build()


async def sold() -> AsyncClient:
    """A run of the shop that has completed."""
    server = MemoryServer()
    client = AsyncClient(server.connect())
    await client.register(shop())
    for name in ("engine", "worker"):
        process = Process(virtual_loop(), name)
        memory = process.run(server.connect)
        process.spawn(
            Engine(memory.ports, memory.feeds).run() if name == "engine" else Worker(AsyncClient(memory), [echo]).run()
        )
    await (await client.start("shop", {"id": 1}, run_id="sold")).result(timeout="1m")
    await asyncio.sleep(5)
    return client


async def replayed(client: AsyncClient, definition: WorkflowDef | None = None) -> Rehearsal:
    return await rehearse(client.connection.ports, "sold", definition)


def test_a_history_comes_out_as_it_was() -> None:
    async def main() -> None:
        found = await replayed(await sold())
        assert (found.is_same, found.status, found.events) == (True, "completed", 4)

    run(main())


def test_a_snapshot_that_says_something_else_is_told() -> None:
    async def main() -> None:
        client = await sold()
        snapshots = client.connection.ports.snapshots
        stored = await snapshots.load("sold")
        assert stored is not None, "the run has ended"
        other = msgspec.structs.replace(decode_run(stored.data), status="failed")
        await snapshots.save("sold", encode_run(other), revision=stored.revision)
        found = await replayed(client)
        assert (found.is_same, found.problems) == (False, ("at event 4 it differs in status",))

    run(main())


def test_a_definition_that_says_the_same_decides_the_same() -> None:
    async def main() -> None:
        found = await replayed(await sold(), shop(version="2"))
        assert found.by_hash != found.def_hash
        assert (found.is_same, found.events) == (True, 4)

    run(main())


def test_another_step_is_found_where_it_would_have_begun() -> None:
    async def main() -> None:
        found = await replayed(await sold(), shop(audited=True))
        assert found.turn is not None
        assert (found.turn.type, found.turn.step_id) == ("step.completed", "charge")
        assert found.turn.did == ("end the run: workflow.completed",)
        assert "hand out step 'audit' as 'rehearsal.echo', attempt 1" in found.turn.would

    run(main())


def test_a_step_that_is_left_out_is_found_where_it_began() -> None:
    async def main() -> None:
        found = await replayed(await sold(), shop(charged=False))
        assert found.turn is not None
        assert (found.turn.type, found.turn.step_id) == ("step.completed", "reserve")
        assert "hand out step 'charge' as 'rehearsal.echo', attempt 1" in found.turn.did
        assert found.turn.would == ("end the run: workflow.completed",)

    run(main())


def test_another_setting_is_told_with_both_values() -> None:
    async def main() -> None:
        found = await replayed(await sold(), shop(timeout="60s"))
        assert found.turn is not None
        named = "hand out step 'reserve' as 'rehearsal.echo', attempt 1"
        assert f"{named} (timeout_ns 30000000000)" in found.turn.did
        assert f"{named} (timeout_ns 60000000000)" in found.turn.would

    run(main())


def test_an_input_that_would_have_been_refused_is_told() -> None:
    async def main() -> None:
        strict = shop().model_copy(update={"input_schema": {"type": "object", "required": ["name"]}})
        found = await replayed(await sold(), strict)
        assert found.turn is not None
        assert (found.turn.type, found.turn.did) == ("workflow.started", ("begin the run",))
        assert "'name' is a required property" in found.turn.would[0]

    run(main())


def test_a_run_that_is_not_there_is_not_found() -> None:
    async def main() -> None:
        with pytest.raises(NotFoundError):
            await rehearse(AsyncClient(MemoryServer().connect()).connection.ports, "nobody")

    run(main())
