"""The way to the simulated server and back: late, lost, doubled, out of order, and where processes die."""

from __future__ import annotations

from contextvars import Context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.runtime.memory.link import Call, Link

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from random import Random

    from tests.simulation.tracing import Trace

STORED = frozenset(
    {
        "log.append",
        "log.append_after",
        "log.append_new",
        "tasks.put",
        "tasks.put_own",
        "timers.set",
        "letters.put",
        "snapshots.save",
        "cell.write",
    }
)
"""Calls that a client repeats under the same id, and the server may therefore get twice."""

Boundary = tuple[str, str]
"""A call, and `unsent` (before it), `sent` (the answer never comes) or `answered` (nothing is made of it)."""


Point = tuple[str, Boundary]
"""A boundary, and the kind of process that comes to it."""

FAULTS = (
    "answer late", "answer lost", "answer slow", "asked to stop", "clock set", "connection lost", "delivered again",
    "delivery lost", "frozen", "killed", "killed at a call", "request doubled", "request late", "request lost",
    "scribbled", "server away", "server stopped", "server's clock set", "tail lost",
)  # fmt: skip
"""All that can go wrong."""


def name_of(call: Call[Any]) -> str:
    """A call as crash points name it: the cells apart."""
    return call.subject if call.kind == "cell.write" else call.kind


@lru_cache(maxsize=64)
def kind_of(process: str) -> str:
    """What a process is, by its name: `engine`, `worker`, `client`."""
    return process.rstrip("0123456789")


class Weather(NamedTuple):
    """How likely what is, for one call; drawn once for a whole execution.

    Attributes:
        lost: The call does not arrive.
        unanswered: It is done, and nobody hears of it.
        doubled: It arrives twice.
        slow: Its answer takes seconds.
        late: It, its answer or a delivery takes milliseconds.
        longest_s: How many, at most.
        unheard: What the server sends unasked does not arrive.
    """

    lost: float = 0.0
    unanswered: float = 0.0
    doubled: float = 0.0
    slow: float = 0.0
    late: float = 0.0
    longest_s: float = 0.02
    unheard: float = 0.0


CALM = Weather()
_WATCHDOG_S, _CALM_WATCHDOG_S = 8.0, 60.0  # not for ever: what was lost before may be waited for still


class Network:
    """All connections' weather, and what became of their calls.

    Attributes:
        chance: Drawn for whatever may happen: it does when this is less than its probability. For what never happens,
            better not to ask.
        weather: Now.
        down: Whether the server is: nothing passes.
        leader: Who has, as far as is known, the lease.
        faults: How often what happened.
        dying: By kind of call, who is to die there, and after how many others. Looked at for every call: `cross` has to
            be asked for these only.
        killed: Called with the process's name when it is to die.
    """

    def __init__(self, random: Random, trace: Trace, faults: Counter[str]) -> None:
        self.random = random
        self.chance = random.random
        self.trace = trace
        self.faults = faults
        self.weather = CALM
        self.down = False
        self.leader = ""
        self.dying: dict[str, dict[Point, int]] = {}
        self.killed: Callable[[str, Boundary], None] = lambda _, __: None

    def note(self, fault: str, process: str, about: str) -> None:
        """It did."""
        self.faults[fault] += 1
        self.trace.say(f"{fault}: {process} {about}")

    def doom(self, kind: str, boundary: Boundary, before: int) -> None:
        """Have a process die at a boundary: the next one of its kind that comes there, after so many others."""
        call = "cell.write" if boundary[0].startswith("engine.") else boundary[0]
        self.dying.setdefault(call, {})[kind, boundary] = before

    @property
    def is_anybody_doomed(self) -> bool:
        return bool(self.dying)

    def spare(self) -> None:
        """Nobody is to die any more."""
        self.dying.clear()

    def cross(self, process: str, call: Call[Any], where: str) -> None:
        """A process comes to a boundary, and may die there."""
        doomed = self.dying.get(call.kind, {})
        boundary = (name_of(call), where)
        doom = (kind_of(process), boundary)
        left = doomed.get(doom)
        if left is None:
            return
        if left:
            doomed[doom] = left - 1
            return
        del doomed[doom]
        if not doomed:
            del self.dying[call.kind]
        self.killed(process, boundary)


