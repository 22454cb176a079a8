"""Logs, spans and metrics as OpenTelemetry writes them in JSON: how spans and metrics are kept, and all are exported.

Of the formats there are, this one every collector takes and people can read with the `nats` tool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from dagnats.model.instant import parse_rfc3339
from dagnats.runtime.telemetry.span import Moment, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dagnats.runtime.telemetry.entry import LogEntry
    from dagnats.runtime.telemetry.sample import Sample

SIGNALS = {
    "spans": ("traces", "resourceSpans"),
    "metrics": ("metrics", "resourceMetrics"),
    "logs": ("logs", "resourceLogs"),
}
"""By the first word of a subject: the last word of the path that takes it, and the member that holds it."""

_SCOPE = "dagnats"
_INTERNAL = 1
_CODES = {"unset": 0, "ok": 1, "error": 2}
_STATUSES = {0: "unset", 1: "ok", 2: "error"}
_NUMBERS = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17}
_CUMULATIVE = 2
_encode = msgspec.json.Encoder().encode


def resource(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Who says something."""
    return {"attributes": _attributes(attributes)}


# -- spans -------------------------------------------------------------------------------------------------


def encode_spans(spans: Iterable[Span], who: Mapping[str, Any]) -> bytes:
    """Spans of one process."""
    scope = {"scope": {"name": _SCOPE}, "spans": [_span(span) for span in spans]}
    return _encode({"resourceSpans": [{"resource": who, "scopeSpans": [scope]}]})


def _span(span: Span) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.above,
        "name": span.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
        "status": {"code": _CODES[span.status], **({"message": span.error} if span.error else {})},
    }
    if span.moments:
        document["events"] = [{"timeUnixNano": str(each.time_ns), "name": each.name} for each in span.moments]
    return document


def decode_spans(data: bytes) -> list[Span]:
    """Spans from their bytes, whoever wrote them; what is none is left out."""
    try:
        found = msgspec.json.decode(data, type=_Traces)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [_read(each) for resource in found.resourceSpans for scope in resource.scopeSpans for each in scope.spans]


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Event(msgspec.Struct):
    timeUnixNano: int | str = 0  # noqa: N815  # theirs
    name: str = ""


class _Attribute(msgspec.Struct):
    key: str
    value: dict[str, Any] = {}


class _Span(msgspec.Struct):
    traceId: str  # noqa: N815
    spanId: str  # noqa: N815
    name: str = ""
    parentSpanId: str = ""  # noqa: N815
    startTimeUnixNano: int | str = 0  # noqa: N815
    endTimeUnixNano: int | str = 0  # noqa: N815
    attributes: list[_Attribute] = []
    status: _Status = _Status()
    events: list[_Event] = []


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct):
    scopeSpans: list[_Scope] = []  # noqa: N815


class _Traces(msgspec.Struct):
    resourceSpans: list[_Resource] = []  # noqa: N815


def _read(found: _Span) -> Span:
    return Span(
        trace_id=found.traceId,
        span_id=found.spanId,
        above=found.parentSpanId,
        name=found.name,
        start_ns=_nanos(found.startTimeUnixNano),
        end_ns=_nanos(found.endTimeUnixNano),
        status=cast("Any", _STATUSES.get(found.status.code, "unset")),
        error=found.status.message,
        attributes={each.key: _plain(each.value) for each in found.attributes},
        moments=tuple(Moment(_nanos(each.timeUnixNano), each.name) for each in found.events),
    )


def _nanos(said: int | str) -> int:
    return int(said) if isinstance(said, int) or said.isdigit() else 0


def _plain(value: Mapping[str, Any]) -> str | int | float | bool:
    for kind, held in value.items():
        if kind == "intValue" and isinstance(held, str) and held.removeprefix("-").isdigit():
            return int(held)
        if isinstance(held, str | int | float | bool):
            return held
    return str(dict(value))


# -- logs --------------------------------------------------------------------------------------------------


def log_document(entries: Sequence[LogEntry], who: Mapping[str, Any]) -> dict[str, Any]:
    """Lines of one process."""
    scope = {"scope": {"name": _SCOPE}, "logRecords": [_line(entry) for entry in entries]}
    return {"resource": who, "scopeLogs": [scope]}


def _line(entry: LogEntry) -> dict[str, Any]:
    told = {name: value for name, value in entry.attributes.items() if value is not None}
    return {
        "timeUnixNano": str(parse_rfc3339(entry.timestamp)),
        "severityNumber": _NUMBERS.get(entry.severity, 0),
        "severityText": entry.severity,
        "body": {"stringValue": entry.body},
        "attributes": _attributes({"dagnats.service": entry.service_name, **told}),
        "traceId": entry.trace_id,
        "spanId": entry.span_id,
    }


# -- metrics -----------------------------------------------------------------------------------------------


def encode_metric(sample: Sample, who: Mapping[str, Any], *, since_ns: int, now_ns: int) -> bytes:
    """A metric with all its values, as of now."""
    points = [
        {
            "attributes": _attributes(labels),
            "startTimeUnixNano": str(since_ns),
            "timeUnixNano": str(now_ns),
            "asDouble": value,
        }
        for labels, value in sample.values
    ]
    kind = (
        {"sum": {"dataPoints": points, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True}}
        if sample.kind == "counter"
        else {"gauge": {"dataPoints": points}}
    )
    scope = {"scope": {"name": _SCOPE}, "metrics": [{"name": sample.name, "description": sample.help, **kind}]}
    return _encode({"resourceMetrics": [{"resource": who, "scopeMetrics": [scope]}]})


# -- attributes --------------------------------------------------------------------------------------------


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: object) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}
