"""What a worker tells the log, in memory."""

from __future__ import annotations

import asyncio

from dagnats.model.event import Failure, event_type
from dagnats.model.task import Task
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.record import decoded
from dagnats.runtime.report import Reporter


async def _told() -> list[str]:
    """Everything that can be said of one attempt, each twice."""
    ports = MemoryServer().connect().ports
    reporter = Reporter(ports, "w1")
    task = Task(task_id="r.a", run_id="r", step_id="a", attempt=1)
    for _ in range(2):
        await reporter.begun(task)
        await reporter.failed(task, Failure(error="boom"))
        await reporter.completed(task, b"1", started_ns=0)
        await reporter.continued(task, b"2", started_ns=0)
    return [event_type(record.event) for record in decoded(await ports.log.read("r"))]


def test_different_events_of_one_attempt_are_all_stored_and_each_of_them_once() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        told = runner.run(_told())
    assert told.count("step.failed") == told.count("step.completed") == told.count("step.continue") == 1
    assert told.index("step.started") == 0
