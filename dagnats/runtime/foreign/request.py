"""`worker.<task type>.http`: a URL that gets the input and answers with the output.

Each attempt has a connection of its own: one that was kept open may have been closed by the other side, and nobody
could say whether a request on it was received. Redirects are not followed: they would lead where nobody looked.
"""

from __future__ import annotations

import base64
import functools
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx

from dagnats.errors import Abort, Retry
from dagnats.handling.verdict import InWords
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.foreign.address import AddressRefused, admitted, resolve
from dagnats.runtime.foreign.output import output_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import msgspec

    from dagnats.config.worker import WorkerSettings
    from dagnats.handling.context import TaskContext
    from dagnats.runtime.foreign.address import Address

    Resolve = Callable[[str, int], Awaitable[list[Address]]]

_CONNECT_S = 10.0
_MOST_SHOWN = 500
_MOST_READ = 64 * 1024  # of an answer that says no
_TRY_AGAIN = {408, 425, 429}
_WITHOUT_BODY = {"GET", "DELETE"}
_SHORTEST_SECRET = 4
_HIDDEN = "***"


class RequestFailed(InWords):
    """A server did not do it, or was not reached; another attempt may."""


class NotConnected(RequestFailed):
    """An address took no connection."""


class Requester:
    """Sends a task type's attempts to its URL.

    Args:
        worker: The URL and what goes with it.
        resolve: How the addresses of a host are found.
        tls: What its certificate is checked with; the usual authorities without one.
    """

    def __init__(
        self, worker: WorkerSettings, *, resolve: Resolve = resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        assert worker.http is not None, "it has a URL"
        self._worker = worker
        self._resolve = resolve
        self._tls = tls
        self._url = httpx.URL(worker.http.get_secret_value())
        self._where = f"{worker.http_method} {self._url.scheme}://{self._authority}"
        self._secrets = secrets_of(worker)

    async def request(self, data: bytes, context: TaskContext) -> msgspec.Raw:
        """Send one attempt.

        Raises:
            Abort: Trying again cannot help.
            Retry: The server said when to try again.
            RequestFailed: Anything else.
        """
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        try:
            addresses = admitted(self._url.host, await self._resolve(self._url.host, port), self._worker.allow)
        except AddressRefused as error:
            raise Abort(str(error)) from None
        except (OSError, UnicodeError) as error:
            raise RequestFailed(f"{self._where}: the host has no address: {_reason(error)}") from None
        return await self._send_to_first(addresses, data, context)

    async def _send_to_first(self, addresses: list[Address], data: bytes, context: TaskContext) -> msgspec.Raw:
        """Send to the first address that takes connections: nothing was sent to those before it."""
        for address in addresses[:-1]:
            try:
                return await self._send(address, data, context)
            except NotConnected:
                continue
        return await self._send(addresses[-1], data, context)

    @property
    def _authority(self) -> str:
        return self._url.netloc.decode("ascii")  # host and port; httpx has taken user and password off

    async def _send(self, address: Address, data: bytes, context: TaskContext) -> msgspec.Raw:
        try:
            return await self._sent(address, data, context)
        except httpx.TransportError as error:
            is_connected = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            kind = RequestFailed if is_connected else NotConnected
            raise kind(f"{self._where}: {self._hidden(_reason(error))}") from None

    async def _sent(self, address: Address, data: bytes, context: TaskContext) -> msgspec.Raw:
        request = httpx.Request(
            self._worker.http_method,
            self._url.copy_with(host=str(address), userinfo=b""),
            headers=self._headers(context),
            content=None if self._worker.http_method in _WITHOUT_BODY else data,
            extensions={"sni_hostname": self._url.host, "timeout": {"connect": _CONNECT_S}},
        )
        # The transport and not httpx's client, which logs URLs, follows redirects and believes in proxy variables.
        async with httpx.AsyncHTTPTransport(verify=self._tls or _authorities(), trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                return await self._answered(response)
            finally:
                await response.aclose()

    def _headers(self, context: TaskContext) -> list[tuple[str, str]]:
        ours = {
            "Host": self._authority,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a small answer must not unfold into a large one
            "Content-Type": "application/json",
            "DagNats-Run-Id": quote(context.run_id),
            "DagNats-Step-Id": quote(context.step_id),
            "DagNats-Attempt": str(context.attempt),
        }
        if self._url.userinfo:
            pair = f"{self._url.username}:{self._url.password}".encode()
            ours["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        theirs = {name: value.get_secret_value() for name, value in self._worker.headers.items()}
        named = {name.lower() for name in theirs}
        return [*((name, value) for name, value in ours.items() if name.lower() not in named), *theirs.items()]

    async def _answered(self, response: httpx.Response) -> msgspec.Raw:
        code = response.status_code
        if 200 <= code < 300:
            return await self._output(response)
        said = self._hidden(await _beginning(response))[:_MOST_SHOWN]
        text = f"{self._where} answered {code}" + (f": {said}" if said else "")
        if 300 <= code < 400:
            raise Abort(f"{text}; redirects are not followed, configure the URL it leads to")
        if code not in _TRY_AGAIN and code < 500:
            raise Abort(text)
        delay = retry_after(response.headers)
        raise RequestFailed(text) if delay is None else Retry(text, after=delay)

    async def _output(self, response: httpx.Response) -> msgspec.Raw:
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise Abort(f"{self._where} answered with content encoding {encoding[:40]!r}, which was not asked for")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > self._worker.max_output_bytes:
                raise Abort(f"{self._where} answered with more than {self._worker.max_output_bytes} bytes")
        return output_of(bytes(body), f"the answer of {self._where}")

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


@functools.cache
def _authorities() -> ssl.SSLContext:
    """What certificates are checked with. It takes a while to read, so that everybody shares it."""
    return httpx.create_ssl_context()


def secrets_of(worker: WorkerSettings) -> list[str]:
    """What no error may repeat, though the server may: URL and headers, whole and in parts; the longest first."""
    url = worker.http.get_secret_value() if worker.http is not None else ""
    parts = urlsplit(url)
    found = {url, parts.path, parts.query, f"{parts.path}?{parts.query}", *parts.path.split("/")}
    found |= {part for pair in parse_qsl(parts.query) for part in pair[1:]}
    found |= {parts.password or "", parts.username or ""}
    for header in worker.headers.values():
        found |= {header.get_secret_value(), *header.get_secret_value().split()}
    found |= {unquote(text) for text in found}
    return sorted((text for text in found if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """When a server wants to be asked again: in so many seconds, or at a date. None when it does not say."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return timedelta(seconds=min(int(asked[:9]), 86_400))
    try:
        at = parsedate_to_datetime(asked)
    except (ValueError, OverflowError):  # a year of twenty digits
        return None
    now = datetime.fromtimestamp(SystemClock().now_ns() / 1e9, UTC)
    return max((at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - now, timedelta())


async def _beginning(response: httpx.Response) -> str:
    """The beginning of a body, as text on one line."""
    body = bytearray()
    pieces: AsyncIterator[bytes] = response.aiter_raw()
    async for piece in pieces:
        body += piece[: _MOST_READ - len(body)]
        if len(body) >= _MOST_READ:
            break
    return " ".join(body.decode("utf-8", "replace").split())


def _reason(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
