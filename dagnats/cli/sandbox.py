"""`dev --memory`: the engine, a worker and HTTP in one process, on nothing but memory."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.cli import failure
from dagnats.cli.crew import STOP_S
from dagnats.cli.recruit import built, worker
from dagnats.cli.register import told
from dagnats.cli.worker import served
from dagnats.client import AsyncClient
from dagnats.dsl.discover import discover
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.engine import Engine
from dagnats.runtime.index.indexer import Indexer
from dagnats.runtime.index.inquiry import open_inquiries
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.plane.office import open_plane

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from types import ModuleType

    from dagnats.cli.worker import Served
    from dagnats.config.policy import ControlPlane
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.api.access import Access
    from dagnats.runtime.api.listener import Address


class Sandbox(NamedTuple):
    """What is up.

    Attributes:
        client: A client on it.
        http: Where HTTP is; "" for nowhere.
        engine: Ends only by what breaks it.
    """

    client: AsyncClient
    http: str
    engine: asyncio.Task[None]


@asynccontextmanager
async def sandbox(http: Address | None, access: Access | None, policy: ControlPlane) -> AsyncGenerator[Sandbox]:
    """An engine on an empty server in memory, and HTTP."""
    server = MemoryServer()
    server.clock.jump(SystemClock().now_ns() - server.clock.now_ns())
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(server.connect())
        client = AsyncClient(connection)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dagnats-dev-"))
        index = Indexer(connection.ports, connection.feeds, Path(folder) / "index.sqlite")
        engine = asyncio.create_task(
            Engine(connection.ports, connection.feeds, keep=None, granted=policy.grant).run(alone=True), name="engine"
        )
        stack.push_async_callback(_end, engine)
        stack.push_async_callback(_end, asyncio.create_task(index.run(), name="index"))
        stack.callback(open_inquiries(connection.ports.inquiries, index))
        stack.callback(open_plane(connection.ports, client, policy))
        url = ""
        if http is not None:
            from dagnats.runtime.api.access import OPEN
            from dagnats.runtime.api.door import Door

            door = await stack.enter_async_context(Door(http, access or OPEN))
            await door.open(connection)
            door.welcome()
            url = door.url
        yield Sandbox(client, url, engine)


class Here:
    """`Crew`: the project in this very process, imported anew for each state of its code.

    Args:
        client: What it registers and works by.
        targets: What is imported.
        lost: Called when its worker ends that nobody has told to.
    """

    def __init__(self, client: AsyncClient, targets: Sequence[str], lost: Callable[[int], None]) -> None:
        self._client = client
        self._targets = list(targets)
        self._lost = lost
        self._worker: Any = None
        self._working: asyncio.Task[None] | None = None

    async def replace(self) -> bool:
        before = _forget_modules(Path.cwd())
        try:
            definitions, found = self._imported()
            await told(self._client, definitions)
            working = worker(self._client, found) if found else None
        except Exception as error:  # noqa: BLE001  # the edge of the user's code: it is told, and what runs goes on
            _forget_modules(Path.cwd())
            sys.modules.update(before)
            failure.report(error)
            return False
        await self.stop()
        self._worker = working
        if working is not None:
            self._working = asyncio.create_task(self._work(working), name="dev: worker")
        return True

    def _imported(self) -> tuple[list[WorkflowDef], Served]:
        importlib.invalidate_caches()
        return built(discover(self._targets)), served(self._targets)

    async def _work(self, working: Any) -> None:
        try:
            await working.run()
        except Exception as error:  # noqa: BLE001  # its lifespan is the user's code
            self._lost(failure.report(error))

    async def stop(self) -> None:
        working, self._working = self._working, None
        if working is None:
            return
        self._worker.stop()
        await asyncio.wait([working], timeout=STOP_S)
        await _end(working)


def _forget_modules(folder: Path) -> dict[str, ModuleType]:
    """Have the modules below a folder imported anew when somebody asks for them; gives those there were."""
    below = f"{folder.resolve()}{os.sep}"
    found = {
        name: module
        for name, module in sys.modules.items()
        if name != "__main__" and _is_source(str(getattr(module, "__file__", None) or ""), below)
    }
    for name in found:
        del sys.modules[name]
    return found


def _is_source(file: str, below: str) -> bool:
    """Whether a module is the project's own, and no library that lies below its folder, DagNats itself among them."""
    parts = Path(file.removeprefix(below)).parts
    own = str(Path(__file__).resolve().parent.parent) + os.sep
    return file.startswith(below) and not file.startswith(own) and "site-packages" not in parts


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
