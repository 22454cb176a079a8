"""Requests to one server: sent again while that can help, and what goes wrong as the error that it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from dagnats.client.fault import ErrorDocument, error_of
from dagnats.errors import ConflictError, DagnatsError, DecodeError, InputError, Problem, RefusedError, UnavailableError
from dagnats.model.address import without_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_CONNECT_S = 5.0
_ANSWER_S = 60.0  # also between two signs of life of a stream, which has one every 25 s
LONG_S = 900.0  # for what is done with many runs before there is an answer
_MOST_SHOWN = 200
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_GATEWAYS = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)

Query = Mapping[str, Any]


class _Told(msgspec.Struct, frozen=True):
    """One of a problem document's problems."""

    path: str = ""
    rule: str = ""
    message: str = ""
    hint: str = ""


class _ProblemDocument(msgspec.Struct, frozen=True):
    """What `runtime.api.problem` says of a request that was not carried out."""

    detail: str
    problems: tuple[_Told, ...] = ()
    error: ErrorDocument | None = None


class Sent(NamedTuple):
    """One event of a stream: its id, and its document."""

    id: int
    data: bytes


def path_of(*parts: str) -> str:
    """A path below `/v1`, of names that may have any sign."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Wire:
    """Made by `connect_http`.

    Args:
        http: Knows the server's address, and what lets us in.
        patience_s: How long a request is sent again while the server cannot answer.
    """

    def __init__(self, http: httpx.AsyncClient, *, patience_s: float) -> None:
        self._http = http
        self._patience_s = patience_s

    @property
    def url(self) -> str:
        """The server's address, as it may be shown."""
        return without_secrets(str(self._http.base_url)).rstrip("/")

    async def close(self) -> None:
        await self._http.aclose()

    async def expect_there(self) -> None:
        """Raise UnavailableError when nobody is there, or NATS is not behind it."""
        await self._once("GET", "/health")

    async def get(self, path: str, query: Query | None = None, *, wait_s: float = 0.0) -> httpx.Response:
        """Ask for something. `wait_s` is how long the server may think about it."""
        return await self.ask("GET", path, query=query, again=True, wait_s=wait_s)

    async def post(
        self, path: str, document: Mapping[str, Any] | None = None, *, again: bool = False, long: bool = False
    ) -> httpx.Response:
        """Tell something. `again` says that it is done once, however often it is sent; `long` that it takes long."""
        body = msgspec.json.encode(document or {})
        return await self.ask("POST", path, body=body, again=again, wait_s=LONG_S if long else 0.0)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        again: bool = False,
        wait_s: float = 0.0,
    ) -> httpx.Response:
        """One request, until it is answered.

        It is sent again after 429 and 503, and when no connection could be made. When a connection broke, and nobody
        knows what was done, only where it may come twice.

        Raises:
            UnavailableError: There is no answer, for as long as we are patient.
            DagnatsError: What the server says is wrong.
        """
        loop = asyncio.get_running_loop()
        until, pause_s, unsure = loop.time() + self._patience_s, _FIRST_PAUSE_S, False
        while True:
            try:
                return await self._once(method, path, query, body, headers, wait_s)
            except UnavailableError as error:
                lost = isinstance(error, _LostError)
                rest_s = error.after_s if isinstance(error, _LaterError) else pause_s
                if (lost and not again) or loop.time() + rest_s > until:
                    raise
                unsure = unsure or not isinstance(error, _UnsentError)
            except ConflictError as error:
                if unsure and not again:
                    error.hint = error.hint or "it may have been this very call: the answer to its first try was lost"
                raise
            await asyncio.sleep(rest_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _once(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> httpx.Response:
        sent = {"content-type": "application/json", **(headers or {})} if body else headers
        try:
            response = await self._http.request(
                method, path, params=query, content=body, headers=sent, timeout=_timeout(wait_s)
            )
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return self._fine(response)

    async def follow(self, path: str, query: Query) -> AsyncGenerator[Sent]:
        """The events of a stream that has neither places nor an end: what comes while nobody listens is not heard."""
        async with aclosing(self._streamed(path, query, None, _never)) as sent:
            async for event in sent:
                yield event

    async def listen(self, path: str, *, after: int, is_over: Callable[[], Awaitable[bool]]) -> AsyncGenerator[Sent]:
        """The events of a stream behind the one with the id `after`, until there are no more of them.

        A stream that breaks, or that a server ends because it stops, is gone on with where it was. A 204 is the end,
        and so is a stream that brings nothing though it was known before that it `is_over`.
        """
        async with aclosing(self._streamed(path, {}, after, is_over)) as sent:
            async for event in sent:
                yield event

    async def _streamed(
        self, path: str, query: Query, after: int | None, is_over: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[Sent]:
        loop = asyncio.get_running_loop()
        until, pause_s, over = loop.time() + self._patience_s, _FIRST_PAUSE_S, False
        while True:
            first = after
            try:
                async for event in self._heard(path, query if after is None else {**query, "after": after}):
                    if event is None:
                        return
                    yield event
                    after = event.id if after is not None else None
                    until, pause_s = loop.time() + self._patience_s, _FIRST_PAUSE_S
            except UnavailableError as error:
                rest_s = error.after_s if isinstance(error, _LaterError) else pause_s
                if loop.time() + rest_s > until:
                    raise
                await asyncio.sleep(rest_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                if after == first and over:
                    return
                over = after == first and await is_over()

    async def _heard(self, path: str, query: Query) -> AsyncGenerator[Sent | None]:
        """What one connection brings; None says that there is no more."""
        headers = {"accept": "text/event-stream"}
        asked = self._http.stream("GET", path, params=query, headers=headers, timeout=_timeout(0.0))
        try:
            async with asked as response:
                if response.status_code >= HTTPStatus.BAD_REQUEST:
                    await response.aread()
                self._fine(response)
                if response.status_code == HTTPStatus.NO_CONTENT:
                    yield None
                async for event in events_in(response.aiter_bytes()):
                    yield event
        except httpx.TransportError as error:
            raise self._lost(error) from error

    def _lost(self, error: httpx.TransportError) -> UnavailableError:
        why = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return _UnsentError(f"no DagNats server answers at {self.url}: {why}", hint=_WHERE)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError):
            return _UnsentError(f"{self.url} cannot be asked: {why}", hint=_WHERE)
        return _LostError(f"the connection to {self.url} broke before there was an answer: {why}")

    def _fine(self, response: httpx.Response) -> httpx.Response:
        """The response, unless it says that nothing was done. Raises DagnatsError."""
        if response.is_success:
            return response
        status = response.status_code
        document = _problem(response)
        if status in _LATER:
            return self._later(response, document)
        if document is None:
            return self._strange(response)
        problems = [Problem(each.path, each.rule, each.message, each.hint) for each in document.problems]
        if document.error is not None:
            raise error_of(document.error, problems)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RefusedError(f"{self.url} does not let us do this: {document.detail}", code=status, hint=_TOKEN)
        if status == HTTPStatus.NOT_FOUND:
            raise DagnatsError(f"there is nothing of DagNats at {without_secrets(str(response.url))}", hint=_WHERE)
        if status == HTTPStatus.CONFLICT:
            raise ConflictError(document.detail)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise RefusedError(document.detail, code=status)
        raise InputError(document.detail, problems) if problems else DagnatsError(document.detail)

    def _later(self, response: httpx.Response, document: _ProblemDocument | None) -> httpx.Response:
        told = document.error if document is not None else None
        text = document.detail if document is not None else f"status {response.status_code}"
        error = _LaterError(told.message if told is not None else f"{self.url} cannot answer now: {text}")
        error.hint = told.hint if told is not None else ""
        error.after_s = _seconds(response.headers.get("retry-after", ""))
        raise error

    def _strange(self, response: httpx.Response) -> httpx.Response:
        """An answer that is none of DagNats's: of a proxy, or of another program."""
        status = response.status_code
        if status in _GATEWAYS:
            raise _LostError(f"the proxy before {self.url} had no answer from it: status {status}")
        if response.is_redirect:
            to = without_secrets(response.headers.get("location", ""))[:_MOST_SHOWN]
            raise DagnatsError(f"{self.url} says to ask elsewhere: {to!r}", hint="name that address")
        raise DagnatsError(f"{self.url} answered status {status}, which DagNats would have explained", hint=_WHERE)


class _UnsentError(UnavailableError):
    """Nothing was sent."""


class _LostError(UnavailableError):
    """Something was sent, and nobody knows what became of it."""


class _LaterError(UnavailableError):
    """The server asks to be asked again, after `after_s`."""

    after_s = 1.0


_WHERE = "an address of DagNats over HTTP is http://host:8080, as `dagnats serve` prints it"
_TOKEN = "give the right one with --token or DAGNATS_TOKEN"


async def _never() -> bool:
    return False


def _timeout(wait_s: float) -> httpx.Timeout:
    return httpx.Timeout(_ANSWER_S + wait_s, connect=_CONNECT_S)


def _seconds(retry_after: str) -> float:
    """How long to rest, as a server says it; a date is taken for a second."""
    return float(min(int(retry_after), 3600)) if retry_after.isascii() and retry_after.isdigit() else 1.0


def _problem(response: httpx.Response) -> _ProblemDocument | None:
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        return msgspec.json.decode(response.content, type=_ProblemDocument)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


async def events_in(parts: AsyncIterable[bytes]) -> AsyncGenerator[Sent]:
    """The events in the bytes of a stream, whatever parts these come in.

    Lines end at newlines only: JSON may have signs in it that Python, and so httpx, takes for the end of a line.
    """
    waiting = b""
    async for part in parts:
        *lumps, waiting = (waiting + part).split(b"\n\n")
        for lump in lumps:
            fields = dict(line.split(b": ", 1) for line in lump.split(b"\n") if not line.startswith(b":"))
            if b"data" in fields:
                yield Sent(_id(fields), fields[b"data"])


def _id(fields: Mapping[bytes, bytes]) -> int:
    try:
        return int(fields[b"id"])
    except (KeyError, ValueError):
        raise DecodeError("an event of a stream has no number as its id") from None
