"""The application: every route, in one list."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import msgspec
from pydantic import Field, StringConstraints
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from dagnats.client.client import AsyncClient
from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.identifier import GROUP, TASK_TYPE, TASK_TYPE_LENGTH
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.api import openapi
from dagnats.runtime.api.access import OPEN, Access
from dagnats.runtime.api.body import SMALL, Body, checked, members, read
from dagnats.runtime.api.bridge import Bridge
from dagnats.runtime.api.guard import Guard
from dagnats.runtime.api.journal import Journal
from dagnats.runtime.api.operation import JSON, LARGEST, grant_of
from dagnats.runtime.api.problem import Fault, on_bug, on_error
from dagnats.runtime.api.resolution import resolve
from dagnats.runtime.api.rest import OPERATIONS
from dagnats.runtime.api.sse import BEAT_S, UNCACHED
from dagnats.runtime.api.tap import Queue
from dagnats.runtime.api.ticket import KEY
from dagnats.runtime.api.traffic import Traffic
from dagnats.runtime.presence import Presence
from dagnats.runtime.telemetry.exporter import exporter
from dagnats.runtime.telemetry.gauge import measured
from dagnats.runtime.telemetry.meter import Meter
from dagnats.runtime.telemetry.sample import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping

    from starlette.requests import Request

    from dagnats.model.access import Scope
    from dagnats.runtime.api.operation import Operation
    from dagnats.runtime.ports import Connection

T = TypeVar("T")

_HEALTH_S = 2.0
_LONGEST_POLL_MS = 60_000
_LOOK_S = 0.25  # the least that a poll waits: what is there has to come here first

TaskType = Annotated[str, StringConstraints(pattern=TASK_TYPE, max_length=TASK_TYPE_LENGTH)]
TaskTypes = Annotated[list[TaskType], Field(min_length=1, max_length=64)]
WorkerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=128)]
MaxTasks = Annotated[int, Field(ge=1, le=256)]


class Connect(Body):
    """A worker says that it is there."""

    worker_id: WorkerId
    task_types: TaskTypes
    max_tasks: MaxTasks = 1
    language: Annotated[str, StringConstraints(max_length=64)] = "http"


class Poll(Body):
    """A worker asks for tasks."""

    task_types: TaskTypes
    group: Annotated[str, StringConstraints(pattern=rf"^$|{GROUP}")] = ""
    max_tasks: MaxTasks = 1
    timeout_ms: Annotated[int, Field(ge=0)] = 5_000
    worker_id: WorkerId = "bridge"


class Fixed(NamedTuple):
    """A route that is none of the operations.

    Attributes:
        method: Of HTTP.
        path: Where it is.
        scope: What callers have to be allowed.
        work: The method of `Api` that does it.
        everybodys: Whether it concerns all workflows: a queue has the tasks of many.
    """

    method: str
    path: str
    scope: Scope
    work: str
    everybodys: bool = True


FIXED = (
    Fixed("GET", "/openapi.json", "read", "described", everybodys=False),
    Fixed("GET", "/docs", "read", "documented", everybodys=False),
    Fixed("GET", "/metrics", "read", "metrics"),
    Fixed("POST", "/v1/workers/connect", "run", "connect"),
    Fixed("POST", "/v1/tasks/poll", "run", "poll"),
    Fixed("POST", "/v1/tasks/{task_id}/resolve", "run", "resolve"),
)
"""What workers ask for, and the description. Their work is in the histories of runs, so the audit has none of it."""


class Api:
    """Everything that is asked for over HTTP.

    Args:
        connection: To NATS.
        meter: What whoever serves counts with.

    Attributes:
        ready: Whether whoever serves takes work.
    """

    def __init__(self, connection: Connection, meter: Meter | None = None) -> None:
        self.ready = False
        self._meter = meter or Meter(connection.ports.clock.now_ns())
        self._connection = connection
        self._ports = connection.ports
        self._client = AsyncClient(connection)
        self._journal = Journal(connection.ports)
        self._stopping = asyncio.Event()
        self._bridge: Bridge | None = None
        self._key = b""

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/health", self.health),
            Route("/ready", self.is_ready),
            *(Route(each.path, self._let_in(each), methods=[each.method]) for each in FIXED),
            *self._operations(),
        ]

    def _let_in(self, fixed: Fixed) -> Callable[[Request], Awaitable[Response]]:
        work: Callable[[Request], Awaitable[Response]] = getattr(self, fixed.work)

        async def answer(request: Request) -> Response:
            grant = grant_of(request)
            grant.expect(fixed.scope)
            if fixed.everybodys:
                grant.expect_unlimited()
            return await work(request)

        return answer

    def _operations(self) -> list[Route]:
        """A route for each path, in the list's order: whoever uses another method learns which there are."""
        found: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            for path in operation.paths:
                found.setdefault(path, {})[operation.method] = operation
        return [Route(path, self._carried_out(by_method), methods=[*by_method]) for path, by_method in found.items()]

    def _carried_out(self, by_method: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            operation = by_method["GET" if request.method == "HEAD" else request.method]
            return await operation.answered(request, self._client, self._stopping)

        return answer

    def app(self, access: Access = OPEN) -> Starlette:
        """The application, for those whom `access` lets in."""
        return Starlette(
            routes=self.routes(),
            middleware=[
                Middleware(Traffic, meter=self._meter),
                Middleware(Guard, access=access, ports=self._ports, journal=self._journal),
            ],
            exception_handlers={DagnatsError: on_error, HTTPException: on_error, Exception: on_bug},
        )

    async def open(self) -> None:
        """Get what requests need. Raises UnavailableError."""
        self._key = await self._ports.secrets.key(KEY)
        self._bridge = Bridge(self._connection, self._key)

    def stop(self) -> None:
        """Answer those that wait: they have to ask another server."""
        self.ready = False
        self._stopping.set()

    async def close(self) -> None:
        """Hand out nothing more."""
        if self._bridge is not None:
            await self._bridge.close()
        await self._journal.close()

    # -- health ----------------------------------------------------------------------------------------------

    async def health(self, _: Request) -> Response:
        """Whether NATS is there, and JetStream answers; and how much is used of what the store takes, if that is known.

        A full store is no illness of ours: nobody is helped who starts us again for it.
        """
        server = self._ports.server
        try:
            async with asyncio.timeout(_HEALTH_S):
                holding = (await asyncio.gather(server.overview(), server.holding()))[1]
        except TimeoutError:
            raise UnavailableError(f"NATS did not answer within {_HEALTH_S:g} s") from None
        share = {"store_used": round(holding.share, 3)} if holding.limit else {}
        return _json({"status": "ok", **share})

    async def is_ready(self, _: Request) -> Response:
        """Whether whoever serves takes work."""
        if not self.ready:
            raise Fault(503, "not-ready", "the server is starting, or stops", headers={"Retry-After": "1"})
        return _json({"status": "ready"})

    async def metrics(self, _: Request) -> Response:
        """The metrics, as Prometheus reads them."""
        samples = await measured(self._ports, self._meter, exporter())
        return Response(exposition(samples), media_type=CONTENT_TYPE)

    # -- what there is ---------------------------------------------------------------------------------------

    async def described(self, _: Request) -> Response:
        """The description of the API."""
        return _json(openapi.description(OPERATIONS))

    async def documented(self, _: Request) -> Response:
        """The same, for people."""
        return HTMLResponse(openapi.page(OPERATIONS))

    # -- workers ---------------------------------------------------------------------------------------------

    async def connect(self, request: Request) -> Response:
        """Show a worker, and send it a sign of life now and then, for as long as it listens."""
        said = checked(Connect, members(await read(request, SMALL)))
        return StreamingResponse(self._beats(said), media_type="text/event-stream", headers=UNCACHED)

    async def _beats(self, said: Connect) -> AsyncGenerator[bytes]:
        presence = Presence(self._ports, _entry(said))
        showing = asyncio.create_task(presence.show(), name=f"bridge: show {said.worker_id}")
        try:
            yield _sse("connected", {"worker_id": said.worker_id})
            while not self._stopping.is_set():
                try:
                    async with asyncio.timeout(BEAT_S):
                        await self._stopping.wait()
                except TimeoutError:
                    yield _sse("heartbeat", {"worker_id": said.worker_id})
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            await asyncio.shield(presence.leave())  # who has gone is cancelled here, too

    async def poll(self, request: Request) -> Response:
        """Hand out tasks, as soon as there are some."""
        said = checked(Poll, members(await read(request, SMALL)))
        queues = [Queue(task_type, said.group) for task_type in dict.fromkeys(said.task_types)]
        within_s = max(min(said.timeout_ms, _LONGEST_POLL_MS) / 1_000, _LOOK_S)
        asking = self._open_bridge.poll(queues, said.max_tasks, within_s, said.worker_id)
        answer = await self._unless_gone(request, asking)
        if answer is None:
            return _json([])
        handed, failed = answer
        headers = {"Dagnats-Problems": "; ".join(map(_header, failed))} if failed else None
        return _json([each.document for each in handed], headers)

    async def resolve(self, request: Request) -> Response:
        """Take what a worker says of a task."""
        data = await read(request, LARGEST)
        task_id, trace = request.path_params["task_id"], request.headers.get("traceparent", "")
        saying = resolve(self._ports, self._key, task_id, data, trace=trace)
        reply = await self._unless_gone(request, saying)
        if reply is None:
            raise UnavailableError("the server stops", hint="say it again")
        return Response(reply.body, reply.status, media_type=JSON if reply.body else None)

    @property
    def _open_bridge(self) -> Bridge:
        if self._bridge is None:
            raise UnavailableError("the server is starting")
        return self._bridge

    async def _unless_gone(self, request: Request, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of a request that may wait; None when its client has gone, or the server stops."""
        working = asyncio.create_task(work)
        ends = [asyncio.create_task(_gone(request)), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait([working, *ends], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            return None
        finally:
            for task in (working, *ends):
                task.cancel()
            await asyncio.gather(working, *ends, return_exceptions=True)


def _entry(said: Connect) -> WorkerEntry:
    return WorkerEntry(
        worker_id=said.worker_id,
        task_types=tuple(said.task_types),
        language=said.language,
        transport="bridge",
        max_tasks=said.max_tasks,
    )


async def _gone(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), headers=headers, media_type=JSON)


def _sse(event: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.encode(), msgspec.json.encode(data))


def _header(error: DagnatsError) -> str:
    """An error as part of a header: ASCII, in one line."""
    return " ".join(str(error).split()).encode("ascii", "backslashreplace").decode()
