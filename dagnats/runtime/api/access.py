"""Who may speak to us. Whoever has no token is let in on this machine only, and never from a web page."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from dagnats.model.address import is_loopback
from dagnats.runtime.api.operation import Grant
from dagnats.runtime.api.problem import Fault, on_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = frozenset({"/health", "/ready"})
"""What anybody may ask: those who watch over processes have no tokens."""


class Guard:
    """The application, behind a token.

    Args:
        token: What a caller has to have; "" for none: then only this machine is listened to.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            headers = Headers(scope=scope)
            fault = _missing(headers, self._token) if self._token else _foreign(headers)
            if fault is not None:
                response = await on_error(Request(scope), fault)
                await response(scope, receive, send)
                return
            scope["dagnats.grant"] = Grant()  # the one token there is allows everything, and so does this machine
        await self._app(scope, receive, send)


def _missing(headers: Headers, token: str) -> Fault | None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    wanted = f"Bearer {token}".encode()
    said = f"{scheme.capitalize()} {given.strip()}".encode(errors="replace")
    if hmac.compare_digest(wanted, said):
        return None
    how = "send the header 'Authorization: Bearer …' with the token that the server was started with"
    return Fault(401, "unauthorized", how, headers={"WWW-Authenticate": 'Bearer realm="dagnats"'})


def _foreign(headers: Headers) -> Fault | None:
    """Refuse what a web page could make its reader's browser send: from another site, or to a name that it chose."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    origin = headers.get("origin")
    if is_loopback(host) and (origin is None or is_loopback(urlsplit(origin).hostname or "")):
        return None
    why = "without a token only this machine is listened to, under the names localhost and 127.0.0.1"
    return Fault(403, "forbidden", f"{why}: set DAGNATS_BRIDGE_TOKEN at the server to be asked by others")
