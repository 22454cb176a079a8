"""One execution: a seed, what was made of it, and what was wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from dagnats.errors import DagnatsError, DecodeError, UnavailableError
from dagnats.model import pointer
from dagnats.model.check import load_definition
from dagnats.model.event import decode_event
from dagnats.model.identifier import is_reserved
from dagnats.model.pointer import has_pointer
from dagnats.runtime import (
    blob,
    decider,
    engine,
    follower,
    invocation,
    lease,
    outbox,
    position,
    record,
    report,
    standing,
    workbench,
)
from dagnats.runtime.blob import MOST_BYTES
from dagnats.runtime.core import graph, plan, sticky
from dagnats.runtime.core.graph import Graph, graph_of
from dagnats.runtime.ledger import read_page
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.position import decode_position
from dagnats.runtime.telemetry import note
from dagnats.runtime.telemetry.logbook import exception_text
from tests.simulation import chronicle, workshop
from tests.simulation.chronicle import Chronicle
from tests.simulation.gating import Watchman
from tests.simulation.hand import LIMITS, ORDERS, Hand
from tests.simulation.invariant import Outcome, faults_of
from tests.simulation.network import CALM, Network, Point
from tests.simulation.tracing import Trace
from tests.simulation.trouble import Plan, Trouble, weather
from tests.simulation.workload import CARRIED, KEYS, Author
from tests.simulation.workshop import Workshop, temper
from tests.simulation.world import Settings, World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from dagnats.client.difference import Difference
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.memory.stream import Message

_DAY_NS = 24 * 3600 * 1_000_000_000
_ASKING = {"step.wait.started": "answer", "approval.requested": "approve"}
_ENDINGS = ("workflow.completed", "workflow.failed", "workflow.cancelled")
_BROKEN = (b'{"type":"workflow.failed"', b'{"type":"workflow.cancelled"')
_LONGEST_SETTLING_S = 1_500  # tasks for a worker that is gone are given up after a minute each, and tried again


class _Length(NamedTuple):
    """How long an execution is.

    Attributes:
        events: How many it writes, at least: it looks what is missing when half of the faults are over.
        starts: How many runs are started in any case, until there are `enough` events: what goes on makes about as
            many again.
        orders: How many orders are given, at least and at most.
        lasts: How long the faults last: a share.
    """

    events: int
    starts: int
    enough: int
    orders: tuple[int, int]
    lasts: float


_LONG = _Length(events=302, starts=20, enough=90, orders=(6, 24), lasts=1.0)
_SHORT = _Length(events=0, starts=5, enough=30, orders=(1, 6), lasts=0.4)
_TURNS = 27
"""Of so many seeds, one more is long than short: half of the executions are large, and the others are many."""
_EVENTS_OF_RUN, _EVENTS_LEFT = 28, 20
"""What a run makes of them with its children, and what one that goes on has yet to make: in case of doubt more, so that
few executions have too many."""
_LOOKS = 4
"""How often one looks for what is missing, in the second half of the faults."""
_LOOK_S = 1.0
"""What engines look for that no news has told them of: when they look more often, that is most of what they do."""
_SHOW_S = 12.0
"""How often they show what gates hold, and measure queues: nobody here looks at it."""
_STICKY_NS = 12_000_000_000
"""How long a run waits for a worker that it keeps to. Longer than any that died is away; those that are gone for good
would have some seeds wait for minutes."""
_VERIFIED = 16
"""Of so many seeds one is looked at by the client's own means, too."""
_ALIKE = 4
"""So many seeds in a row have the same workflows: what it takes to read these is done once for all of them."""
_SHARED = 64
"""How many graphs, and how many definitions, are kept from seed to seed: of more than any few seeds have."""


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
    deaths: Counter[Point]
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
    workbench.lacks_input = workshop.lacks_input
    try:
        with _sharing():
            yield
    finally:
        secrets.token_hex, os.getpid = token_hex, getpid
        logging.disable(level)
        workbench.lacks_input = invocation.lacks_input
        if collects:
            gc.enable()


_graph_of = lru_cache(maxsize=_SHARED)(graph_of)
_load_definition = lru_cache(maxsize=_SHARED)(load_definition)


@lru_cache(maxsize=2)
def _workflows(number: int, types: frozenset[str]) -> list[WorkflowDef]:
    """The workflows of some seeds."""
    return Author(Random(f"{number}/workflows"), types).definitions()


@lru_cache(maxsize=2)
def _graphs(number: int, types: frozenset[str]) -> dict[str, Graph]:
    """Theirs, for whoever folds beside the engines."""
    return {definition.identity: Graph(definition) for definition in _workflows(number, types)}


