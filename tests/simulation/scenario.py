"""One execution: a seed, what was made of it, and what was wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
from collections import Counter
from contextlib import contextmanager, suppress
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.client import run
from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.event import TERMINAL_PREFIXES
from dagnats.model.identifier import is_reserved
from dagnats.runtime import decider
from dagnats.runtime.core.graph import Graph, graph_of
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.position import decode_position
from tests.simulation.hand import ORDERS, Acknowledged, Hand
from tests.simulation.invariant import Outcome, faults_of, live_runs
from tests.simulation.network import CALM, Boundary, Network
from tests.simulation.tracing import Trace
from tests.simulation.trouble import Trouble, weather
from tests.simulation.workload import CARRIED, Workshop, temper, workflow
from tests.simulation.world import Settings, World

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from dagnats.client.client import AsyncClient
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.memory.stream import Message

_DAY_NS = 24 * 3600 * 1_000_000_000
_REOPENED = b'{"type":"workflow.reopened"'
_ASKING = {"step.wait.started": "event", "approval.requested": "answer"}
_LONGEST_SETTLING_S = 1_200


class Report(NamedTuple):
    """What came of a seed.

    Attributes:
        wrong: What must not be, in words.
        events: How many events of each type were written.
        faults: What happened how often.
        deaths: Where processes died how often.
        hash: Of all that was stored.
        lines: What happened, for people.
    """

    seed: int
    wrong: list[str]
    events: Counter[str]
    faults: Counter[str]
    deaths: Counter[Boundary]
    hash: str
    lines: list[str]


def execute(seed: int, *, keep: bool = False, types: frozenset[str] = CARRIED) -> Report:
    """Run one seed.

    Args:
        keep: Whether the trace has every message.
        types: The types of steps in the workload.
    """
    scenario = Scenario(seed, Trace(keep=keep), types)
    with _alone(seed):
        loop = VirtualLoop()
        loop.set_exception_handler(lambda _, context: scenario.unhandled(context))
        try:
            loop.run_until_complete(scenario.live())
        except Exception as error:
            scenario.wrong.append(f"the simulation ended by {type(error).__name__}: {error}")
            if keep:
                raise
        finally:
            loop.close()
    return scenario.report()


@contextmanager
def _alone(seed: int) -> Generator[None]:
    """Nothing but the seed decides: names are not drawn by the machine, and nothing is collected at odd times."""
    names = Random(f"{seed}/names")
    token_hex, getpid, level = secrets.token_hex, os.getpid, logging.root.manager.disable
    secrets.token_hex = lambda nbytes=None: f"{names.getrandbits(8 * (nbytes or 16)):0{2 * (nbytes or 16)}x}"
    os.getpid = lambda: 1
    if level < logging.CRITICAL and not logging.root.handlers:
        logging.disable(logging.CRITICAL)
    collects = gc.isenabled()
    gc.disable()
    cached = lru_cache(maxsize=None)(graph_of)  # a graph is never changed: all engines may share it
    decider.graph_of = run.graph_of = cached
    try:
        yield
    finally:
        secrets.token_hex, os.getpid = token_hex, getpid
        logging.disable(level)
        decider.graph_of = run.graph_of = graph_of
        if collects:
            gc.enable()


class Scenario:
    """One execution."""

    def __init__(self, seed: int, trace: Trace, types: frozenset[str]) -> None:
        self.seed = seed
        self.trace = trace
        self.wrong: list[str] = []
        self.faults: Counter[str] = Counter()
        self.passed: Counter[Boundary] = Counter()
        self.events: Counter[str] = Counter()
        self._types = types
        self._random = Random(f"{seed}/workload")
        self._started: dict[str, WorkflowDef] = {}
        self._open: set[str] = set()
        self._deaths: Counter[Boundary] = Counter()
        self._began_anew = False
        self._holder = b""
        self._writers: dict[str, bytes] = {}
        self._taken: dict[bytes, int] = {}
        self._position = 0
        self._asked: dict[str, list[str]] = {}

    def report(self) -> Report:
        """What came of it."""
        return Report(self.seed, self.wrong, self.events, self.faults, self._deaths, self.trace.hash, self.trace.lines)

    def unhandled(self, context: dict[str, Any]) -> None:
        """What the event loop has to say. Who was stopped just when no answer came has not heard that."""
        message, error = str(context.get("message")), context.get("exception")
        if not (isinstance(error, DagnatsError) and message.startswith("Future exception was never")):
            self.wrong.append(f"unhandled: {message} {error!r}")

    async def live(self) -> None:
        """From the first registration to the last check."""
        random = self._random
        settings = Settings(random)
        network = Network(Random(f"{self.seed}/network"), self.trace, self.faults, self.passed)
        world = World(asyncio.get_running_loop(), settings, network, self.trace)  # pyright: ignore[reportArgumentType]  # it is ours
        self.world = world
        self._deaths = world.deaths
        self.definitions = [workflow(random, f"w{at}", self._types) for at in range(3)]
        self.workshop = Workshop(self.seed, temper(random), self.definitions, lambda: world.server.history.last_seq)
        world.handlers = self.workshop.handlers()
        world.server.history.listen(self._event)
        world.server.engine.listen(self._record)
        self._graphs = {definition.identity: Graph(definition) for definition in self.definitions}
        self.client = world.client()
        self.hand = Hand(self.client, Random(f"{self.seed}/hand"))
        await self.client.register_all(self.definitions)
        world.start()
        self.trouble = Trouble(
            world,
            Random(f"{self.seed}/trouble"),
            rest_s=random.choice([1.5, 4.0, 10.0]),
            loses_tails=random.random() < 0.15,
            sets_clock=random.random() < 0.15,
        )
        await self._rough()
        await self._settle()
        self.wrong += faults_of(self._outcome(), self._graphs)

    def _outcome(self) -> Outcome:
        return Outcome(
            server=self.world.server,
            definitions=self.definitions,
            started=self._started,
            acknowledged=self.hand.acknowledged,
            effects=self.workshop.effects,
            broken=self.world.broken,
            calm=not self.faults,
            tail_was_lost=self.trouble.tail_was_lost,
            clock_was_set=self.trouble.clock_was_set,
            began_anew=self._began_anew,
        )

    def _event(self, message: Message) -> None:
        run_id = message.subject[len("history.") :]
        if is_reserved(run_id):
            return
        kind = message.data[9 : message.data.index(b'"', 9)].decode()
        self.events[kind] += 1
        if kind in _ASKING:
            self._asked.setdefault(_ASKING[kind], []).append(run_id)
        if message.data.startswith(TERMINAL_PREFIXES):
            self._open.discard(run_id)
        elif message.data.startswith(_REOPENED):
            self._open.add(run_id)

    def _record(self, message: Message) -> None:
        """An engine that was relieved writes no position: who writes after another has taken the lease after it."""
        if message.subject == "engine.lease":
            if message.data != self._holder:
                self._holder = message.data
                self._taken[message.data] = message.seq
            return
        position = decode_position(message.data)  # the correlator's begins in the same way
        by = position.by.encode() if position is not None else b""
        writer = self._writers.get(message.subject, b"")
        if self._taken.get(by, 0) < self._taken.get(writer, 0):
            self.wrong.append(f"{by!r} has written {message.subject} after {writer!r}, which had relieved it")
        self._writers[message.subject] = by
        if message.subject != "engine.position":
            return
        self._began_anew = self._began_anew or (position is not None and position.anew and position.seq > 0)
        self._position = min(position.seq, position.low - 1) if position is not None else 0

    # -- what people do ----------------------------------------------------------------------------------------

    async def _rough(self) -> None:
        """Everything at once: runs, orders, faults."""
        random, loop = self._random, self.world.loop
        end = loop.time() + random.choice([8.0, 15.0, 25.0])
        if random.random() < 0.95:
            self.world.network.weather = weather(random)
            self.world.server.timetable.late_ns = random.choice([0, 0, 200_000_000, 3_000_000_000])
        else:
            end = loop.time()
        work = [self._start(f"r{at}", random.random() * 0.7) for at in range(random.randint(20, 30))]
        work += [self._order(random.random()) for _ in range(random.randint(4, 20))]
        await asyncio.gather(self.trouble.happen(end), *work)

    async def _start(self, run_id: str, when: float) -> None:
        """Start a run, as often as it takes."""
        definition = self._random.choice(self.definitions)
        number = self._random.randrange(100)
        await asyncio.sleep(when * 10)
        client: AsyncClient = self.client
        left = 2 if number < 5 else 1  # some say everything twice
        while left:
            with suppress(UnavailableError):
                await client.start(definition.name, {"n": number}, run_id=run_id)
                left -= 1
            await asyncio.sleep(0.1)
        self._started[run_id] = definition
        if not self._has_ended(run_id):
            self._open.add(run_id)

    def _has_ended(self, run_id: str) -> bool:
        found = self.world.server.history.of(f"history.{run_id}")
        return bool(found) and found[-1].data.startswith(TERMINAL_PREFIXES)

    async def _order(self, when: float) -> None:
        """Do something to some run, once."""
        await asyncio.sleep(when * 15)
        kind = self._random.choice(ORDERS)
        asked = self._asked.get({"match": "event", "approve": "answer", "reject": "answer"}.get(kind, ""))
        if asked or self._started:
            run_id = asked[-1] if asked else self._random.choice(sorted(self._started))
            await self._try(kind, run_id)

    async def _try(self, kind: str, run_id: str) -> None:
        try:
            done = await self.hand.order(kind, run_id)
        except UnavailableError:
            done = False
        except DagnatsError as error:
            self.wrong.append(f"{kind} {run_id}: {type(error).__name__}: {error}")
            return
        if done:
            self.trace.say(f"order: {kind} {run_id}")

    # -- healing -----------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """No more faults: everything that waits for nobody comes to its end."""
        world = self.world
        world.network.weather, world.network.dying = CALM, {}
        self.trouble.server_back()
        world.server.timetable.late_ns = 0
        for machine in world.machines.values():
            if machine.process is not None:
                machine.process.thaw()
        world.start()
        await asyncio.sleep(2.0)
        self._stand_down()
        world.start()
        self.trace.say("faults have ended")
        await self._until(self._ended, _LONGEST_SETTLING_S)
        await self._until(lambda: not world.server.tasks.subjects(), 30.0)
        # Snapshots and positions are written behind.
        await self._until(lambda: self._position == world.server.history.last_seq, 60.0)
        await asyncio.sleep(2.0)
        # What far wake-ups are left find their runs ended.
        world.server.clock.jump(400 * _DAY_NS)
        await self._until(lambda: not world.server.timers.subjects(), 40.0)

    def _stand_down(self) -> None:
        """One engine will do: whichever has survived."""
        engines = [machine for machine in self.world.machines.values() if machine.is_engine]
        kept = next((machine for machine in engines if machine.process is not None), engines[0])
        for machine in engines:
            if machine is not kept:
                machine.kill()
                del self.world.machines[machine.name]

    async def _until(self, done: Callable[[], bool], most_s: float) -> None:
        """Wait for it, and let go what waits for people meanwhile."""
        end = self.world.loop.time() + most_s
        rounds = 0
        while not done() and self.world.loop.time() < end:
            await asyncio.sleep(1.0)
            rounds += 1
            if rounds % 10 == 0:
                for run_id in sorted(self._open):
                    await self._try("release", run_id)

    def _ended(self) -> bool:
        """Whether every run has; the fold is asked when the last events say so."""
        if self._open:
            return False
        self._open = live_runs(self._outcome(), self._graphs)
        return not self._open


__all__ = ["Acknowledged", "Report", "Scenario", "execute"]
