"""Situations that people ask about, in memory and virtual time: engines and workers that are there, frozen or dead."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.client.diagnose import mended
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.worker import Worker
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.client import RunHandle
    from dagnats.client.ailment import Ailment
    from dagnats.client.diagnosis import Finding
    from dagnats.runtime.ports import Clock, Ports, Sync

TASK = "scene.work"


def one_step(name: str = "solo", task: Any = TASK) -> Workflow[Any, Any]:
    """A workflow of the one step `work`."""
    workflow: Workflow[Any, Any] = Workflow(name)
    workflow.task("work", task)
    return workflow


class Scene:
    """A server in memory, a client, and processes that can be stopped. Make it on a `VirtualLoop`."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.connection = self.server.connect()
        self.client = AsyncClient(self.connection)
        self.ports: Ports = self.connection.ports
        self.engine: Process
        self._processes: list[Process] = []

    def _process(self, name: str) -> Process:
        process = Process(virtual_loop(), name)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End all processes, the frozen ones too: nobody else could."""
        for process in self._processes:
            process.kill()

    def lead(self, **settings: Any) -> Process:
        """Start an engine."""
        self.engine = self._process("engine")
        memory = self.engine.run(self.server.connect)
        self.engine.spawn(Engine(memory.ports, memory.feeds, **settings).run(alone=True))
        return self.engine

    async def serve(self, serves: Iterable[Any], worker_id: str = "w1", **settings: Any) -> Process:
        """Start a worker, and wait until it is listed."""
        process = self._process(worker_id)
        client = AsyncClient(process.run(self.server.connect))
        process.spawn(Worker(client, serves, worker_id=worker_id, **settings).run())

        async def is_listed() -> bool:
            return worker_id in {worker.worker_id for worker in await self.client.workers()}

        await until(is_listed)
        return process

    def with_port(self, name: str, port: Any, *, clock: Clock | None = None) -> AsyncClient:
        """A client for which one of the ports is another: of a machine that this one is not."""
        connection = self.server.connect(clock=clock)
        connection.ports = replace(connection.ports, **{name: port})
        return AsyncClient(connection)

    # -- runs ------------------------------------------------------------------------------------------------

    async def start(self, workflow: Workflow[Any, Any], run_id: str = "run-0001", value: Any = None) -> RunHandle:
        """Register a workflow and start a run of it."""
        await self.client.register(workflow)
        return await self.client.start(workflow.build().name, value, run_id=run_id)

    async def in_flight(self, run: RunHandle, step: str = "work") -> None:
        """Wait until a step is handed out."""

        async def is_so() -> bool:
            return any(each.in_flight for each in (await run.view()).steps if each.id == step)

        await until(is_so, what=f"{step} of {run.run_id}")

    async def is_queued(self, run: RunHandle, task: str = TASK) -> bool:
        """Whether the run's task lies in its queue."""
        return bool(await self.ports.tasks.waiting(task, run.run_id))

    async def handed_out(self, run: RunHandle, task: str = TASK) -> None:
        """Wait until the run's task lies in its queue."""
        await until(lambda: self.is_queued(run, task), what=f"a task of {run.run_id}")

    async def is_ill(self, kind: str) -> bool:
        """Whether it is found of the whole, and is for somebody to do something about."""
        return (kind, "wrong") in {(each.kind, each.grade) for each in (await self.client.checkup()).found}

    async def running(self, run: RunHandle, step: str = "work") -> None:
        """Wait until a worker has said that it began a step."""

        async def is_so() -> bool:
            return any(each.status == "running" for each in (await run.view()).steps if each.id == step)

        await until(is_so, what=f"{step} of {run.run_id}")

    # -- what is said ----------------------------------------------------------------------------------------

    async def finding(self, run: RunHandle, kind: str) -> Finding:
        """Wait until it is found of a run."""
        found: list[Finding] = []

        async def is_found() -> bool:
            found[:] = [each for each in (await self.client.diagnose(run.run_id))[1] if each.kind == kind]
            return bool(found)

        await until(is_found, within_s=30, what=lambda: f"{kind}; the last look found {found}")
        return found[0]

    async def ailment(
        self, kind: str, subject: str = "", *, client: AsyncClient | None = None, asked_sync: Sync = "interval"
    ) -> Ailment:
        """Wait until it is found of the whole."""
        found: list[Ailment] = []

        async def is_found() -> bool:
            checked = await (client or self.client).checkup(asked_sync=asked_sync)
            found[:] = [each for each in checked.found if each.kind == kind and subject in ("", each.subject)]
            return bool(found)

        await until(is_found, within_s=30, what=kind)
        return found[0]

    async def fix_run(self, run: RunHandle, found: Finding) -> None:
        """What `run diagnose --fix` does, and that it helps."""
        assert await mended(self.client, await run.view(), found, by="ann")

        async def is_gone() -> bool:
            return found.kind not in {each.kind for each in (await self.client.diagnose(run.run_id))[1]}

        await until(is_gone, what=f"the end of {found.kind}")

    async def fix_all(self, kind: str) -> None:
        """What `doctor --fix` does, and that it helps."""
        assert kind in {each.kind for each in (await self.client.checkup(fix=True, by="ann")).fixed}

        async def is_gone() -> bool:
            return kind not in {each.kind for each in (await self.client.checkup()).found}

        await until(is_gone, what=f"the end of {kind}")


Situation = Callable[[Scene], Awaitable[tuple[Any, tuple[str, ...]]]]


class Situations(dict[str, Situation]):
    """Situations by the kind of what is found."""

    def of(self, kind: str) -> Callable[[Situation], Situation]:
        """Add the situation in which this is found."""

        def add(situation: Situation) -> Situation:
            assert kind not in self, f"two situations make {kind}"
            assert inspect.iscoroutinefunction(situation)
            self[kind] = situation
            return situation

        return add


def played(situation: Callable[[Scene], Awaitable[Any]]) -> Any:
    """What a situation gives, in virtual time."""

    async def play() -> Any:
        scene = Scene()
        try:
            return await situation(scene)
        finally:
            scene.close()

    work: Coroutine[Any, Any, Any] = play()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