class RoughLink(Link):
    """A connection in the network's weather. Calls about one subject stay in order, as in one TCP connection.

    Those about different subjects may overtake each other, as on their way to streams with different leaders.
    """

    def __init__(self, network: Network, process: str, timeout_s: float) -> None:
        super().__init__()
        self.timeout_s = timeout_s
        self._network = network
        self._process = process
        self._busy: dict[str, float] = {}  # until when calls about a subject are on their way; where none is, nothing

    @property
    def watchdog_s(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]  # it changes with the weather
        """In good weather nothing is lost, and looking for it all the same would be most of what waiting costs."""
        return _CALM_WATCHDOG_S if self._network.weather is CALM else _WATCHDOG_S

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        network = self._network
        if call.kind in network.dying:
            network.cross(self._process, call, "unsent")
            if self.dead:
                return
        if network.down:
            network.faults["server away"] += 1
            return
        weather = network.weather
        if weather.lost and network.chance() < weather.lost:
            network.note("request lost", self._process, f"{call.kind} {call.subject}")
            return
        self._bring(call, arrive) if self._busy or weather.late else arrive()
        if weather.doubled and call.kind in STORED and network.chance() < weather.doubled:
            network.note("request doubled", self._process, f"{call.kind} {call.subject}")
            self._bring(call, arrive)
        if call.kind in network.dying:
            network.cross(self._process, call, "sent")

    def _bring(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        """In order with what is on its way about the same subject. What was sent arrives though the sender dies."""
        network, weather, at = self._network, self._network.weather, self._busy.get(call.subject, 0.0)
        if weather.late and network.chance() < weather.late:
            network.faults["request late"] += 1
            at = max(at, self.loop.time() + network.random.random() * weather.longest_s)
        if not at or at <= self.loop.time():
            arrive()
            return
        self._busy[call.subject] = at
        self.loop.call_at(at, self._arrived, call.subject, arrive, context=Context())

    def _arrived(self, subject: str, arrive: Callable[[], None]) -> None:
        if self._busy.get(subject, 0.0) <= self.loop.time():
            self._busy.pop(subject, None)
        if not self._network.down:
            arrive()

    def answer(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        network = self._network
        weather = network.weather
        if network.down or (weather.unanswered and network.chance() < weather.unanswered):
            network.note("answer lost", self._process, f"{call.kind} {call.subject}")
            return
        delay_s = 0.0
        if weather.slow and network.chance() < weather.slow:
            network.note("answer slow", self._process, f"{call.kind} {call.subject}")
            delay_s = network.random.random() * self.timeout_s * 1.5
        elif weather.late and network.chance() < weather.late:
            network.faults["answer late"] += 1
            delay_s = network.random.random() * weather.longest_s
        if self.dead:
            return
        if delay_s:
            self.loop.call_later(delay_s, self._answered, call, arrive, context=self._context)
        else:
            self.loop.call_soon(self._answered, call, arrive, context=self._context)

    def _answered(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        if self.dead:
            return
        arrive()
        if call.kind == "cell.write" and call.subject == "engine.lease":
            self._network.leader = self._process
        if call.kind in self._network.dying:
            self._network.cross(self._process, call, "answered")

    def deliver(self, subject: str, arrive: Callable[[], None]) -> None:
        network = self._network
        if network.down or (network.weather.unheard and network.chance() < network.weather.unheard):
            network.faults["delivery lost"] += 1
            return
        late = network.weather.late and network.chance() < network.weather.late
        self.soon(arrive, network.random.random() * network.weather.longest_s if late else 0.0)