@contextmanager
def _sharing() -> Generator[None]:
    """What the same bytes say, and is never changed, is found out once for all processes."""
    events = lru_cache(maxsize=None)(decode_event)
    decider.graph_of = standing.graph_of = _graph_of
    graph.load_definition = plan.load_definition = _load_definition
    decider.decode_event = record.decode_event = chronicle.decode_event = events
    note.exception_text = repr  # nobody reads where a handler raised, and to say it takes as long as two events
    try:
        yield
    finally:
        decider.graph_of = standing.graph_of = graph_of
        graph.load_definition = plan.load_definition = load_definition
        decider.decode_event = record.decode_event = chronicle.decode_event = decode_event
        note.exception_text = exception_text


class Scenario:
    """One execution."""

    def __init__(self, seed: int, trace: Trace, types: frozenset[str]) -> None:
        self.seed = seed
        self.trace = trace
        self.wrong: list[str] = []
        self.faults: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._types = types
        self._random = Random(f"{seed}/workload")
        self._started: dict[str, str] = {}
        self._deaths: Counter[Point] = Counter()
        self._began_anew = False
        self._holder = b""
        self._writers: dict[str, bytes] = {}
        self._taken: dict[bytes, int] = {}
        self._deposed: set[bytes] = set()
        self._terms = self._lost_records = 0
        self._asked: dict[str, list[str]] = {}
        self._length = _SHORT if seed % _TURNS % 2 else _LONG

    def report(self) -> Report:
        """What came of it."""
        return Report(self.seed, self.wrong, self.events, self.faults, self._deaths, self.trace.hash, self.trace.lines)

    def unhandled(self, context: dict[str, Any]) -> None:
        """What the event loop has to say. Who was stopped just when no answer came has not heard that; nor has who died
        just when it was stopped, and had gathered what others do."""
        message, error = str(context.get("message")), context.get("exception")
        is_unheard = isinstance(error, DagnatsError) and message.startswith("Future exception was never")
        if not is_unheard and message != "_GatheringFuture exception was never retrieved":
            self.wrong.append(f"unhandled: {message} {error!r}")

    async def live(self) -> None:
        """From the first registration to the last check."""
        random = self._random
        settings = Settings(random)
        definitions = _workflows(self.seed // _ALIKE, self._types)
        settings.part(definitions)
        network = Network(Random(f"{self.seed}/network"), self.trace, self.faults)
        world = World(asyncio.get_running_loop(), settings, network, self.trace)  # pyright: ignore[reportArgumentType]  # it is ours
        self.world = world
        self._deaths = world.deaths
        self.workshop = Workshop(self.seed, temper(random), definitions, lambda: world.server.history.last_seq)
        self.workshop.on_busy = lambda: self.trouble.busy()
        world.handlers = self.workshop.handlers()
        world.server.history.listen(self._event)
        world.server.engine.listen(self._record)
        server = world.server
        for stream in (server.history, server.tasks, server.own_tasks, server.letters, server.signals):
            stream.listen(self._travels)
        self.watchman = Watchman(world.server)
        self._graphs = _graphs(self.seed // _ALIKE, self._types)
        self._workflows = [definition.name for definition in definitions]
        self.client = world.client()
        self.hand = Hand(self.client, Random(f"{self.seed}/hand"), self._workflows)
        await self.client.register_all(definitions)
        world.start()
        self.trouble = Trouble(world, Random(f"{self.seed}/trouble"), Plan(random, self.seed, self._length.lasts))
        with _light(settings):
            await self._rough()
            await self._settle()
            await self._judge()

    def _travels(self, message: Message) -> None:
        """Something was stored that others read: only states point into the log."""
        if has_pointer(message.data):
            self.wrong.append(f"{message.subject} has what only a state may have: {message.data!r}")

    async def _judge(self) -> None:
        outcome = await self._outcome()
        self.wrong += faults_of(outcome)
        if not self.wrong and self.seed % _VERIFIED == 0:
            verified = await self.client.verify()
            self.wrong += [f"verify: {found}" for found in verified.differences if not self._is_known(found)]

    def _is_known(self, found: Difference) -> bool:
        """Whether a difference is of our own making."""
        match found.kind:
            case "unreadable":
                return self.trouble.was_scribbled
            case "start":  # others had heard of it
                return self.trouble.has_lost_start(found.run_id)
            case _:
                return False

    async def _outcome(self) -> Outcome:
        ports = self.client.connection.ports
        stored = await ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        return Outcome(
            server=self.world.server,
            chronicle=self.chronicle,
            watchman=self.watchman,
            started=self._started,
            acknowledged=self.hand.acknowledged,
            effects=self.workshop.effects,
            broken=self.world.broken,
            calm=not self.faults,
            tail_was_lost=self.trouble.tail_was_lost,
            lost=self.trouble.lost,
            lost_snapshots={message.subject for message in self.trouble.others.get("runs", [])},
            lost_lease="engine" in self.trouble.others,
            clock_was_set=self.trouble.clock_was_set,
            was_scribbled=self.trouble.was_scribbled,
            began_anew=self._began_anew,
            gates=await read_page(ports.snapshots, position.gates) if position is not None else None,
        )

    def _event(self, message: Message) -> None:
        run_id = message.subject[len("history.") :]
        if is_reserved(run_id):
            return
        kind = message.data[9 : message.data.index(b'"', 9)].decode()
        self.events[kind] += 1
        if kind in _ASKING:
            self._asked.setdefault(_ASKING[kind], []).append(run_id)
        elif message.data.startswith(_BROKEN):
            self._asked.setdefault("replay", []).append(run_id)

    def _record(self, message: Message) -> None:
        """An engine that was relieved writes no position: who writes after another has taken the lease after it."""
        self._see_what_was_lost()
        if message.subject == "engine.lease":
            if message.data != self._holder:
                self._holder = message.data
                self._terms += 1
                self._taken[message.data] = self._terms
                self._deposed.discard(message.data)
            return
        position = decode_position(message.data)  # the correlator's begins in the same way
        by = position.by.encode() if position is not None else b""
        writer = self._writers.get(message.subject, b"")
        is_relieved = self._taken.get(by, 0) < self._taken.get(writer, 0)  # a lease that was given up relieves nobody
        if writer and is_relieved and by not in self._deposed:
            self.wrong.append(f"{by!r} has written {message.subject} after {writer!r}, which had relieved it")
        self._writers[message.subject] = by
        if message.subject == "engine.position":
            self._began_anew = self._began_anew or (position is not None and position.anew and position.seq > 0)

    def _see_what_was_lost(self) -> None:
        """Who led when the lease was lost need not know that another has it: what they write next may have the very
        place that it is to have."""
        lost = len(self.trouble.others.get("engine", ()))
        if lost != self._lost_records:
            self._lost_records = lost
            self._deposed = {*self._taken}
            self._writers.clear()

    def _decided(self) -> int:
        """The last event that is decided, and saved. That nothing is, which is all of an empty log, some engine has to
        say."""
        stored = self.world.server.engine.last("engine.position")
        position = decode_position(stored.data) if stored is not None else None
        return min(position.seq, position.low - 1) if position is not None and not position.anew else -1

    # -- what people do ----------------------------------------------------------------------------------------

    async def _rough(self) -> None:
        """Everything at once: runs, orders, faults."""
        random = self._random
        lasts_s = self.trouble.plan.lasts_s
        if random.random() < 0.95:
            self.world.network.weather = weather(random)
            self.world.server.timetable.late_ns = random.choice([0, 0, 200_000_000, 3_000_000_000])
        else:
            self.trouble.plan.incidents = False
        work = [self._start(f"r{at}", random.random() * lasts_s) for at in range(self._length.starts)]
        work += [self._order(random.random() * lasts_s) for _ in range(random.randint(*self._length.orders))]
        work += [self._limit(random.random() * lasts_s) for _ in range(random.choice([0, 0, 4]))]
        work += [self._happen(random.random() * lasts_s) for _ in range(random.randint(4, 16))]
        await asyncio.gather(self.trouble.happen(), self._fill_up(lasts_s), *work)

    async def _fill_up(self, lasts_s: float) -> None:
        """Start what a long execution still lacks while there are faults: `_settle` only has to top it up."""
        await asyncio.sleep(lasts_s / 2)
        for part in range(_LOOKS):
            live = self.events["workflow.started"] - sum(self.events[kind] for kind in _ENDINGS)
            for at in range(self._missing(max(live, 0))):
                await self._start(f"f{part}-{at}", 0.0)
            await asyncio.sleep(lasts_s / 2 / _LOOKS)

    async def _start(self, run_id: str, when: float) -> None:
        """Start a run, as often as it takes."""
        random = self._random
        workflow, number = random.choice(self._workflows), random.randrange(100)
        input = {"n": number, "k": random.choice(KEYS)}
        at = f"+{number % 4 + 1}s" if number % 10 == 0 and not self.trouble.plan.sets_clock else None
        await asyncio.sleep(when)
        if when and self.events.total() > self._length.enough:
            return
        left = 2 if number < 5 else 1  # some say everything twice
        while left:
            with suppress(UnavailableError):
                await self.client.start(workflow, input, run_id=run_id, at=at)
                left -= 1
            await asyncio.sleep(0.1)
        self._started[run_id] = workflow

    async def _order(self, when: float) -> None:
        """Do something to some run, once."""
        await asyncio.sleep(when)
        kind = self._random.choice(ORDERS)
        asked = self._asked.get({"reject": "approve", "rerun": "replay", "fork": "replay"}.get(kind, kind))
        if asked or self._started:
            run_id = asked[-1] if asked else self._random.choice(sorted(self._started))
            await self._try(f"{kind} {run_id}", self.hand.order(kind, run_id), run_id)

    async def _limit(self, when: float) -> None:
        await asyncio.sleep(when)
        kind = self._random.choice(LIMITS)
        await self._try(kind, self.hand.limit(kind))

    async def _happen(self, when: float) -> None:
        await asyncio.sleep(when)
        await self.hand.happen()

    async def _try(self, what: str, doing: Awaitable[bool], run_id: str = "") -> None:
        try:
            done = await doing
        except UnavailableError:
            done = False
        except DagnatsError as error:
            if not (isinstance(error, DecodeError) and self.trouble.has_lost_start(run_id)):
                self.wrong.append(f"{what}: {type(error).__name__}: {error}")
            return
        if done:
            self.trace.say(f"order: {what}")

    # -- healing -----------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """No more faults but deaths that were planned: everything that waits for nobody comes to its end."""
        world, server = self.world, self.world.server
        world.network.weather = CALM
        self.trouble.server_back()
        self.trouble.clocks_right()
        server.timetable.late_ns = 0
        for machine in world.machines.values():
            if machine.process is not None:
                machine.process.thaw()
        world.start()
        await asyncio.sleep(2.0)
        self._stand_down()
        world.start()
        self.trace.say("faults have ended")
        await self.hand.free()
        self.chronicle = Chronicle(server, self._graphs, self.client.connection.ports, self.watchman)
        live = await self._come_to_an_end()
        if live:
            return
        if "waiters" in self.trouble.others:  # whoever takes over forgets those whose removal was lost
            world.kill(next(name for name, each in world.machines.items() if each.is_engine), back_after_s=0.1)
        # What is taken away is taken away in the background, snapshots and positions are written behind.
        await self._until(
            lambda: not (server.tasks.subjects() or server.own_tasks.subjects() or server.waiters.subjects()), 90.0
        )
        await self._until(lambda: self._decided() == server.history.last_seq, 60.0)
        await asyncio.sleep(2.0)
        world.network.spare()
        # What far wake-ups are left find their runs ended.
        server.clock.jump(400 * _DAY_NS)
        await self._until(lambda: not server.timers.subjects(), 40.0)
        await self.chronicle.read()

    def _stand_down(self) -> None:
        """One engine will do: whichever has survived."""
        engines = [machine for machine in self.world.machines.values() if machine.is_engine]
        kept = next((machine for machine in engines if machine.process is not None), engines[0])
        for machine in engines:
            if machine is not kept:
                machine.retire()
                del self.world.machines[machine.name]

    async def _come_to_an_end(self) -> list[str]:
        """Wait for all runs, and let go what waits for people meanwhile; gives those that go on for too long."""
        end = self.world.loop.time() + _LONGEST_SETTLING_S
        rounds = 0
        while (live := await self.chronicle.read()) or self._missing(0):
            if self.world.loop.time() >= end:
                break
            more = range(self._missing(len(live)))
            await asyncio.gather(*(self._start(f"m{rounds}-{at}", 0.0) for at in more))
            await asyncio.sleep(1.0)
            rounds += 1
            if rounds % 5 == 0:
                for run_id in live:
                    if self.chronicle.stories[run_id].waits_for_people:
                        await self._try(f"release {run_id}", self.hand.release(run_id), run_id)
        return live

    def _missing(self, live: int) -> int:
        """How many runs an execution lacks to be as long as it is to be."""
        missing = self._length.events - self.events.total() - _EVENTS_LEFT * live
        return max(-(-missing // _EVENTS_OF_RUN), 0)

    async def _until(self, done: Callable[[], bool], most_s: float) -> None:
        end = self.world.loop.time() + most_s
        while not done() and self.world.loop.time() < end:  # noqa: ASYNC110  # nobody else says so
            await asyncio.sleep(1.0)


@contextmanager
def _light(settings: Settings) -> Generator[None]:
    """Small payloads travel as references, and stay out of states, from where engines read them in the log, unless they
    remember. And engines do rarely what nobody waits for."""
    changes: list[tuple[Any, str, float]] = [
        *((owner, "INLINE_BYTES", settings.inline_bytes) for owner in (blob, outbox, report)),
        (pointer, "STATE_BYTES", settings.state_bytes),
        (decider, "STATE_BYTES", settings.state_bytes if settings.remembers else MOST_BYTES),
        *((owner, "LOOK_S", _LOOK_S) for owner in (lease, follower)),
        *((engine, name, _SHOW_S) for name in ("SHOW_EVERY_S", "EVERY_S")),
        *((sticky, name, _STICKY_NS) for name in ("HARD_WAIT_NS", "SILENCE_NS")),
        (position, "_EVERY_S", settings.position_after_s),
    ]
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.enter_context(patch.object(owner, name, value))
        yield
