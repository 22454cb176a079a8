"""`connect_http`: a client on a server's API, for programs that cannot reach NATS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from dagnats.client.http.client import HttpClient
from dagnats.client.http.wire import Wire
from dagnats.client.opening import Opening
from dagnats.dsl.duration import duration_text
from dagnats.errors import DagnatsError
from dagnats.model.address import is_http, is_loopback, without_secrets
from dagnats.model.duration import parse_duration

if TYPE_CHECKING:
    from datetime import timedelta

_RIGHT = "such an address is http://127.0.0.1:8080 or https://dagnats.example.org"


class connect_http(Opening[HttpClient]):  # noqa: N801  # used as a function: `async with dagnats.connect_http(…) as client`
    """Open a client over HTTP: `async with dagnats.connect_http(url) as client`, or `await` it.

    It does what the client of `dagnats.connect()` does, with the same errors.

    Args:
        url: `http://host:8080` or `https://host`, with a path where a proxy has put one before it. When left out,
            `DAGNATS_URL`.
        token: What lets us in; when left out, `DAGNATS_TOKEN`.
        patience: How long a call is tried again while the server cannot answer.
        transport: How requests travel; httpx's own when left out.

    Raises:
        UnavailableError: No server answers there.
        DagnatsError: It is no such address, or something else answers there.
    """

    def __init__(
        self,
        url: str = "",
        *,
        token: str = "",
        patience: timedelta | str = "30s",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url or os.environ.get("DAGNATS_URL", "")
        self._token = token or os.environ.get("DAGNATS_TOKEN", "")
        self._patience = parse_duration(duration_text(patience))
        self._transport = transport

    async def _open(self) -> HttpClient:
        if not is_http(self._url):
            what = f"{without_secrets(self._url)!r} is not the address" if self._url else "there is no address"
            raise DagnatsError(f"{what} of a DagNats server over HTTP", hint=_RIGHT)
        wire = Wire(self._http(), patience_s=self._patience.total_seconds())
        try:
            await wire.expect_there()
        except BaseException:
            await wire.close()
            raise
        return HttpClient(wire)

    def _http(self) -> httpx.AsyncClient:
        parts = urlsplit(self._url)
        return httpx.AsyncClient(
            base_url=self._url,
            verify=parts.scheme == "https",  # without TLS, reading all authorities is most of a short command's time
            headers={"authorization": f"Bearer {self._token}"} if self._token else {},
            # A proxy of the environment's is for other machines; nobody means it to be asked for this one.
            trust_env=not is_loopback(parts.hostname or ""),
            transport=self._transport,
        )
