"""`/v1/logs`, and the logs and the trace of a run."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dagnats.client.logs import MOST, follow_logs, log_instant, log_query, logs_since, newest_logs, run_logs
from dagnats.client.trace import SpanDocument, span_document, trace
from dagnats.errors import DagnatsError, Problem
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing
from dagnats.runtime.api.problem import invalid
from dagnats.runtime.api.sse import Sent, sent, wants_events
from dagnats.runtime.telemetry.entry import LogEntry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.responses import Response

_LIMIT = 100


class OfRun(Order):
    """Which lines are meant: of one level, of one service, with a text in them; at most so many, the newest."""

    level: str = ""
    service: str = ""
    text: str = ""
    limit: Annotated[int, Field(ge=1, le=MOST)] = _LIMIT


class Lines(OfRun):
    """The same, and since when: an age such as `30m`, or an instant; nothing at all for whenever."""

    since: str = "30m"


async def lines(asked: Asked[Lines, None]) -> Response | list[LogEntry]:
    """List what was logged by workers, engines and servers, oldest first; as an event stream, what is from now on."""
    said, ports = asked.query, asked.client.connection.ports
    query = log_query(level=said.level, service=said.service, text=said.text)
    if wants_events(asked.headers):
        return sent(_events(follow_logs(ports, query)), asked.stopping)
    if not said.since:
        return await newest_logs(ports, query, said.limit)
    return await logs_since(ports, query, _instant(said.since, ports.clock.now_ns()), limit=said.limit)


async def _events(entries: AsyncGenerator[LogEntry]) -> AsyncGenerator[Sent]:
    async with aclosing(entries):
        at = 0  # a line has no place that a reader could go on behind
        async for entry in entries:
            at += 1
            yield Sent("log", str(at), entry)


async def of_run(asked: Asked[OfRun, None]) -> list[LogEntry]:
    """List what was logged about a run, by its handlers and by the system, oldest first."""
    said, view = asked.query, await asked.run.view()
    query = log_query(level=said.level, service=said.service, run_id=view.run_id, text=said.text)
    ports = asked.client.connection.ports
    return await run_logs(ports, query, begun_ns=view.created_ns, ended_ns=view.ended_ns, limit=said.limit)


async def spans(asked: Asked[Nothing, None]) -> list[SpanDocument]:
    """List the spans of a run's trace, by their starts."""
    found = await trace(asked.client.connection.ports, asked.run.run_id)
    return [span_document(span) for span in found]


def _instant(since: str, now_ns: int) -> int:
    """When so long ago, or the instant that is said, was. Raises Fault 400."""
    try:
        return log_instant(since, now_ns)
    except DagnatsError as error:
        raise invalid(Problem("?since", "instant", str(error), error.hint), what="the query") from None
