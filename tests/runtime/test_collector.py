"""A collector of OpenTelemetry: what it gets, and what is said when it takes nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from dagnats.client import AsyncClient
from dagnats.client.ailment import Signs, ailments
from dagnats.client.checkup import signs_of
from dagnats.client.logs import LogQuery, failing_exports, newest_logs
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.telemetry.address import collector_address
from dagnats.runtime.telemetry.exporter import telemetry
from dagnats.runtime.telemetry.note import note
from dagnats.runtime.telemetry.otlp import encode_metric, encode_spans
from dagnats.runtime.telemetry.sample import Sample
from dagnats.runtime.telemetry.span import Span
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Generator

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Collector:
    """A collector on this machine.

    Attributes:
        status: What it answers.
        requests: Path, headers and document of each one.
    """

    def __init__(self) -> None:
        self.status = 200
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.url = ""

    def documents(self, path: str) -> list[Any]:
        return [document for there, _, document in self.requests if there == path]


@contextmanager
def collecting() -> Generator[Collector]:
    collector = Collector()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.requests.append((self.path, headers, json.loads(data)))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_collector_gets_spans_metrics_and_logs_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryServer().connect()
    with collecting() as collector:
        monkeypatch.setenv(BASE, f"{collector.url}/")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20secret,x-team = a")
        async with telemetry(memory.ports) as exporter:
            span = Span(trace_id="a" * 32, span_id="b" * 16, name="run order", start_ns=1, end_ns=2)
            exporter.offer("spans.engine.r1", encode_spans([span], exporter.who))
            sample = Sample("runs_total", "counter", "Runs.", [({"workflow": "order"}, 3.0)])
            exporter.offer("metrics.engine.runs", encode_metric(sample, exporter.who, since_ns=1, now_ns=2))
            note("worker", "WARN", "slow", run_id="r1", attempt=2, trace_parent=f"00-{'a' * 32}-{'c' * 16}-01")
        assert exporter.collector is not None
        assert (exporter.collector.sent, exporter.collector.lost) == (3, 0)
    path, headers, _ = collector.requests[0]
    assert (path, headers["content-type"]) == ("/v1/traces", "application/json")
    assert (headers["authorization"], headers["x-team"]) == ("Bearer secret", "a")
    (traces,), (metrics,), (logs,) = [collector.documents(f"/v1/{each}") for each in ("traces", "metrics", "logs")]
    (told,) = traces["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (told["traceId"], told["name"], told["endTimeUnixNano"]) == ("a" * 32, "run order", "2")
    resource = {each["key"]: each["value"] for each in traces["resourceSpans"][0]["resource"]["attributes"]}
    assert resource["service.name"] == {"stringValue": "dagnats"}
    (metric,) = metrics["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert metric["sum"]["isMonotonic"] is True
    assert metric["sum"]["dataPoints"][0]["asDouble"] == 3.0
    (line,) = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert (line["severityText"], line["severityNumber"], line["body"]) == ("WARN", 13, {"stringValue": "slow"})
    assert (line["traceId"], line["spanId"]) == ("a" * 32, "c" * 16)
    assert {"key": "attempt", "value": {"intValue": "2"}} in line["attributes"]


async def test_a_collector_that_takes_nothing_costs_nothing_but_what_it_does_not_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = MemoryServer().connect()
    with collecting() as collector:
        collector.status = 400
        monkeypatch.setenv(BASE, collector.url)
        async with telemetry(memory.ports) as exporter:
            note("worker", "WARN", "lost to the collector")

            async def told() -> bool:
                return bool(await failing_exports(memory.ports))

            await until(told, what="the exporter's complaint")
            (said,) = await failing_exports(memory.ports)
            assert said.body == f"telemetry cannot be exported to {collector.url}/v1/logs: it answers 400"
            assert said.attributes["lost"] == 1
            (found,) = [each for each in ailments(Signs(exports=(said,))) if each.kind == "telemetry-export"]
            assert (found.grade, found.subject) == ("wrong", f"{collector.url}/v1/logs")
            assert said.body in found.seen
            assert (await signs_of(AsyncClient(memory), "interval")).exports == (said,)

            collector.status = 200
            note("worker", "WARN", "taken")

            async def works() -> bool:
                return not await failing_exports(memory.ports)

            await until(works, what="that it works again")
            assert exporter.collector is not None
            assert (exporter.collector.sent, exporter.collector.lost) == (1, 1)
    bodies = [each.body for each in await newest_logs(memory.ports, LogQuery(service="worker"), 9)]
    assert bodies == ["lost to the collector", "taken"]


async def test_a_collector_that_is_not_there_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryServer().connect()
    monkeypatch.setenv(BASE, "http://127.0.0.1:9")
    begun = asyncio.get_running_loop().time()
    async with telemetry(memory.ports):
        note("worker", "WARN", "lost")
    assert asyncio.get_running_loop().time() - begun < 10
    (said,) = await newest_logs(memory.ports, LogQuery(service="worker"), 9)
    assert said.body == "lost"


def test_where_a_collector_is_is_said_by_the_variables_of_opentelemetry() -> None:
    assert collector_address({}) is None
    assert collector_address({BASE: " "}) is None
    assert collector_address({BASE: "http://c", "OTEL_SDK_DISABLED": "TRUE"}) is None
    found = collector_address({BASE: "http://c:4318/", "OTEL_EXPORTER_OTLP_TIMEOUT": "2500"})
    assert found is not None
    assert found.urls == {each: f"http://c:4318/v1/{each}" for each in ("traces", "metrics", "logs")}
    assert found.timeout_s == 2.5
    own = {BASE: "http://c", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://l/in", "OTEL_METRICS_EXPORTER": "none"}
    chosen = collector_address(own)
    assert chosen is not None
    assert chosen.urls == {"traces": "http://c/v1/traces", "logs": "http://l/in"}
    assert "secret" not in repr(collector_address({BASE: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "k=secret"}))
