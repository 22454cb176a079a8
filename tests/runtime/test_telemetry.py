"""Telemetry of workers and engines: it comes, it is bounded, and nothing waits for it. In memory and virtual time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Abort, SyncTaskContext, TaskContext, Workflow
from dagnats.client import AsyncClient
from dagnats.client.logs import LogQuery, follow_logs, log_query, logs_since, newest_logs, run_logs
from dagnats.client.trace import trace
from dagnats.errors import NotFoundError
from dagnats.model.instant import rfc3339
from dagnats.model.trace import run_span, step_span
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.telemetry.context import within
from dagnats.runtime.telemetry.entry import LogEntry, encode_log
from dagnats.runtime.telemetry.exporter import Exporter, resource_attributes, telemetry
from dagnats.runtime.telemetry.logbook import Logbook, entry_of
from dagnats.runtime.telemetry.note import note
from dagnats.runtime.telemetry.observer import Observer
from dagnats.runtime.telemetry.otlp import decode_spans
from dagnats.runtime.telemetry.reader import tell_metrics
from dagnats.runtime.worker import Worker
from tests.api.site import in_virtual_time
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.memory.adapter import Memory

wf = Workflow("traced")


@wf.step
async def look(n: int, ctx: TaskContext) -> int:
    ctx.logger.info("looking at %d", n, extra={"size": 3})
    if n < 0:
        raise Abort("too small")
    if n > 9:
        await ctx.start("traced", 1)
    return n


plain = Workflow("plain")


@plain.step
def weigh(n: int, ctx: SyncTaskContext) -> str:
    ctx.logger.warning("heavy")
    return ctx.trace


@asynccontextmanager
async def observed() -> AsyncGenerator[Memory]:
    """An engine that is watched, and a worker."""
    memory = MemoryServer().connect()
    client = AsyncClient(memory)
    for workflow in (wf, plain):
        await client.register(workflow)
    logging.getLogger("dagnats").setLevel(logging.INFO)
    async with telemetry(memory.ports) as exporter:
        observer = Observer(memory.ports, exporter)
        worker = Worker(client, [wf, plain], worker_id="w1")
        tasks = [
            asyncio.create_task(work)
            for work in (Engine(observer.ports, memory.feeds).run(alone=True), observer.tracer.run(), worker.run())
        ]
        try:
            yield memory
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            logging.getLogger("dagnats").setLevel(logging.NOTSET)


async def lines(memory: Memory, count: int, query: LogQuery = LogQuery()) -> list[LogEntry]:  # noqa: B008  # frozen
    """The lines that are there, once they are so many."""

    async def there() -> bool:
        return len(await newest_logs(memory.ports, query, 100)) >= count

    await until(there, what=f"{count} lines")
    return await newest_logs(memory.ports, query, 100)


@in_virtual_time
async def test_what_a_handler_logs_is_found_by_its_run_with_its_attempt_and_its_trace() -> None:
    async with observed() as memory:
        client = AsyncClient(memory)
        run = await client.start(wf, 4)
        await run.result()
        other = await client.start(wf, 5)
        await other.result()
        await lines(memory, 2)
        view = await run.view()
        about = LogQuery(run_id=run.run_id)
        (said,) = await run_logs(memory.ports, about, begun_ns=view.created_ns, ended_ns=view.ended_ns)
        assert (said.body, said.severity, said.service_name) == ("looking at 4", "INFO", "worker")
        assert said.attributes == {
            "run_id": run.run_id,
            "step_id": "look",
            "attempt": 1,
            "workflow": "traced",
            "size": 3,
            "task": "traced.look",
        }
        assert (said.trace_id, said.span_id) == (view.trace_parent.split("-")[1], step_span(run.run_id, "look", 1))


@in_virtual_time
async def test_a_failed_attempt_says_where_its_handler_raised_and_what_became_of_the_run() -> None:
    async with observed() as memory:
        run = await AsyncClient(memory).start(wf, -1)
        await run.wait()
        found = await lines(memory, 4)
        assert [(each.severity, each.service_name, each.body) for each in found[1:]] == [
            ("WARN", "worker", "attempt failed"),
            ("ERROR", "engine", "step failed"),
            ("ERROR", "engine", "run failed"),
        ]
        assert {each.attributes["run_id"] for each in found} == {run.run_id}
        assert {each.attributes["error"] for each in found[1:]} == {"too small"}
        raised = str(found[1].attributes["exception"])
        assert raised.startswith("Traceback (most recent call last):\n")
        assert raised.endswith('raise Abort("too small")\ndagnats.errors.Abort: too small')
        assert "dagnats/runtime/invocation.py" not in raised
        assert found[3].span_id == run_span(run.run_id)


@in_virtual_time
async def test_threads_of_sync_handlers_log_too_and_have_the_trace_of_their_attempt() -> None:
    async with observed() as memory:
        run = await AsyncClient(memory).start(plain, 1)
        given: Any = await run.result()
        (said,) = await lines(memory, 1, LogQuery(level="WARN"))
        assert said.body == "heavy"
        assert given == f"00-{said.trace_id}-{said.span_id}-01"
        assert said.span_id == step_span(run.run_id, "weigh", 1)


@in_virtual_time
async def test_the_spans_of_an_ended_run_are_told_and_a_run_that_its_handler_starts_is_under_its_step() -> None:
    async with observed() as memory:
        run = await AsyncClient(memory).start(wf, 10)
        await run.result()

        async def told() -> bool:
            return len(await memory.ports.telemetry.newest("spans.>", 9)) == 2

        await until(told, what="the spans of two runs")
        pieces = await memory.ports.telemetry.newest("spans.>", 9)
        found = {piece.subject.removeprefix("spans.engine."): decode_spans(piece.data) for piece in pieces}
        (inner,) = found.keys() - {run.run_id}
        assert [span.name for span in found[run.run_id]] == ["run traced", "step look"]
        assert found[inner][0].above == found[run.run_id][1].span_id
        assert found[inner][0].trace_id == found[run.run_id][0].trace_id
        assert found[run.run_id] == await trace(memory.ports, run.run_id)


@in_virtual_time
async def test_a_run_of_a_trace_that_nobody_wants_kept_is_not_for_a_collector() -> None:
    async with observed() as memory, telemetry(memory.ports) as exporter:
        offered: list[bool] = []
        offer = exporter.offer

        def heard(subject: str, data: bytes, *, collected: bool = True) -> None:
            if subject.startswith("spans."):
                offered.append(collected)
            offer(subject, data, collected=collected)

        exporter.offer = heard
        for flags in ("00", "01"):
            with within(f"00-{'a' * 32}-{'b' * 16}-{flags}"):
                run = await AsyncClient(memory).start(wf, 1)
            await run.result()
            await asyncio.sleep(5)
        assert offered == [False, True]


@in_virtual_time
async def test_of_very_many_runs_some_are_told_and_those_that_failed_first() -> None:
    memory = MemoryServer().connect()
    exporter = Exporter(memory.ports.telemetry, memory.ports.clock)
    tracer = Observer(memory.ports, exporter).tracer
    client = AsyncClient(memory)
    await client.register(wf)
    run = await client.start(wf, 1)
    (start,) = await memory.ports.log.read(run.run_id)
    for _ in range(1_000):
        tracer.end(start)
    tracer.end(msgspec.structs.replace(start, data=b'{"type":"workflow.failed"}', run_id="failed-one"))
    assert tracer.lost == 800
    telling = asyncio.create_task(tracer.run())
    await asyncio.sleep(1.2)
    assert 0 < tracer.told < 25
    await asyncio.sleep(100)
    assert tracer.told == 201
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


@in_virtual_time
async def test_telemetry_beyond_what_may_wait_is_lost_and_counted() -> None:
    memory = MemoryServer().connect()
    async with telemetry(memory.ports) as exporter:
        for number in range(6_000):
            exporter.offer("logs.worker.INFO", b"%d" % number)
        assert exporter.lost == 1_000
        await asyncio.sleep(60)
        assert (await memory.ports.telemetry.held()).messages == 5_000
        exporter.offer("logs.worker.INFO", b"last")
    assert (await memory.ports.telemetry.newest("logs.>", 1))[0].data == b"last"


@in_virtual_time
async def test_telemetry_waits_for_a_lost_connection_and_nobody_waits_for_telemetry() -> None:
    memory = MemoryServer().connect()
    there = memory.ports.telemetry
    async with telemetry(memory.ports) as exporter:
        memory.link.closed = True
        note("engine", "INFO", "into the void")
        await asyncio.sleep(30)
        memory.link.closed = False
        await asyncio.sleep(30)
        assert exporter.lost == 0
    (said,) = await newest_logs(memory.ports, LogQuery(), 9)
    assert said.body == "into the void"
    assert await there.newest("logs.>", 9)


@in_virtual_time
async def test_each_record_goes_one_way_however_many_workers_share_a_process() -> None:
    memory = MemoryServer().connect()
    async with telemetry(memory.ports) as outer, telemetry(memory.ports) as inner:
        assert inner is outer
        logging.getLogger("dagnats.engine").warning("only %s", "once")
        misfit = logging.LogRecord("dagnats.engine", 30, "", 0, "does not %d", ("fit",), None)
        Logbook(lambda: outer, memory.ports.clock).emit(misfit)
    assert [each.body for each in await newest_logs(memory.ports, LogQuery(), 9)] == ["only once"]
    note("engine", "INFO", "nobody hears it")
    assert len(await newest_logs(memory.ports, LogQuery(), 9)) == 1


def test_a_record_that_cannot_be_carried_as_it_is_is_cut_and_escaped() -> None:
    record = logging.LogRecord("dagnats.http", 50, "", 0, "bad \ud800 " + "x" * 9_000, None, None)
    record.odd = object()
    entry = entry_of(record, "2026-11-21T10:54:00Z")
    assert (entry.service_name, entry.severity) == ("api", "ERROR")
    assert entry.body.startswith("bad \\ud800 x")
    assert len(entry.body) == 8_193
    assert str(entry.attributes["odd"]).startswith("<object")
    for name, service in (("dagnats", "dagnats"), ("dagnats.task.a.b", "worker"), ("dagnats.nats", "nats")):
        made = entry_of(logging.LogRecord(name, 10, "", 0, "m", None, None), "")
        assert (made.service_name, made.severity) == (service, "DEBUG")


@in_virtual_time
async def test_lines_are_searched_by_text_level_service_and_time() -> None:
    memory = MemoryServer().connect()
    async with telemetry(memory.ports):
        note("worker", "WARN", "slow", run_id="r1", error="Größe")
        note("api", "INFO", "started run", run_id="r2")
        await asyncio.sleep(1)
        middle_ns = memory.ports.clock.now_ns()
        await asyncio.sleep(1)
        note("worker", "INFO", "fast", run_id="r2")
    memory.ports.telemetry.put("logs.worker.INFO", b"not ours")
    everything = LogQuery()

    async def found(query: LogQuery, since_ns: int = 0) -> list[str]:
        return [each.body for each in await logs_since(memory.ports, query, since_ns)]

    assert await found(everything) == ["slow", "started run", "fast"]
    assert await found(everything, middle_ns) == ["fast"]
    assert await found(log_query(text="größe")) == ["slow"]
    assert await found(log_query(level="warning")) == ["slow"]
    assert await found(log_query(service="worker")) == ["slow", "fast"]
    assert await found(log_query(service="worker", level="info")) == ["fast"]
    assert await found(LogQuery(run_id="r2")) == ["started run", "fast"]
    assert [each.body for each in await newest_logs(memory.ports, LogQuery(run_id="r1"), 1)] == ["slow"]
    assert log_query(level="ERROR").subject == "logs.*.ERROR"


@in_virtual_time
async def test_lines_stand_in_the_order_in_which_they_were_said_whenever_they_came() -> None:
    memory = MemoryServer().connect()
    now_ns = memory.ports.clock.now_ns()
    for body, timestamp in (
        ("second", rfc3339(now_ns + 2)),
        ("first", rfc3339(now_ns - 1_000_000_000)),
        ("third", f"{rfc3339(now_ns + 60_000_000_000).partition('.')[0]}+00:00"),
        ("by when it came", "noon"),
    ):
        memory.ports.telemetry.put("logs.worker.INFO", encode_log(LogEntry(body=body, timestamp=timestamp)))

    said = ["first", "by when it came", "second", "third"]
    assert [each.body for each in await newest_logs(memory.ports, LogQuery(), 9)] == said
    assert [each.body for each in await logs_since(memory.ports, LogQuery(), now_ns)] == said
    assert [each.body for each in await logs_since(memory.ports, LogQuery(), now_ns, limit=1)] == ["third"]


@in_virtual_time
async def test_lines_are_followed_as_they_come() -> None:
    memory = MemoryServer().connect()
    async with telemetry(memory.ports):
        following = follow_logs(memory.ports, LogQuery(level="ERROR"))
        coming = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        note("engine", "INFO", "one")
        note("engine", "ERROR", "two")
        assert (await coming).body == "two"
        await following.aclose()


@in_virtual_time
async def test_metrics_are_told_every_minute() -> None:
    memory = MemoryServer().connect()
    async with telemetry(memory.ports) as exporter:
        observer = Observer(memory.ports, exporter)
        telling = asyncio.create_task(tell_metrics(memory.ports, observer.meter, exporter))
        await asyncio.sleep(timedelta(minutes=2, seconds=10).total_seconds())
        telling.cancel()
        (piece, again) = await memory.ports.telemetry.newest("metrics.engine.dagnats_nats_up", 9)
    assert b'"asDouble":1.0' in piece.data
    assert again.time_ns - piece.time_ns > 59_000_000_000


@in_virtual_time
async def test_a_trace_of_no_run_is_none() -> None:
    memory = MemoryServer().connect()
    with pytest.raises(NotFoundError, match="nobody"):
        await trace(memory.ports, "nobody")


def test_a_process_is_named_as_the_variables_of_opentelemetry_say() -> None:
    assert resource_attributes({})["service.name"] == "dagnats"
    told = resource_attributes({"OTEL_RESOURCE_ATTRIBUTES": "team=a, env = b,odd", "OTEL_SERVICE_NAME": "shop"})
    assert (told["service.name"], told["team"], told["env"]) == ("shop", "a", "b")
    assert "odd" not in told
