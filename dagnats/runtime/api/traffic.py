"""Around all requests: each belongs to the trace that it names, and is counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from dagnats.runtime.telemetry.context import carried
from dagnats.runtime.telemetry.meter import OTHER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dagnats.runtime.telemetry.meter import Meter

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

UNKNOWN = "unknown"
"""What paths that lead nowhere are called: whoever asks for many of them makes no metrics."""


class Traffic:
    """The application, watched.

    Args:
        meter: Counts requests.
    """

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        now = asyncio.get_running_loop().time
        begun_s, status = now(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with carried(Headers(scope=scope)):
                await self._app(scope, receive, sent)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else OTHER
            self._meter.requested(method, route_of(scope), status, now() - begun_s)


def route_of(scope: Scope) -> str:
    """The path of a request that was answered, with the names of what stands in it: `/v1/runs/{run_id}`."""
    if "endpoint" not in scope:
        return UNKNOWN
    names = {str(value): name for name, value in scope.get("path_params", {}).items()}
    words = scope["path"].split("/")
    return "/".join(f"{{{names[word]}}}" if word in names else word for word in words)
