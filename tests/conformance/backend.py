"""The two homes of the ports, as the suite sees them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from tests.support.nats import prepared, restarted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from dagnats.runtime.jetstream.adapter import JetStream
    from dagnats.runtime.memory.adapter import Memory

    Connected = JetStream | Memory


class Backend(Protocol):
    """A server with nothing in it."""

    @property
    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """Makes the event loop that its tests run on; None for an ordinary one."""
        ...

    def connected(self) -> AbstractAsyncContextManager[Connected]:
        """A connection of its own; everything is set up."""
        ...

    def now_ns(self) -> int:
        """The server's time."""
        ...

    async def remove_history(self, run_id: str) -> None:
        """Take a run out of the log, as retention does."""
        ...

    async def sleeping(self) -> set[str]:
        """The wake-ups that are set, as `<run>.<event>`."""
        ...

    async def restart(self) -> None:
        """Stop the server and start it again, with its store."""
        ...

    async def stop(self) -> None: ...


class InMemory:
    """`runtime.memory`, in virtual time."""

    loop_factory = VirtualLoop

    def __init__(self) -> None:
        self._server: MemoryServer | None = None

    @property
    def server(self) -> MemoryServer:
        self._server = self._server or MemoryServer()
        return self._server

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Memory]:
        async with self.server.connect() as memory:
            await memory.ports.server.prepare()
            yield memory

    def now_ns(self) -> int:
        return self.server.clock.now_ns()

    async def remove_history(self, run_id: str) -> None:
        self.server.history.purge(f"history.{run_id}")

    async def sleeping(self) -> set[str]:
        return {subject.removeprefix("sleep.") for subject in self.server.timers.subjects("sleep.>")}

    async def restart(self) -> None:
        self.server.restart()

    async def stop(self) -> None:
        pass


class OnNats:
    """`runtime.jetstream`, on a server of the test's own."""

    loop_factory = None

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedServer(folder, port=0)
        self._started = False

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[JetStream]:
        if not self._started:
            self._started = True
            await self._server.start()
        async with prepared(self._server) as jetstream:
            yield jetstream

    def now_ns(self) -> int:
        return time.time_ns()

    async def remove_history(self, run_id: str) -> None:
        async with prepared(self._server) as jetstream:
            await jetstream.link.api("STREAM.PURGE.WORKFLOW_HISTORY", {"filter": f"history.{run_id}"})

    async def sleeping(self) -> set[str]:
        async with prepared(self._server) as jetstream:
            info = await jetstream.link.api("STREAM.INFO.SLEEP_TIMERS", {"subjects_filter": "sleep.>"})
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        return {subject.removeprefix("sleep.") for subject in subjects}

    async def restart(self) -> None:
        self._server = await restarted(self._server)

    async def stop(self) -> None:
        if self._started:
            await self._server.stop()
