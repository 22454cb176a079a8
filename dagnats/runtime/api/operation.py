"""One thing that the API does: where it is asked for, who may, what it takes and gives, and the call that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
from starlette.responses import Response

from dagnats.runtime.api.body import SMALL, Body, Order, checked, members, parameters, read
from dagnats.runtime.api.problem import Fault
from dagnats.runtime.blob import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from starlette.requests import Request

    from dagnats.client.client import AsyncClient
    from dagnats.client.run import RunHandle

JSON = "application/json"
LARGEST = MOST_BYTES + SMALL
"""A payload, and what is around it."""

Scope = Literal["read", "run", "operate", "admin"]
"""What a caller has to be allowed: to look; to start and answer runs; to hold and repair; to change what is set up."""

SCOPES: frozenset[Scope] = frozenset({"read", "run", "operate", "admin"})

T = TypeVar("T")
QueryT = TypeVar("QueryT", bound=Body)
BodyT = TypeVar("BodyT")


class Nothing(Order):
    """There is nothing to say."""


class Raw:
    """Bodies that are a payload: their bytes are taken as they are."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[QueryT, BodyT]):
    """What was asked, read and checked.

    Attributes:
        client: Does it.
        path: The names in the path.
        query: What follows the `?`.
        body: As the operation has it: bytes for `Raw`.
        headers: The request's.
        url: Where it was asked, with the query.
        stopping: Set when the server stops: whoever waits answers then.
    """

    client: AsyncClient
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    headers: Mapping[str, str]
    url: str
    stopping: asyncio.Event

    @property
    def run(self) -> RunHandle:
        """The run that the path names. Raises NotFoundError."""
        return self.client.handle(self.path["run_id"])

    async def while_serving(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of something that takes long; None when the server stops first."""
        working, stopped = asyncio.create_task(work), asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            for task in (working, stopped):
                task.cancel()
            await asyncio.gather(working, stopped, return_exceptions=True)


class Reply(NamedTuple):
    """An answer that says more than its document."""

    document: Any
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the API.

    Attributes:
        method: Of HTTP.
        path: Below `/v1`.
        work: What does it: gives a document, a `Reply` or a whole response. Its docstring's first line describes it.
        scope: What callers have to be allowed.
        answer: The document's type.
        query: What may follow the `?`.
        body: What a body has; `Raw` for a payload; None when there is none.
        status: Of an answer.
        old: Whether it is there without `/v1`, too.
        older: Whether it is only there without `/v1`.
        streams: What `Accept: text/event-stream` gets, an event each; None when it cannot be asked for.
    """

    method: str
    path: str
    work: Callable[[Asked[Any, Any]], Awaitable[Any]]
    scope: Scope
    answer: Any
    query: type[Body] = Nothing
    body: type[Body] | type[Raw] | None = None
    status: int = HTTPStatus.OK
    old: bool = False
    older: bool = False
    streams: Any = None

    @property
    def paths(self) -> list[str]:
        """Where it is: the first one is the one to use."""
        return [prefix + self.path for prefix in _PREFIXES[self.old, self.older]]

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        lines = (self.work.__doc__ or "").strip().splitlines()
        return lines[0]

    async def answered(self, request: Request, client: AsyncClient, stopping: asyncio.Event) -> Response:
        """Do it. Raises DagnatsError."""
        _expect_allowed(request, self.scope)
        asked: Asked[Any, Any] = Asked(
            client=client,
            path=request.path_params,
            query=parameters(self.query, request.query_params),
            body=await self._body(request),
            headers=request.headers,
            url=str(request.url.replace(scheme="", netloc="")),
            stopping=stopping,
        )
        given = await self.work(asked)
        if isinstance(given, Response):
            return given
        reply = given if isinstance(given, Reply) else Reply(given)
        return Response(msgspec.json.encode(reply.document), self.status, reply.headers, JSON)

    async def _body(self, request: Request) -> Any:
        if self.body is None:
            return None
        data = await read(request, LARGEST)
        if not issubclass(self.body, Body):
            return data
        return checked(self.body, members(data) if data.strip() else {})


_PREFIXES = {(False, False): ("/v1",), (True, False): ("/v1", ""), (False, True): ("",)}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do: the guard leaves it in the request's state.

    Attributes:
        scopes: All of these.
    """

    scopes: frozenset[Scope] = field(default=SCOPES)


def _expect_allowed(request: Request, scope: Scope) -> None:
    grant: Grant | None = request.scope.get("dagnats.grant")
    if grant is None or scope not in grant.scopes:
        raise Fault(403, "forbidden", f"the token does not allow this: it takes the scope {scope!r}")
