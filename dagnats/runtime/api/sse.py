"""Event streams (SSE): each event as it comes, and a comment now and then, so that no connection is taken for dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from starlette.responses import Response

MEDIA_TYPE = "text/event-stream"
UNCACHED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""What keeps proxies from holding events back."""

BEAT_S = 25.0
"""Proxies cut connections that are silent for half a minute."""


class Sent(NamedTuple):
    """One event of a stream.

    Attributes:
        event: Its type.
        id: What `Last-Event-ID` says to go on behind it.
        data: Its document.
    """

    event: str
    id: str
    data: Any


def wants_events(headers: Mapping[str, str]) -> bool:
    """Whether a request asks for a stream."""
    return MEDIA_TYPE in headers.get("accept", "")


def sent(events: AsyncGenerator[Sent], stopping: asyncio.Event) -> Response:
    """A stream of events, until there are no more or the server stops."""
    return StreamingResponse(_parts(events, stopping), media_type=MEDIA_TYPE, headers=UNCACHED)


async def _parts(events: AsyncGenerator[Sent], stopping: asyncio.Event) -> AsyncGenerator[bytes]:
    coming = asyncio.ensure_future(anext(events, None))
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while not stopped.done():
            await asyncio.wait([coming, stopped], timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                yield b": beat\n\n"
                continue
            event = coming.result()
            if event is None:
                return
            yield encoded(event)
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        for task in (coming, stopped):
            task.cancel()
        await asyncio.gather(coming, stopped, return_exceptions=True)
        await events.aclose()


def encoded(event: Sent) -> bytes:
    """An event as it travels: JSON has no newlines of its own."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        event.id.encode(),
        event.event.encode(),
        msgspec.json.encode(event.data),
    )
