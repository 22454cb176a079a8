"""The way of telemetry out of a process: gathered from any thread, sent twice a second, lost rather than waited for."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.errors import DagnatsError
from dagnats.runtime.telemetry import otlp
from dagnats.runtime.telemetry.address import collector_address
from dagnats.runtime.telemetry.entry import encode_log
from dagnats.runtime.telemetry.logbook import listened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dagnats.runtime.ports import Clock, Ports, Telemetry
    from dagnats.runtime.telemetry.collector import Collector
    from dagnats.runtime.telemetry.entry import LogEntry

_MOST = 5_000  # pieces that wait
_AT_ONCE = 500
_EVERY_S = 0.5
_AGAIN_S = 2.0  # without a connection


class Outgoing(NamedTuple):
    """A piece on its way: see `ports.Piece`. `collected`: whether a collector gets it, too."""

    subject: str
    data: bytes
    collected: bool


class Exporter:
    """Takes pieces of telemetry to the stream, and to a collector of OpenTelemetry where one is named.

    Args:
        telemetry: The stream.
        clock: What time it is.
        collector: Where else they go.

    Attributes:
        who: The process, as a resource of OpenTelemetry.
        lost: How many pieces there was no room for.
    """

    def __init__(self, telemetry: Telemetry, clock: Clock, collector: Collector | None = None) -> None:
        self.clock = clock
        self.who = otlp.resource(resource_attributes())
        self.lost = 0
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Outgoing] = deque()
        self._armed = False
        self._timer: asyncio.TimerHandle | None = None
        self.collector = collector

    def offer(self, subject: str, data: bytes, *, collected: bool = True) -> None:
        """Have a piece sent soon, unless too many wait. May be called from any thread."""
        if len(self._waiting) >= _MOST:
            self.lost += 1
            return
        self._waiting.append(Outgoing(subject, data, collected))
        if not self._armed:
            self._armed = True
            with suppress(RuntimeError):  # the loop has ended before us
                self._loop.call_soon_threadsafe(self._arm, _EVERY_S)

    def tell(self, entry: LogEntry) -> None:
        """Have a line of the log sent soon. May be called from any thread."""
        try:
            data = encode_log(entry)
        except (TypeError, ValueError):  # text that no JSON can carry, in the name of something
            self.lost += 1
            return
        self.offer(entry.subject, data)

    def _arm(self, within_s: float) -> None:
        self._timer = self._loop.call_later(within_s, self._flush)

    def _flush(self) -> None:
        self._armed = False
        sent = self._sent()
        if self._waiting and not self._armed:
            self._armed = True
            self._arm(_EVERY_S if sent else _AGAIN_S)

    def _sent(self) -> bool:
        """Send what waits, as much as goes at a time; False when it does not go at all."""
        for _ in range(min(len(self._waiting), _AT_ONCE)):
            piece = self._waiting[0]
            try:
                if not self._telemetry.put(piece.subject, piece.data):
                    return False
            except DagnatsError:
                return False
            self._waiting.popleft()
            if self.collector is not None and piece.collected:
                self.collector.take(piece.subject, piece.data)
        return True

    async def close(self) -> None:
        """Send what waits, once."""
        if self._timer is not None:
            self._timer.cancel()
        self._armed = True  # nothing more is sent by itself
        while self._waiting and self._sent():
            continue
        if self.collector is not None:
            await self.collector.close()


_current: ContextVar[Exporter | None] = ContextVar("exporter", default=None)
_open: list[Exporter] = []


def exporter() -> Exporter | None:
    """Whose telemetry whoever calls is part of: threads that know nothing of contexts take the first one that is
    open."""
    return _current.get() or (_open[0] if _open else None)


@asynccontextmanager
async def telemetry(ports: Ports) -> AsyncGenerator[Exporter]:
    """Send the telemetry of what runs inside; if that is part of something that does so already, by its way."""
    found = _current.get()
    if found is not None:
        yield found
        return
    address = collector_address(os.environ)
    ours = Exporter(ports.telemetry, ports.clock)
    if address is not None:
        from dagnats.runtime.telemetry.collector import Collector  # not at the top: it brings an HTTP client

        ours.collector = Collector(address, ours.who, told=ours.tell, now_ns=ports.clock.now_ns)
    token = _current.set(ours)
    _open.append(ours)
    try:
        with listened(exporter, ports.clock):
            yield ours
    finally:
        _open.remove(ours)
        with suppress(ValueError):  # left by another task than the one that has entered
            _current.reset(token)
        await ours.close()


def resource_attributes(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What OpenTelemetry calls the resource: this process, and what `OTEL_RESOURCE_ATTRIBUTES` says of it."""
    import dagnats

    told: dict[str, Any] = {
        "service.name": "dagnats",
        "service.version": dagnats.__version__,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        "host.name": socket.gethostname(),
        "process.pid": str(os.getpid()),
    }
    for pair in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            told[name.strip()] = value.strip()
    if name := environment.get("OTEL_SERVICE_NAME", ""):
        told["service.name"] = name
    return told
