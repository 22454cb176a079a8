"""docs/wire.md is true for trigger types: a provider written from it, with raw NATS messages and none of our code."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import nats
from nats.errors import NoRespondersError

from dagnats import Workflow
from dagnats.runtime.triggers.registry import Registry
from tests.api.site import one_step
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from dagnats.runtime.embedded import EmbeddedServer

SCHEMA = {"type": "object", "required": ["folder"], "properties": {"folder": {"type": "string"}}}
ASKED = {"trigger_id": "inbox", "workflow_id": "ingest", "config": {"folder": "/in"}}


class FakeProvider:
    """Provides trigger type `files`; keeps what it is asked."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def listen(self) -> None:
        async def on_message(message: Msg) -> None:
            self.asked.append((message.subject, json.loads(message.data)))
            await message.respond(b"{}")

        await self._client.subscribe("_TRIGGER.files.*", cb=on_message)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves its options without types

    async def announce(self, version: str) -> dict[str, Any]:
        entry = {"name": "files", "owner_worker_id": "go-1", "version": version, "config_schema": SCHEMA}
        await self._client.request("$KV.trigger_types.files", json.dumps(entry).encode())
        said = json.dumps({"name": "files", "owner_worker_id": "go-1"}).encode()
        while True:
            with suppress(NoRespondersError):  # the server has just begun
                return json.loads((await self._client.request("_REGISTRY.trigger_types.ack", said)).data)


@asynccontextmanager
async def fake(system: System) -> AsyncGenerator[FakeProvider]:
    registry = asyncio.create_task(Registry(system.jetstream.ports).run())
    client = await nats.connect(system.server.url, token=system.server.token)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves its options without types
    try:
        yield FakeProvider(client)
    finally:
        await client.close()
        registry.cancel()


def ingest(folder: str) -> Workflow[Any, Any]:
    return one_step("ingest").on_external("files", {"folder": folder}, id="inbox")


async def test_a_provider_written_from_the_description_is_told_of_its_triggers(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system, fake(system) as provider:
        await provider.listen()
        assert await provider.announce("1") == {}
        await system.client.register(ingest("/in"))
        await system.client.register(ingest("/new"))
        await system.client.delete_workflow("ingest")
        changed = {**ASKED, "config": {"folder": "/new"}}
        assert provider.asked == [
            ("_TRIGGER.files.activate", ASKED),
            ("_TRIGGER.files.deactivate", ASKED),
            ("_TRIGGER.files.activate", changed),
            ("_TRIGGER.files.deactivate", changed),
        ]


async def test_another_version_is_refused_and_the_entry_before_it_is_put_back(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system, fake(system) as provider:
        await system.client.register(ingest("/in"))
        assert await provider.announce("1") == {}
        refused = await provider.announce("2")
        assert "cannot become '2' while triggers of it are registered: 'inbox' of workflow 'ingest'" in refused["error"]
        assert (await system.client.trigger_type("files")).version == "1"
        await system.client.delete_workflow("ingest")
        assert await provider.announce("2") == {}


async def test_a_trigger_is_registered_though_nobody_who_provides_its_type_answers(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system, fake(system) as provider:
        assert await provider.announce("1") == {}
        await system.client.register(ingest("/in"))
        (known,) = await system.client.trigger_types()
        assert (known.triggers, known.owner_status) == (("inbox",), "stale")
