"""What befalls servers and processes while an execution lasts."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from dagnats.runtime.memory.process import current_process
from tests.simulation.network import CALM, STORED, Boundary, Point, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.memory.stream import Message, Stream
    from tests.simulation.world import World

MINUTE_NS = 60_000_000_000
START = b'"workflow.started"'

ENGINE_CALLS = (
    "log.append", "log.append_after", "tasks.put", "timers.set", "letters.put", "snapshots.save", "engine.position",
    "engine.lease", "engine.correlated", "waiters.put", "waiters.drop", "signals.put", "blobs.put", "tasks.drop",
    "timers.drop", "wakeups.acknowledge", "tasks.cancel", "tasks.shut", "tasks.put_own", "tasks.drop_own",
)  # fmt: skip
WORKER_CALLS = ("log.append", "tasks.acknowledge", "blobs.put")
UNANSWERED = frozenset({"wakeups.acknowledge", "tasks.acknowledge", "tasks.cancel"})
"""Said without waiting for an answer: there is no moment after it."""


def boundaries(calls: tuple[str, ...]) -> list[Boundary]:
    """Every point at which a process can die around these calls."""
    return [
        (call, where)
        for call in calls
        for where in ("unsent", "sent", "answered")
        if where != "answered" or call not in UNANSWERED
    ]


ALL_BOUNDARIES: list[Point] = [
    *(("engine", boundary) for boundary in boundaries(ENGINE_CALLS)),
    *(("worker", boundary) for boundary in boundaries(WORKER_CALLS)),
]
TRIES = {
    "engine blobs.put": 6,
    "engine letters.put": 3,
    "engine log.append_after": 3,
    "engine signals.put": 9,
    "engine tasks.cancel": 3,
    "engine tasks.drop": 5,
    "engine tasks.drop_own": 7,
    "engine tasks.put_own": 4,
    "engine tasks.shut": 3,
    "engine timers.drop": 6,
    "engine waiters.drop": 3,
    "engine waiters.put": 4,
    "worker blobs.put": 6,
}
"""Calls that many executions never make: processes are ready to die at the first one, and this often for each
`_USUAL_TRIES` at others."""
_USUAL_TRIES = 2


def is_rare(point: Point) -> bool:
    """Whether nobody may wait for a better moment."""
    kind, (call, _) = point
    return f"{kind} {call}" in TRIES


def tries(point: Point) -> int:
    """How often a point is in the deck."""
    kind, (call, _) = point
    return TRIES.get(f"{kind} {call}", _USUAL_TRIES)


ALL_TRIES = [point for point in ALL_BOUNDARIES for _ in range(tries(point))]
Random(0).shuffle(ALL_TRIES)
FIRST = 7.2
"""How many points an execution tries on average, at least. Those of its successor are the next ones.

