"""An engine and servers that speak HTTP, in memory and virtual time; and whoever calls them, without a socket."""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import msgspec

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.runtime.api.access import Access
from dagnats.runtime.api.app import Api
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping

    from starlette.types import ASGIApp, Message

    from dagnats.client.run import RunHandle


WORK = "bridge.work"


def one_step(name: str = "solo", task: str = WORK, **settings: Any) -> Workflow[Any, Any]:
    """A workflow of the one step `work`, which nobody but the test serves."""
    workflow: Workflow[Any, Any] = Workflow(name)

    async def work(value: Any) -> Any:
        raise NotImplementedError

    workflow.step(task=task, **settings)(work)
    return workflow


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a loop whose time passes by itself."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*arguments, **named))

    return run


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def paths(self) -> set[str]:
        """Where a body was wrong."""
        return {problem["path"] for problem in self.json["problems"]}


class Caller:
    """Calls an application as an HTTP server would."""

    def __init__(self, app: ASGIApp, address: str = "127.0.0.1", **headers: str) -> None:
        self._app = app
        self._address = address
        self._headers = {"host": "127.0.0.1:8080", **headers}

    def at(self, address: str) -> Caller:
        """Somebody else, who calls the same server."""
        return Caller(self._app, address)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._call("GET", path, b"", headers)

    async def post(self, path: str, document: Any, **headers: str) -> Answer:
        return await self.send(path, msgspec.json.encode(document), **headers)

    async def send(self, path: str, body: bytes, **headers: str) -> Answer:
        return await self._call("POST", path, body, headers)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        return await self._call(method, path, body, headers)

    async def poll(self, *task_types: str, **settings: Any) -> list[dict[str, Any]]:
        answer = await self.post("/v1/tasks/poll", {"task_types": task_types, **settings})
        assert answer.status == 200, answer
        return answer.json

    async def resolve(self, task: Mapping[str, Any], action: str, **fields: Any) -> Answer:
        return await self.post(f"/v1/tasks/{task['task_id']}/resolve", {"action": action, **fields})

    async def ask_and_leave(self, path: str, document: Any, *, after_s: float) -> Answer:
        """Post, and close the connection before there is an answer."""
        return await self._call("POST", path, msgspec.json.encode(document), {}, leaves_after_s=after_s)

    async def _call(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], *, leaves_after_s: float | None = None
    ) -> Answer:
        said = {name.replace("_", "-"): value for name, value in {**self._headers, **headers}.items()}
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        sent: list[Message] = []
        if leaves_after_s is not None:
            gone: Message = {"type": "http.disconnect"}
            asyncio.get_running_loop().call_later(leaves_after_s, incoming.put_nowait, gone)

        async def send(message: Message) -> None:
            sent.append(message)

        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(errors="surrogatepass"),
            "query_string": query.encode(errors="surrogatepass"),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in said.items()],
            "client": (self._address, 1),
            "server": ("127.0.0.1", 8080),
        }
        await self._app(scope, incoming.get, send)
        start = sent[0]
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, b"".join(part.get("body", b"") for part in sent[1:]))


class Site:
    """Made by `site`."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.memory = self.server.connect()
        self.client = AsyncClient(self.memory)
        self.ports = self.memory.ports
        self._apis: list[Api] = []

    async def open(self, *workflows: Workflow[Any, Any]) -> None:
        for workflow in workflows:
            await self.client.register(workflow)
        engine = Process(virtual_loop(), "engine")
        memory = engine.run(self.server.connect)
        engine.spawn(Engine(memory.ports, memory.feeds).run(alone=True))

    async def api(self, access: Access | str = "", *, address: str = "127.0.0.1", **headers: str) -> Caller:
        """Another server, with what lets callers in: one token for everything, when it is text."""
        api = Api(self.server.connect())
        await api.open()
        api.ready = True
        self._apis.append(api)
        return Caller(api.app(Access(token=access) if isinstance(access, str) else access), address, **headers)

    async def close(self) -> None:
        for api in self._apis:
            api.stop()
            await api.close()

    def stop(self) -> None:
        """Tell all servers to stop."""
        for api in self._apis:
            api.stop()

    async def types(self, run: RunHandle) -> list[str]:
        return [event.type for event in await run.history()]

    async def has(self, run: RunHandle, kind: str) -> None:
        """Wait for an event of a run."""

        async def there() -> bool:
            return kind in await self.types(run)

        await until(there, what=f"{kind} of {run.run_id}")

    async def waiting(self, task_type: str, run: RunHandle) -> int:
        """How many of a run's tasks are in a queue, in somebody's hands or not."""
        return len(await self.ports.tasks.waiting(task_type, run.run_id))


@asynccontextmanager
async def site(*workflows: Workflow[Any, Any]) -> AsyncGenerator[Site]:
    """A site where workflows are registered."""
    found = Site()
    await found.open(*workflows)
    try:
        yield found
    finally:
        await found.close()
