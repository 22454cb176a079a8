"""What a server tells of itself and of its runs, beside what it does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dagnats.runtime.telemetry.meter import Meter
from dagnats.runtime.telemetry.reader import tell_metrics
from dagnats.runtime.telemetry.tracer import Mourned, Overheard, Tracer
from dagnats.runtime.together import together

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.telemetry.exporter import Exporter


class Observer:
    """Watches an engine.

    Attributes:
        ports: What the engine is to be given: `ports`, with somebody who listens.
        meter: Counts.
        tracer: Tells the spans of runs.
    """

    def __init__(self, ports: Ports, exporter: Exporter) -> None:
        self.meter = Meter(ports.clock.now_ns())
        self.tracer = Tracer(ports, exporter)
        self.ports = replace(
            ports, notices=Overheard(ports.notices, self.tracer), dead_letters=Mourned(ports.dead_letters)
        )
        self._plain = ports
        self._exporter = exporter

    async def run(self) -> None:
        """Tell, until cancelled."""
        await together(self.tracer.run(), tell_metrics(self._plain, self.meter, self._exporter))
