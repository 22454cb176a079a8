"""A whole DagNats in the test's own process: a real NATS server, the engine, workers, a client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from dagnats.runtime.embedded import EmbeddedServer


class System:
    """An engine and a client on `server`; workers on demand. Made by `running`."""

    def __init__(self, server: EmbeddedServer, jetstream: JetStream) -> None:
        self.server = server
        self.jetstream = jetstream
        self.client = AsyncClient(jetstream)
        self._engine: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []

    def start_engine(self) -> None:
        self._engine = asyncio.create_task(Engine(self.jetstream.ports, self.jetstream.feeds).run())

    async def stop_engine(self) -> None:
        """End the engine between two instructions. It gives the lease back; nothing else is tidied up."""
        assert self._engine is not None, "the engine was started"
        self._engine.cancel()
        with suppress(asyncio.CancelledError):
            await self._engine

    async def engine_ended(self) -> None:
        """Wait for the engine to end by itself; raises what ended it."""
        assert self._engine is not None, "the engine was started"
        engine, self._engine = self._engine, None
        await engine

    def start_worker(self, serves: Iterable[Any], **settings: Any) -> Worker:
        settings.setdefault("ack_wait", timedelta(seconds=2))
        worker = Worker(self.client, serves, **settings)
        self._workers.append(asyncio.create_task(worker.run()))
        return worker

    async def dead_letters(self) -> list[tuple[str, dict[str, str], bytes]]:
        """Every dead letter: subject, headers, bytes."""
        link = self.jetstream.link
        state = (await link.api("STREAM.INFO.DEAD_LETTERS"))["state"]
        found: list[tuple[str, dict[str, str], bytes]] = []
        for seq in range(state["first_seq"], state["last_seq"] + 1):
            message = await link.request("$JS.API.DIRECT.GET.DEAD_LETTERS", b'{"seq": %d}' % seq)
            headers = dict(message.headers or {})
            found.append((headers.get("Nats-Subject", ""), headers, message.data))
        return found

    async def close(self) -> None:
        for task in [*self._workers, *([self._engine] if self._engine is not None else [])]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.jetstream.close()


@asynccontextmanager
async def running(
    server: EmbeddedServer, *, engine: bool = True, prepared: bool = True, namespace: str = ""
) -> AsyncGenerator[System]:
    """A system on a server; closed at the end."""
    jetstream = await JetStream.connect(server.url, token=server.token, namespace=namespace)
    system = System(server, jetstream)
    try:
        if prepared:
            await jetstream.ports.server.prepare()
        if engine:
            system.start_engine()
        yield system
    finally:
        await system.close()
