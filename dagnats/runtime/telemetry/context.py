"""OpenTelemetry's current context: what is started inside of one belongs to it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context, propagate, trace

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


@contextmanager
def within(trace_parent: str, trace_state: str = "") -> Generator[None]:
    """Let everything that is begun here belong to a W3C context; to what it belonged to anyway, when that is none."""
    with carried({"traceparent": trace_parent, "tracestate": trace_state}):
        yield


@contextmanager
def carried(headers: Mapping[str, str]) -> Generator[None]:
    """The same, for a context as a message or a request carries it."""
    found = propagate.extract(headers)
    if not trace.get_current_span(found).get_span_context().is_valid:
        yield
        return
    token = context.attach(found)
    try:
        yield
    finally:
        context.detach(token)
