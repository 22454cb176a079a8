"""OpenTelemetry's SDK beside us: its current span, and the one that a handler has."""

from __future__ import annotations

import json
import subprocess
import sys

from dagnats.client.stamp import stamp
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.telemetry.context import carried, is_traced, within
from dagnats.runtime.telemetry.sdk import begin_tracing

# A process of its own: an SDK is set up once and for all.
_HANDLER = """
import asyncio, json, os

from opentelemetry import trace

from dagnats import SyncTaskContext, TaskContext, Workflow
from dagnats.client import AsyncClient
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.telemetry.sdk import begin_tracing
from dagnats.runtime.worker import Worker

early = Workflow("early")
wf = Workflow("traced")


@early.step
async def nothing() -> None:
    pass


def seen(given):
    with trace.get_tracer("test").start_as_current_span("inner") as span:
        return [given, f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}"]


@wf.step
async def first(ctx: TaskContext) -> list[str]:
    return seen(ctx.trace)


@wf.step(after=first)
def second(ctx: SyncTaskContext) -> list[str]:
    return seen(ctx.trace)


async def main():
    memory = MemoryServer().connect()
    client = AsyncClient(memory)
    tasks = [Engine(memory.ports, memory.feeds).run(alone=True), Worker(client, [early, wf]).run()]
    tasks = [asyncio.create_task(each) for each in tasks]
    await client.register(early)
    await client.register(wf)
    await client.run(early)
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # from now on somebody collects spans
    assert begin_tracing()
    assert not begin_tracing()
    run = await client.start(wf)
    await run.result()
    view = await run.view()
    print(json.dumps([step.output for step in view.steps]), flush=True)
    os._exit(0)


asyncio.run(main())
"""


def test_what_is_started_inside_of_a_context_belongs_to_it() -> None:
    mine = f"00-{'a' * 32}-{'b' * 16}-01"
    with within(mine, "vendor=1"):
        assert stamp(SystemClock())["trace_parent"] == mine
        assert stamp(SystemClock())["trace_state"] == "vendor=1"
        with carried({"traceparent": "none at all"}):
            assert stamp(SystemClock())["trace_parent"] == mine
    assert stamp(SystemClock())["trace_parent"] not in (mine, stamp(SystemClock())["trace_parent"])


def test_without_an_sdk_nothing_is_done() -> None:
    assert not is_traced()
    assert not begin_tracing({})
    assert not begin_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"})


def test_spans_that_a_handler_makes_are_under_its_attempt() -> None:
    told = subprocess.run([sys.executable, "-c", _HANDLER], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    for given, above in json.loads(told.stdout):
        assert given == f"00-{above}-01"
