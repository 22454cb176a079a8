"""`/v1/logs`, and the logs and the trace of a run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dagnats.client.logs import MOST, log_query, logs_since, run_logs
from dagnats.client.moment import instant_of
from dagnats.client.trace import SpanDocument, span_document, trace
from dagnats.errors import DagnatsError, Problem
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing
from dagnats.runtime.api.problem import invalid
from dagnats.runtime.telemetry.entry import LogEntry

_LIMIT = 100


class OfRun(Order):
    """Which lines are meant: of one level, of one service, with a text in them; at most so many, the newest."""

    level: str = ""
    service: str = ""
    text: str = ""
    limit: Annotated[int, Field(ge=1, le=MOST)] = _LIMIT


class Lines(OfRun):
    """The same, and since when: an age such as `30m`, or an instant."""

    since: str = "30m"


async def lines(asked: Asked[Lines, None]) -> list[LogEntry]:
    """List what workers, engines and servers have logged, oldest first."""
    said, ports = asked.query, asked.client.connection.ports
    since_ns = _instant(said.since, ports.clock.now_ns())
    query = log_query(level=said.level, service=said.service, text=said.text)
    return await logs_since(ports, query, since_ns, limit=said.limit)


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
        return now_ns - duration_nanos(parse_duration(since))
    except (ValueError, OverflowError):
        pass
    try:
        return instant_of(since, now_ns=now_ns)
    except DagnatsError as error:
        raise invalid(Problem("?since", "instant", str(error)), what="the query") from None
