"""Tells the metrics to the stream once a minute, or as often as `OTEL_METRIC_EXPORT_INTERVAL` says."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, NoReturn

from dagnats.runtime.telemetry.gauge import measured
from dagnats.runtime.telemetry.otlp import encode_metric

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.telemetry.exporter import Exporter
    from dagnats.runtime.telemetry.meter import Meter

log = logging.getLogger("dagnats.telemetry")

_EVERY_MS = 60_000
_LEAST_MS = 1_000


async def tell_metrics(ports: Ports, meter: Meter, exporter: Exporter, *, every_s: float = 0.0) -> NoReturn:
    """Tell them until cancelled."""
    every_s = every_s or _asked_ms() / 1_000
    while True:
        await asyncio.sleep(every_s)
        try:
            await _tell(ports, meter, exporter)
        except Exception as error:  # what cannot be measured now may be in a minute
            log.debug("the metrics are not told", exc_info=error)


async def _tell(ports: Ports, meter: Meter, exporter: Exporter) -> None:
    now_ns = ports.clock.now_ns()
    for sample in await measured(ports, meter, exporter):
        if sample.values:
            data = encode_metric(sample, exporter.who, since_ns=meter.since_ns, now_ns=now_ns)
            exporter.offer(f"metrics.engine.{sample.name}", data)


def _asked_ms() -> int:
    asked = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    return max(int(asked), _LEAST_MS) if asked.isascii() and asked.isdigit() else _EVERY_MS
