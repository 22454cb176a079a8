"""A worker, a queue and a log in memory, and no engine: tasks are put by hand, results are read from the log."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from dagnats.client import AsyncClient
from dagnats.model.cancellation import Cancellation, encode_cancellation
from dagnats.model.event import AnyEvent, Failure, StepCompleted, StepFailed, event_type, failure_of
from dagnats.model.json import encode
from dagnats.model.task import Task, encode_task
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.record import decoded
from dagnats.runtime.worker import Worker
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from dagnats.runtime.memory.adapter import Memory

ENDS = ("step.completed", "step.failed")


class MemoryYard:
    """Made by `memory_yard`."""

    def __init__(self, server: MemoryServer, memory: Memory) -> None:
        self.server = server
        self.memory = memory
        self.ports = memory.ports
        self.client = AsyncClient(memory)
        self._workers: list[asyncio.Task[None]] = []

    def start(self, serves: Iterable[Any], **settings: Any) -> Worker:
        worker = Worker(self.client, serves, **settings)
        self._workers.append(asyncio.create_task(worker.run()))
        return worker

    async def put(self, task_type: str, run_id: str, value: Any = None, **settings: Any) -> None:
        task = Task(run_id=run_id, step_id="work", attempt=1, input=encode(value), **settings)
        await self.ports.tasks.put(task_type, run_id, encode_task(task), id=f"{run_id}.{task_type}")

    def cancel(self, run_id: str) -> None:
        steps = (("work", 1),)
        self.ports.tasks.cancel(run_id, encode_cancellation(Cancellation(run_id=run_id, steps=steps)))

    async def events(self, run_id: str) -> list[AnyEvent]:
        return [record.event for record in decoded(await self.ports.log.read(run_id))]

    async def result(self, run_id: str) -> bytes | Failure:
        """What became of a run's one step; waits for it."""
        found: list[AnyEvent] = []

        async def ended() -> bool:
            found[:] = [event for event in await self.events(run_id) if event_type(event) in ENDS]
            return bool(found)

        await until(ended, what=f"the end of {run_id}")
        (event,) = found
        if isinstance(event, StepFailed):
            return failure_of(event.payload)
        assert isinstance(event, StepCompleted)
        return bytes(event.payload)

    async def is_empty(self) -> None:
        """Wait until every task is acknowledged."""

        async def empty() -> bool:
            return not len(self.server.tasks)

        await until(empty, what="an empty queue")

    async def close(self) -> None:
        for work in self._workers:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


@asynccontextmanager
async def memory_yard() -> AsyncGenerator[MemoryYard]:
    server = MemoryServer()
    async with server.connect() as memory:
        yard = MemoryYard(server, memory)
        try:
            yield yard
        finally:
            await yard.close()
