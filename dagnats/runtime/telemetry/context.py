"""OpenTelemetry's current context: what is started inside of one belongs to it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from opentelemetry import context, propagate, trace

from dagnats.model.trace import step_trace_parent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Mapping

    from dagnats.model.task import Task

T = TypeVar("T")


def is_traced() -> bool:
    """Whether somebody has set up an SDK in this process."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


async def spanned(task: Task, call: Awaitable[T]) -> T:
    """Let spans that a handler makes, by its `call`, belong to its attempt."""
    with within(step_trace_parent(task.traceparent, task.run_id, task.step_id, task.attempt)):
        return await call


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
