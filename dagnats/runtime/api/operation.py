"""One thing that the API does: where it is asked for, who may, what it takes and gives, and the call that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec
from starlette.responses import Response

from dagnats.client.imported import IMPORTED
from dagnats.errors import NotFoundError
from dagnats.runtime.api.access import Grant
from dagnats.runtime.api.body import SMALL, Body, Order, checked, members, parameters, read
from dagnats.runtime.api.concern import Concern, concern_of, expect_own
from dagnats.runtime.api.guard import DEED, GRANT, Deed
from dagnats.runtime.api.problem import Fault
from dagnats.runtime.blob import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from starlette.requests import Request

    from dagnats.client.client import AsyncClient
    from dagnats.client.run import RunHandle
    from dagnats.model.access import Scope

JSON = "application/json"
LARGEST = MOST_BYTES + SMALL
"""A payload, and what is around it."""

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
        grant: What the caller may do, and who it is.
        url: Where it was asked, with the query.
        stopping: Set when the server stops: whoever waits answers then.
        imported: The run that the path names, where it is one of another installation.
    """

    client: AsyncClient
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    headers: Mapping[str, str]
    grant: Grant
    url: str
    stopping: asyncio.Event
    imported: RunHandle | None = None

    @property
    def run(self) -> RunHandle:
        """The run that the path names. Raises NotFoundError."""
        return self.imported or self.client.handle(self.path["run_id"])

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
        scope: What callers have to be allowed; None where the token in the path is all that counts.
        answer: The document's type.
        query: What may follow the `?`.
        body: What a body has; `Raw` for a payload; None when there is none.
        most_bytes: How large a body may be.
        status: Of an answer.
        concern: Which workflows it is about, where its path does not say.
        old: Whether it is there without `/v1`, too.
        older: Whether it is only there without `/v1`.
        streams: What `Accept: text/event-stream` gets, an event each; None when it cannot be asked for.
    """

    method: str
    path: str
    work: Callable[[Asked[Any, Any]], Awaitable[Any]]
    scope: Scope | None
    answer: Any
    query: type[Body] = Nothing
    body: type[Body] | type[Raw] | None = None
    most_bytes: int = LARGEST
    status: int = HTTPStatus.OK
    concern: Concern | None = None
    old: bool = False
    older: bool = False
    streams: Any = None

    @property
    def paths(self) -> list[str]:
        """Where it is: the first one is the one to use."""
        return [prefix + self.path for prefix in _PREFIXES[self.old, self.older]]

    @property
    def wants(self) -> str:
        """What callers have to have, in a word."""
        return self.scope or "its token"

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        lines = (self.work.__doc__ or "").strip().splitlines()
        return lines[0]

    async def answered(self, request: Request, client: AsyncClient, stopping: asyncio.Event) -> Response:
        """Do it. Raises DagnatsError."""
        grant = grant_of(request)
        names = request.path_params if grant.held is None else grant.held.names
        deed = request.scope[DEED] = Deed(f"{self.method} {self.paths[0]}", " ".join(names.values()))
        deed.run_id = names.get("run_id", "")
        if self.scope is not None:
            grant.expect(self.scope)
        asked: Asked[Any, Any] = Asked(
            client=client,
            path=request.path_params,
            query=parameters(self.query, request.query_params),
            body=_signed(await self._body(request), grant),
            headers=request.headers,
            grant=grant,
            url=str(request.url.replace(scheme="", netloc="")),
            stopping=stopping,
        )
        deed.target = deed.target or _about(asked.body)
        await expect_own(asked, self.concern or concern_of(self.path))
        asked, given = await self._done(asked)
        of_others = {IMPORTED: "true"} if asked.imported is not None else {}
        if isinstance(given, Response):
            given.headers.update(of_others)
            return given
        reply = given if isinstance(given, Reply) else Reply(given)
        deed.target = deed.target or _about(reply.document)
        deed.run_id = deed.run_id or getattr(reply.document, "run_id", "")
        return Response(msgspec.json.encode(reply.document), self.status, {**reply.headers, **of_others}, JSON)

    async def _done(self, asked: Asked[Any, Any]) -> tuple[Asked[Any, Any], Any]:
        """What comes of it; of a run that is none of ours, what comes of the one that was imported."""
        try:
            return asked, await self.work(asked)
        except NotFoundError as error:
            if "run_id" not in asked.path or error.kind != "run":
                raise
            imported = await asked.client.reach(asked.path["run_id"])
            if not imported.imported:
                raise
        asked = replace(asked, imported=imported)
        return asked, await self.work(asked)

    async def _body(self, request: Request) -> Any:
        if self.body is None:
            return None
        data = await read(request, self.most_bytes)
        if not issubclass(self.body, Body):
            return data
        return checked(self.body, members(data) if data.strip() else {})


_PREFIXES = {(False, False): ("/v1",), (True, False): ("/v1", ""), (False, True): ("",)}


def grant_of(request: Request) -> Grant:
    """What the caller may do. Raises Fault 403 where no guard has let it in."""
    grant: Grant | None = request.scope.get(GRANT)
    if grant is None:
        raise Fault(403, "forbidden", "nobody was asked who this is")
    return grant


def _signed(body: Any, grant: Grant) -> Any:
    """A body that says who gives the order, with what the caller has proved to be."""
    names = [name for name in _SIGNATURES if isinstance(body, Body) and name in type(body).model_fields]
    return body.model_copy(update={name: grant.signed(getattr(body, name)) for name in names}) if names else body


_SIGNATURES = ("by", "approved_by")


def _about(said: Any) -> str:
    """What a body or an answer names."""
    for name in ("workflow", "workflow_id", "name", "id"):
        if found := getattr(said, name, ""):
            return str(found)
    return ""