With many more, engines do little but die and take over, and hardly come to the later ones.
"""

_TAILS = ("engine", "runs", "tasks", "timers", "waiters", "own_tasks", "letters", "signals", "events")
"""The streams that lose their ends beside the log, each its own. Not blobs: what points at them may be written yet."""
_CHANGES = (1, 2, 5, 12)
"""How many changes of one are lost: what was stored, and what was taken out."""
_REMEMBERED = 64

assert {"log.append", "tasks.put"} <= STORED


def weather(random: Random) -> Weather:
    """What the network is like."""
    kind = random.random()
    if kind < 0.15:
        return CALM
    bad = kind > 0.6
    return Weather(
        lost=0.01 if bad else 0.002,
        unanswered=0.02 if bad else 0.004,
        doubled=0.03,
        slow=0.01 if bad else 0.0,
        late=random.choice([0.0, 0.1, 0.5]),
        longest_s=random.choice([0.005, 0.05, 0.4]),
        unheard=0.02 if bad else 0.0,
    )


class Plan:
    """What an execution has in store.

    Attributes:
        lasts_s: How long.
        rest_s: How long nothing happens, on average.
        first: The points at which a process is to die, if any comes to them: if need be, when all else is calm again.
        incidents: Whether anything happens at all.
        loses_tails: Whether the disk loses what it had not written.
        tails: What is drawn of each stream then.
        sets_clock: Whether the server's clock is set.
        scribbles: Whether somebody writes what is no event into histories.
    """

    def __init__(self, random: Random, seed: int, lasts: float) -> None:
        self.lasts_s = random.choice([12.0, 18.0, 24.0]) * lasts
        self.rest_s = random.choice([3.0, 8.0, 20.0])
        self.incidents = True
        self.first = [ALL_TRIES[at % len(ALL_TRIES)] for at in range(int(seed * FIRST), int((seed + 1) * FIRST))]
        self.loses_tails = random.random() < 0.15
        self.sets_clock = random.random() < 0.15
        self.scribbles = random.random() < 0.12
        self.tails = Random(f"{seed}/tails")


class Trouble:
    """Things happen at random moments, for as long as the plan says.

    Attributes:
        tail_was_lost: Whether acknowledged messages are gone, as the disk's policy allowed.
        lost: The events among them.
        others: The others, by the stream, if it lost any change.
        clock_was_set: Whether the server's clock was.
        was_scribbled: Whether histories have what is no event.
    """

    def __init__(self, world: World, random: Random, plan: Plan) -> None:
        self.plan = plan
        self._world = world
        self._random = random
        self.lost: list[Message] = []
        self.others: dict[str, list[Message]] = {}
        self.tail_was_lost = self.clock_was_set = self.was_scribbled = False
        self._stops_busy = False
        self._clock_off_ns = 0
        self._clocks_off_ns: Counter[str] = Counter()
        twice = [self._freeze, self._stop]
        once = [self._restart, self._cut_off, self._redeliver, self._set_process_clock]
        self._incidents: list[Callable[[], None]] = [*[self._kill, self._doom] * 3, *twice * 2, *once]
        if plan.sets_clock:
            self._incidents += [self._set_server_clock] * 2
        if plan.scribbles:
            self._incidents += [self._scribble] * 2
        if plan.loses_tails:
            for name in _TAILS:
                self._stream(name).remember(_REMEMBERED)

    def has_lost_start(self, run_id: str) -> bool:
        """Whether the disk has lost a run's start."""
        subject = f"history.{run_id}"
        return any(message.subject == subject and START in message.data for message in self.lost)

    async def happen(self) -> None:
        """Let it."""
        random, loop, plan = self._random, self._world.loop, self.plan
        end = loop.time() + plan.lasts_s
        if not plan.incidents:
            return
        for point in plan.first:
            when = 0.0 if is_rare(point) else random.random() * plan.lasts_s
            self._world.later(when, partial(self._doom_at, *point, before=random.choice([0, 0, 3])))
        if plan.loses_tails:
            self._world.later(plan.lasts_s * random.random(), self._restart)
        if plan.sets_clock:
            self._world.later(plan.lasts_s * random.random(), self._set_server_clock)
        if random.random() < 0.5:
            self._world.later(plan.lasts_s * random.random(), self._stop)
        if plan.scribbles:
            self._world.later(plan.lasts_s * random.random(), self._scribble)
        if self._world.settings.engines > 1 and random.random() < 0.5:
            self._world.later(1 + 4 * random.random(), self._freeze_leader)
        while True:
            await asyncio.sleep(random.expovariate(1 / plan.rest_s))
            if loop.time() >= end:
                return
            random.choice(self._incidents)()

    def _any(self, kind: str = "") -> str:
        return self._random.choice([name for name in self._world.machines if name.startswith(kind)])

    def _note(self, fault: str, process: str = "server", about: str = "") -> None:
        self._world.network.note(fault, process, about)

    # -- what may happen ---------------------------------------------------------------------------------------

    def _kill(self) -> None:
        name = self._any()
        self._note("killed", name)
        self._world.kill(name, back_after_s=self._random.choice([0.1, 1.0, 6.0]))

    def _doom(self) -> None:
        """Have the next engine, or worker, die that makes some call."""
        point = self._random.choice(ALL_TRIES)
        self._doom_at(*point, before=0 if is_rare(point) else self._random.choice([0, 1, 4, 10]))

    def _doom_at(self, kind: str, boundary: Boundary, *, before: int) -> None:
        self._world.network.doom(kind, boundary, before)

    def _scribble(self) -> None:
        """Somebody puts into a history what is no event."""
        subject = self._random.choice(self._world.server.history.subjects("history.*") or ["history._"])
        if not subject.startswith("history._"):
            self.was_scribbled = True
            self._note("scribbled", about=subject)
            self._world.server.history.put(subject, b'{"type":"nonsense"}')

    def _freeze(self, name: str = "", seconds: float = 0.0) -> None:
        name = name or self._any(self._random.choice(["engine", "worker"]))
        process = self._world.machines[name].process
        if process is None:
            return
        seconds = seconds or self._random.choice([1.0, 6.0, 12.0])
        self._note("frozen", name, f"for {seconds:g} s")
        process.freeze()
        self._world.later(seconds, process.thaw)

    def _freeze_leader(self) -> None:
        """So long that another engine leads when it goes on."""
        if self._world.network.leader in self._world.machines:
            self._freeze(self._world.network.leader, 7.0)

    def _stop(self) -> None:
        """Ask a process to stop; or the next worker that is in the middle of something."""
        if self._random.random() < 0.5:
            self._stops_busy = True
        else:
            self._ask_to_stop(self._any())

    def busy(self) -> None:
        """The running process is in the middle of something."""
        process = current_process()
        if self._stops_busy and process is not None:
            self._stops_busy = False
            self._world.later(0.01, partial(self._ask_to_stop, process.name))

    def _ask_to_stop(self, name: str) -> None:
        self._note("asked to stop", name)
        self._world.machines[name].stop()

    def _restart(self) -> None:
        if self._world.network.down:
            return
        away_s = self._random.choice([0.0, 0.5, 4.0])
        self._world.network.down = True
        self._note("server stopped", about=f"for {away_s:g} s")
        self._world.later(away_s, self.server_back)

    def server_back(self) -> None:
        """Start the server, if it is down."""
        if not self._world.network.down:
            return
        self._world.network.down = False
        lost = [0, 0]
        if self.plan.loses_tails:
            lost = [self._random.choice([1, 3, 8]), self._random.choice([0, 0, 1, 3])]
            self.tail_was_lost = True
            self._note("tail lost", about=f"{lost[0]} events, {lost[1]} tasks")
        history = self._world.server.history
        self.lost += history.behind(history.last_seq - lost[0], lost[0])
        if self.plan.loses_tails:
            self._lose_tails()
        self._world.server.restart(lost_events=lost[0], lost_tasks=lost[1])

    def _lose_tails(self) -> None:
        """Every stream has a file of its own. What was replaced mostly is in it yet, unless it was tidied just now."""
        random = self.plan.tails
        for name in _TAILS:
            if random.random() < 0.5:
                changes, older = random.choice(_CHANGES), random.random() < 0.8
                lost = self._stream(name).lose(changes, older=older)
                self.others.setdefault(name, []).extend(lost)
                self._note("tail lost", about=f"{changes} changes of {name}{'' if older else ', what they replaced'}")

    def _stream(self, name: str) -> Stream:
        return getattr(self._world.server, name)

    def _cut_off(self) -> None:
        self._note("connection lost")
        self._world.server.interrupt(self._random.random)

    def _redeliver(self) -> None:
        self._note("delivered again")
        for consumer in (self._world.server.wakeups, *self._world.server.queues.values()):
            consumer.lose_patience()

    def _set_process_clock(self) -> None:
        name = self._any()
        minutes = self._random.choice([-10, -1, 1, 10])
        self._note("clock set", name, f"by {minutes} min")
        self._clocks_off_ns[name] += minutes * MINUTE_NS
        self._world.machines[name].clock.jump(minutes * MINUTE_NS)

    def _set_server_clock(self) -> None:
        minutes = self._random.choice([-10, -0.1, 0.1, 10])
        self.clock_was_set = True
        self._set_by(int(minutes * MINUTE_NS))

    def clocks_right(self) -> None:
        """Set the machines' clocks right, and the server's, if it was set back: nobody waits for ever for what is due
        by it, or for a worker for which all is over that it is given."""
        for name, off_ns in self._clocks_off_ns.items():
            self._world.machines[name].clock.jump(-off_ns)
        if self._clock_off_ns < 0:
            self._set_by(-self._clock_off_ns)

    def _set_by(self, shift_ns: int) -> None:
        self._note("server's clock set", about=f"by {shift_ns / MINUTE_NS:g} min")
        self._clock_off_ns += shift_ns
        self._world.server.clock.jump(shift_ns)
