"""A collector of OpenTelemetry: OTLP over HTTP, as JSON, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says.

What it does not take is tried again a few times and then dropped: the stream has it, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from dagnats.errors import DecodeError
from dagnats.model.address import without_secrets
from dagnats.model.instant import rfc3339
from dagnats.runtime.telemetry import otlp
from dagnats.runtime.telemetry.address import EXPORT
from dagnats.runtime.telemetry.entry import LogEntry, decode_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagnats.runtime.telemetry.address import CollectorAddress
    from dagnats.runtime.telemetry.entry import Level

_MOST = 2_000  # pieces of a signal that wait
_AT_ONCE = 256
_EVERY_S = 0.5
_TRIES = 3
_PAUSE_S = 1.0
_CLOSE_S = 5.0
_SAY_EVERY_S = 60.0
_BUSY = {429, 502, 503, 504}


class Collector:
    """Takes pieces, and sends them in batches by itself.

    Args:
        address: Where it is.
        who: The process, as a resource.
        told: Hears when it stops taking anything, and when it takes it again.
        now_ns: What time it is.

    Attributes:
        sent, lost: How many pieces it has taken; how many it has not.
    """

    def __init__(
        self,
        address: CollectorAddress,
        who: Mapping[str, Any],
        *,
        told: Callable[[LogEntry], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.sent = self.lost = 0
        self._address = address
        self._who = who
        self._told = told
        self._now_ns = now_ns
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, deque[bytes]] = {kind: deque() for kind in otlp.SIGNALS}
        self._client = httpx.AsyncClient(timeout=address.timeout_s)
        self._closing = False
        self._sending: asyncio.Task[None] | None = None
        self._failing = False
        self._said_s = 0.0

    def take(self, subject: str, data: bytes) -> None:
        """Have a piece sent soon, unless too many wait."""
        kind = subject.partition(".")[0]
        if otlp.SIGNALS[kind][0] not in self._address.urls or subject.startswith(f"logs.{EXPORT}."):
            return
        waiting = self._waiting[kind]
        if len(waiting) >= _MOST:
            self.lost += 1
            return
        waiting.append(data)
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(self._send(_EVERY_S), name="telemetry: export")

    async def close(self) -> None:
        """Send what waits, once, for a moment."""
        self._closing = True
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._send(0.0)
        await self._client.aclose()

    async def _send(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        while any(self._waiting.values()):
            for kind, waiting in self._waiting.items():
                batch = [waiting.popleft() for _ in range(min(len(waiting), _AT_ONCE))]
                if batch:
                    await self._post(kind, batch)

    async def _post(self, kind: str, batch: list[bytes]) -> None:
        signal, member = otlp.SIGNALS[kind]
        body = msgspec.json.encode({member: _resources(kind, member, batch, self._who)})
        url = self._address.urls[signal]
        why = ""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
            status, why = await self._answer(url, body)
            if not why:
                self.sent += len(batch)
                self._say_works(url)
                return
            if self._closing or (status and status not in _BUSY):
                break
        self.lost += len(batch)
        self._say_fails(url, why)

    async def _answer(self, url: str, body: bytes) -> tuple[int, str]:
        """The status of an answer, 0 for none; and why it is no success, or ""."""
        try:
            headers = {"content-type": "application/json", **self._address.headers}
            answer = await self._client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return 0, str(error) or type(error).__name__
        return answer.status_code, "" if answer.is_success else f"it answers {answer.status_code}"

    # -- whether it works ------------------------------------------------------------------------------------

    def _say_fails(self, url: str, why: str) -> None:
        """Now and then, for as long as it lasts: `doctor` looks for this."""
        now = self._loop.time()
        if self._failing and now - self._said_s < _SAY_EVERY_S:
            return
        self._failing, self._said_s = True, now
        self._say("WARN", f"telemetry cannot be exported to {without_secrets(url)}: {why}", url, "failing")

    def _say_works(self, url: str) -> None:
        if self._failing:
            self._failing = False
            self._say("INFO", f"telemetry is exported to {without_secrets(url)} again", url, "works")

    def _say(self, level: Level, body: str, url: str, state: str) -> None:
        attributes: dict[str, str | int | float | bool | None] = {
            "export": state,
            "endpoint": without_secrets(url),
            "lost": self.lost,
            "process": self._name(),
        }
        self._told(
            LogEntry(
                timestamp=rfc3339(self._now_ns()),
                severity=level,
                body=body,
                service_name=EXPORT,
                attributes=attributes,
            )
        )

    def _name(self) -> str:
        told = {each["key"]: each["value"] for each in self._who["attributes"]}
        return str(told["service.instance.id"]["stringValue"])


def _resources(kind: str, member: str, batch: list[bytes], who: Mapping[str, Any]) -> list[Any]:
    """What a request of pieces holds."""
    if kind == "logs":
        return [otlp.log_document([entry for data in batch if (entry := _log(data)) is not None], who)]
    found: list[Any] = []
    for data in batch:
        found += msgspec.json.decode(data)[member]
    return found


def _log(data: bytes) -> LogEntry | None:
    try:
        return decode_log(data)
    except DecodeError:
        return None
