"""What befalls servers and processes while an execution lasts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.network import STORED, Boundary, Weather

if TYPE_CHECKING:
    from random import Random

    from tests.simulation.world import World

MINUTE_NS = 60_000_000_000

ENGINE_CALLS = (
    "log.append", "tasks.put", "timers.set", "letters.put", "snapshots.save", "engine.position", "engine.lease",
    "tasks.drop", "timers.drop", "wakeups.acknowledge", "tasks.cancel",
)  # fmt: skip
WORKER_CALLS = ("log.append", "tasks.acknowledge")
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


ENGINE_BOUNDARIES = boundaries(ENGINE_CALLS)
WORKER_BOUNDARIES = boundaries(WORKER_CALLS)
RARE = frozenset({"letters.put", "timers.drop", "tasks.drop", "tasks.cancel", "wakeups.acknowledge"})
assert {"log.append", "tasks.put"} <= STORED


def weather(random: Random) -> Weather:
    """What the network is like."""
    kind = random.random()
    if kind < 0.15:
        return Weather()
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


class Trouble:
    """Things happen at random moments, until `end`.

    Args:
        rest_s: How long nothing happens, on average.

    Attributes:
        tail_was_lost: Whether acknowledged messages are gone, as the disk's policy allowed.
        clock_was_set: Whether the server's clock was.
    """

    def __init__(self, world: World, random: Random, *, rest_s: float, loses_tails: bool, sets_clock: bool) -> None:
        self._world = world
        self._random = random
        self._rest_s = rest_s
        self.tail_was_lost = self.clock_was_set = False
        self._incidents = [
            *[self._kill, self._doom] * 3, self._freeze, self._stop, self._restart, self._cut_off, self._redeliver,
            self._set_process_clock,
        ]  # fmt: skip
        self._loses_tails = loses_tails
        if sets_clock:
            self._incidents += [self._set_server_clock] * 2

    async def happen(self, end: float) -> None:
        """Let it."""
        random, loop = self._random, self._world.loop
        for _ in range(3):
            self._doom()
        while True:
            await asyncio.sleep(random.expovariate(1 / self._rest_s))
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
        kind, points = ("engine", ENGINE_BOUNDARIES) if self._random.random() < 0.85 else ("worker", WORKER_BOUNDARIES)
        boundary = self._random.choice(points)
        before = 0 if boundary[0] in RARE else self._random.choice([0, 1, 4, 10])
        self._world.network.dying[kind, boundary] = before

    def _freeze(self) -> None:
        name = self._any()
        process = self._world.machines[name].process
        if process is None:
            return
        seconds = self._random.choice([1.0, 6.0, 12.0])
        self._note("frozen", name, f"for {seconds:g} s")
        process.freeze()
        self._world.later(seconds, process.thaw)

    def _stop(self) -> None:
        name = self._any()
        self._note("asked to stop", name)
        self._world.machines[name].stop()
        self._world.later(self._random.choice([0.5, 3.0]), self._world.machines[name].start)

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
        if self._loses_tails:
            lost = [self._random.choice([0, 1, 3, 8]), self._random.choice([0, 0, 1, 3])]
            self.tail_was_lost = self.tail_was_lost or any(lost)
            if any(lost):
                self._note("tail lost", about=f"{lost[0]} events, {lost[1]} tasks")
        self._world.server.restart(lost_events=lost[0], lost_tasks=lost[1])

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
        self._world.machines[name].clock.jump(minutes * MINUTE_NS)

    def _set_server_clock(self) -> None:
        minutes = self._random.choice([-10, -0.1, 0.1, 10])
        self.clock_was_set = True
        self._note("server's clock set", about=f"by {minutes} min")
        self._world.server.clock.jump(int(minutes * MINUTE_NS))
