"""What every event that a client makes carries: its time, for people, and the caller's trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from opentelemetry import context, propagate

from dagnats.model.instant import rfc3339
from dagnats.model.trace import new_trace_parent

if TYPE_CHECKING:
    from dagnats.runtime.ports import Clock


class Stamp(TypedDict):
    """Fields of an event."""

    timestamp: str
    trace_parent: str
    trace_state: str


def stamp(clock: Clock) -> Stamp:
    """The stamp of an event made now. What is made within one span differs by its time only."""
    carrier: dict[str, str] = {}
    if context.get_current():  # outside of everything there is nothing to pass on, and asking takes two microseconds
        propagate.inject(carrier)
    if "traceparent" not in carrier:  # a run is one trace even when nobody collects spans
        carrier["traceparent"] = new_trace_parent()
    return Stamp(
        timestamp=rfc3339(clock.now_ns()),
        trace_parent=carrier["traceparent"],
        trace_state=carrier.get("tracestate", ""),
    )
