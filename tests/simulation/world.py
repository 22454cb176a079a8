"""One server, some engines, workers and clients, each a process that can be killed, frozen and started again."""

from __future__ import annotations

from collections import Counter
from contextvars import Context
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from dagnats.client.client import AsyncClient
from dagnats.model.pointer import STATE_BYTES
from dagnats.runtime.blob import INLINE_BYTES
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.clock import MemoryClock
from dagnats.runtime.memory.link import TIMEOUT_S
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.worker import Worker
from tests.simulation.network import Boundary, Network, Point, RoughLink
from tests.simulation.workload import GROUP

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from dagnats.handling.handler import Handler
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.memory.adapter import Memory
    from dagnats.runtime.memory.loop import VirtualLoop
    from tests.simulation.tracing import Trace


class Machine:
    """A process that is started again when it died.

    Attributes:
        clock: Its wall clock, which survives it.
        process: Its present incarnation; None while it is down.
        lives: How often it was started.
        retired: Whether it is not started any more, whoever has meant to.
    """

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.clock = MemoryClock()
        self.process: Process | None = None
        self.lives = 0
        self.retired = False
        self._world = world
        self._task: asyncio.Task[None] | None = None
        self._worker: Worker | None = None

    @property
    def is_engine(self) -> bool:
        return self.name.startswith("engine")

    def start(self) -> None:
        """Bring it up, unless it is."""
        if self.process is not None or self.retired:
            return
        self.lives += 1
        self.process = Process(self._world.loop, self.name)
        connection = self._world.connect(self.process, self.name, self.clock)
        run = self._engine if self.is_engine else self._work
        self._task = self.process.spawn(self._watched(run, connection))

    async def _watched(self, run: Callable[[Memory], Awaitable[None]], connection: Memory) -> None:
        try:
            await run(connection)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not have ended
            self._world.broken.append(f"{self.name} ended by {type(error).__name__}: {error}")

    async def _engine(self, connection: Memory) -> None:
        settings = self._world.settings
        # All runs stay: what became of them is looked at in the end.
        engine = Engine(
            connection.ports,
            connection.feeds,
            save_after=timedelta(seconds=settings.save_after_s),
            keep=None,
            pace=settings.pace,
        )
        await engine.run()

    async def _work(self, connection: Memory) -> None:
        settings = self._world.settings
        self._worker = Worker(
            AsyncClient(connection),
            self._world.handlers,
            concurrency=settings.concurrency,
            worker_id=self.name if settings.named else "",
            ack_wait=timedelta(seconds=settings.ack_wait_s),
            grace=timedelta(seconds=0.05),
            cancel_grace=timedelta(seconds=1),
            group=GROUP if self.name == settings.apart else "",
        )
        await self._worker.run()

    def kill(self) -> None:
        """End it between two instructions, or in the middle of a callback whose calls then go nowhere."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def retire(self) -> None:
        """End it for good."""
        self.kill()
        self.retired = True

    def stop(self) -> None:
        """Ask it to end, as SIGTERM does. It is started again when it has ended."""
        if self.process is not None and self._task is not None:
            self.process.run(self._worker.stop if self._worker is not None else self._task.cancel)
            self._task.add_done_callback(self._stopped, context=Context())

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self.kill()
            self._world.later(0.5, self.start)


_FEW_BYTES = 250  # a little more than a reference has


class Settings:
    """What differs from execution to execution in how things are set up."""

    def __init__(self, random: Random) -> None:
        self.engines = random.choice([1, 1, 2, 2, 3])
        self.workers = random.choice([1, 2, 2, 3])
        self.save_after_s = random.choice([0.0, 0.2, 1.0])
        self.pace = random.choice([1.0, 0.5, 0.5])
        self.concurrency = random.choice([2, 6, 16])
        self.ack_wait_s = random.choice([1.5, 3.0])
        self.timeout_s = random.choice([TIMEOUT_S, 1.0, 1.0])
        self.window_s = random.choice([30.0, 30.0, 6.0])
        self.inline_bytes = random.choice([INLINE_BYTES, _FEW_BYTES])
        drawn = Random(str(vars(self)))  # what is drawn after these stays the same
        self.state_bytes = drawn.choice([STATE_BYTES, 0, 20])
        self.remembers = drawn.choice([True, False])
        self.position_after_s = drawn.choice([0.05, 0.25, 0.25])
        self.apart = ""
        self.named = False

    def part(self, definitions: Sequence[WorkflowDef]) -> None:
        """Have a worker of the group, when there is work for it, and workers that come back under their names."""
        self.named = self.concurrency < 10 and any(definition.sticky for definition in definitions)
        if any(step.worker_group for definition in definitions for step in definition.steps):
            self.apart = f"worker{self.workers}"
            self.workers += 1


class OneOfEach(Settings):
    """One engine and one worker, and nothing left to chance."""

    def __init__(self) -> None:
        self.engines = self.workers = 1
        self.save_after_s = 0.0
        self.pace = 1.0
        self.concurrency = 4
        self.ack_wait_s = 2.0
        self.timeout_s = TIMEOUT_S
        self.window_s = 30.0
        self.inline_bytes = INLINE_BYTES
        self.state_bytes = STATE_BYTES
        self.remembers = True
        self.apart = ""
        self.named = True


class World:
    """Everything there is.

    Attributes:
        machines: Engines and workers, by name.
        broken: What ended that must not.
        deaths: How often a process died at which boundary.
    """

    def __init__(self, loop: VirtualLoop, settings: Settings, network: Network, trace: Trace) -> None:
        self.loop = loop
        self.settings = settings
        self.network = network
        self.trace = trace
        self.server = MemoryServer(window_s=settings.window_s)
        self.handlers: list[Handler[..., Any]] = []
        self.broken: list[str] = []
        self.deaths: Counter[Point] = Counter()
        names = [f"engine{at}" for at in range(settings.engines)] + [f"worker{at}" for at in range(settings.workers)]
        self.machines = {name: Machine(self, name) for name in names}
        network.killed = self._dies
        trace.now = loop.time
        trace.watch(self.server)

    def connect(self, process: Process, name: str, clock: MemoryClock) -> Memory:
        """A connection that dies with its process."""
        timeout_s = self.settings.timeout_s
        return process.run(lambda: self.server.connect(RoughLink(self.network, name, timeout_s), clock=clock))

    def client(self, name: str = "client") -> AsyncClient:
        """A client that is never killed; its connection is as bad as the others'."""
        process = Process(self.loop, name)
        return AsyncClient(self.connect(process, name, MemoryClock()))

    def start(self) -> None:
        """Bring up what is down."""
        for machine in self.machines.values():
            machine.start()

    def kill(self, name: str, *, back_after_s: float) -> None:
        """Kill a process, and start it again so much later."""
        machine = self.machines[name]
        if machine.process is None:
            return
        machine.kill()
        self.later(back_after_s, machine.start)

    def later(self, delay_s: float, call: Any) -> None:
        """Do this then, as no process."""
        self.loop.call_later(delay_s, call, context=Context())

    def _dies(self, name: str, boundary: Boundary) -> None:
        if name in self.machines:
            self.deaths[name.rstrip("0123456789"), boundary] += 1
            self.network.note("killed at a call", name, " ".join(boundary))
            self.kill(name, back_after_s=self.network.random.choice([0.05, 0.5, 4.0]))
