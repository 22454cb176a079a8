"""The gates of task types: how many tasks are in flight, how many start in a time, whether any may; and of queues: how
many more tasks they take.

A task takes all its gates at once or none. Waiting ones go by priority, then by arrival; one that only its own key
holds back lets the others pass.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.runtime.core.gate.book import TaskTicket
from dagnats.runtime.core.gate.bucket import emptied, ready_ns, spent
from dagnats.runtime.core.gate.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.ops import TaskLimited
    from dagnats.runtime.core.action import EnqueueTask
    from dagnats.runtime.core.gate.book import Leaf

_LONGEST_KEY = 64


def short(key: str) -> str:
    """A value that limits count for, or its hash when it is long."""
    return key if len(key) <= _LONGEST_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def ticket_name(run_id: str, step_id: str, attempt: int) -> str:
    """The name of an attempt's ticket."""
    return f"{run_id}/{step_id}/{attempt}"


def queue_of(action: EnqueueTask) -> str:
    """The queue that a task goes into; "" for one worker's own."""
    if action.worker_id:
        return ""
    return f"{action.task}.{action.group}" if action.group else action.task


class _Lane(NamedTuple):
    """Tasks that nothing but their order tells apart: limited alike, for the same key."""

    concurrency: int
    rate: int
    period_ns: int
    keyed_rate: int
    keyed_period_ns: int
    units: int
    key: str
    queue: str


class _Kind(NamedTuple):
    """What of a lane is about the whole type, or its queue."""

    concurrency: int
    rate: int
    period_ns: int
    queue: str


class _Gate:
    """One task type.

    Attributes:
        out: Tickets with a slot.
        lanes: Tickets that wait, by lane.
        heads: The first one's order of each lane that its key does not hold back, by what limits the type for it.
        asleep: Lanes that their key holds back, by the instant until when.
    """

    __slots__ = ("asleep", "heads", "lanes", "out")

    def __init__(self) -> None:
        self.out: set[str] = set()
        self.lanes: dict[_Lane, Line[str]] = {}
        self.heads: dict[_Kind, Line[_Lane]] = {}
        self.asleep: Line[_Lane] = Line()

    def put(self, name: str, ticket: TaskTicket) -> None:
        """A ticket waits."""
        lane = _lane(ticket)
        self.lanes.setdefault(lane, Line()).put(name, (-ticket.priority, ticket.seq, ticket.at))
        self._look_at(lane)

    def drop(self, name: str, ticket: TaskTicket) -> None:
        """A ticket waits no longer."""
        lane = _lane(ticket)
        self.lanes[lane].drop(name)
        self._look_at(lane)

    def _look_at(self, lane: _Lane) -> None:
        """Have the lane's first one at its place among the others."""
        first = self.lanes[lane].first()
        kind = _kind(lane)
        if first is None:
            del self.lanes[lane]
            self.asleep.drop(lane)
            self._leave(kind, lane)
        elif lane not in self.asleep:
            self.heads.setdefault(kind, Line()).put(lane, first[0])

    def _leave(self, kind: _Kind, lane: _Lane) -> None:
        heads = self.heads.get(kind)
        if heads is not None:
            heads.drop(lane)
            if not heads:
                del self.heads[kind]

    def sleep(self, lane: _Lane, until_ns: int) -> None:
        """Pass the lane over until its key has room."""
        self.asleep.put(lane, (until_ns,))
        self._leave(_kind(lane), lane)

    def rouse(self, now_ns: int) -> None:
        """Look again at lanes whose time has come."""
        while (first := self.asleep.first()) is not None and first[0][0] <= now_ns:
            self.asleep.drop(first[1])
            self._look_at(first[1])

    @property
    def is_idle(self) -> bool:
        return not (self.out or self.lanes)


class TaskGates:
    """All task types.

    Attributes:
        of_run: The tickets of each run that has some.
        ready_ns: When time alone lets the first waiting task go, by type, for types where it does.
    """

    def __init__(
        self, tickets: Leaf[TaskTicket], buckets: Leaf[int], limits: Leaf[TaskLimited], rooms: Leaf[int]
    ) -> None:
        self._tickets = tickets
        self._buckets = buckets
        self._limits = limits
        self._rooms = rooms
        self._gates: dict[str, _Gate] = {}
        self._full: Line[str] = Line()  # buckets, by the instant at which they are full
        self.of_run: dict[str, set[str]] = {}
        self.ready_ns: dict[str, int] = {}
        for name, ticket in tickets.entries.items():
            self.of_run.setdefault(ticket.run_id, set()).add(name)
            gate = self._gate(ticket.task)
            if ticket.state == "waiting":
                gate.put(name, ticket)
            elif ticket.slot:
                gate.out.add(name)
        for name, full_ns in buckets.entries.items():
            self._full.put(name, (full_ns,))

    def _gate(self, task: str) -> _Gate:
        gate = self._gates.get(task)
        if gate is None:
            gate = self._gates[task] = _Gate()
        return gate

    @property
    def types(self) -> list[str]:
        """The task types that something waits or counts for."""
        return list(self._gates)

    def counts(self) -> Iterator[tuple[str, int, int]]:
        """How many of each type have a slot, and how many wait."""
        for task, gate in self._gates.items():
            yield task, len(gate.out), sum(map(len, gate.lanes.values()))

    @property
    def lines(self) -> set[str]:
        """The queues that somebody waits to be put into."""
        return {lane.queue for gate in self._gates.values() for lane in gate.lanes}

    # -- what happens to a task ------------------------------------------------------------------------------

    def arrive(self, action: EnqueueTask, seq: int, at: int, since_ns: int) -> str:
        """A task is to be handed out; gives its ticket's name."""
        name = ticket_name(action.run_id, action.step_id, action.attempt)
        limits = action.limits
        ticket = TaskTicket(
            run_id=action.run_id,
            step_id=action.step_id,
            attempt=action.attempt,
            task=action.task,
            seq=seq,
            at=at,
            since_ns=since_ns,
            priority=action.priority,
            concurrency=limits.concurrency,
            rate=limits.rate,
            period_ns=limits.period_ns,
            keyed_rate=limits.keyed_rate,
            keyed_period_ns=limits.keyed_period_ns,
            units=limits.units,
            key=short(action.key),
            queue=queue_of(action),
        )
        self._tickets.put(name, ticket)
        self.of_run.setdefault(ticket.run_id, set()).add(name)
        self._gate(action.task).put(name, ticket)
        return name

    def release(self, name: str) -> str:
        """An attempt is over, or given up: what it has, or waits for, is free. Gives its type, "" if it had nothing."""
        ticket = self._tickets.entries.get(name)
        if ticket is None:
            return ""
        self._forget(name, ticket)
        gate = self._gate(ticket.task)
        if ticket.state == "waiting":
            gate.drop(name, ticket)
        gate.out.discard(name)
        return ticket.task

    def go(self, name: str, now_ns: int) -> None:
        """The history says that a task may go, whoever said so."""
        ticket = self._tickets.entries.get(name)
        if ticket is None or ticket.state == "out":
            return
        if ticket.state == "waiting":  # said by hand: it goes, and counts
            self._take(name, ticket, now_ns)
        self.out(name)

    def out(self, name: str) -> None:
        """A task that has what it needs is handed out; what counts for nothing is forgotten."""
        ticket = self._tickets.entries[name]
        if ticket.slot:
            self._tickets.put(name, msgspec.structs.replace(ticket, state="out"))
        else:
            self._forget(name, ticket)

    def _forget(self, name: str, ticket: TaskTicket) -> None:
        self._tickets.drop(name)
        names = self.of_run[ticket.run_id]
        names.discard(name)
        if not names:
            del self.of_run[ticket.run_id]

    # -- who may go ------------------------------------------------------------------------------------------

    def pump(self, task: str, now_ns: int) -> list[str]:
        """Let go whoever may, in order; gives their tickets, which are `granted` now."""
        gate = self._gate(task)
        gone: list[str] = []
        gate.rouse(now_ns)
        while (name := self._next(gate, task, now_ns)) is not None:
            self._take(name, self._tickets.entries[name], now_ns)
            gone.append(name)
        self._note_ready(gate, task, now_ns)
        if gate.is_idle:
            del self._gates[task]
        return gone

    def _next(self, gate: _Gate, task: str, now_ns: int) -> str | None:
        """The first one that nothing holds back."""
        best: tuple[tuple[int, ...], _Lane] | None = None
        for kind in list(gate.heads):
            limits = self._effective(task, kind)
            if limits is None or self._is_full(gate, limits) or self._rate_ready_ns(task, limits) > now_ns:
                continue
            if not self._has_room(kind):
                continue
            head = self._head(gate, kind, task, now_ns)
            if head is not None and (best is None or head[0] < best[0]):
                best = head
        if best is None:
            return None
        first = gate.lanes[best[1]].first()
        return first[1] if first is not None else None

    def _head(self, gate: _Gate, kind: _Kind, task: str, now_ns: int) -> tuple[tuple[int, ...], _Lane] | None:
        """The first lane of a kind that its key does not hold back."""
        while (heads := gate.heads.get(kind)) is not None:
            first = heads.first()
            assert first is not None, "heads that nobody waits at are dropped"
            until_ns = self._key_ready_ns(task, first[1])
            if until_ns <= now_ns:
                return first
            gate.sleep(first[1], until_ns)
        return None

    def _effective(self, task: str, kind: _Kind) -> _Kind | None:
        """The limits that count, an operator's before the definition's; None while the type is paused."""
        said = self._limits.entries.get(task)
        if said is None:
            return kind
        if said.paused:
            return None
        rate = (said.rate, said.period_ns) if said.rate else (kind.rate, kind.period_ns)
        return _Kind(said.concurrency or kind.concurrency, *rate, kind.queue)

    def _is_full(self, gate: _Gate, limits: _Kind) -> bool:
        return bool(limits.concurrency) and len(gate.out) >= limits.concurrency

    def _has_room(self, kind: _Kind) -> bool:
        return self._rooms.entries.get(kind.queue) != 0

    def _rate_ready_ns(self, task: str, limits: _Kind) -> int:
        full_ns = self._buckets.entries.get(task)
        if not limits.rate or full_ns is None:
            return 0
        return ready_ns(full_ns, limits.rate, limits.period_ns, 1)

    def _key_ready_ns(self, task: str, lane: _Lane) -> int:
        full_ns = self._buckets.entries.get(_bucket(task, lane.key)) if lane.keyed_rate else None
        if full_ns is None:
            return 0
        return ready_ns(full_ns, lane.keyed_rate, lane.keyed_period_ns, lane.units)

    def _take(self, name: str, ticket: TaskTicket, now_ns: int) -> None:
        """Take a slot and tokens."""
        gate, task = self._gates[ticket.task], ticket.task
        lane = _lane(ticket)
        gate.drop(name, ticket)
        limits = self._effective(task, _kind(lane)) or _kind(lane)
        if limits.rate:
            self._spend(task, now_ns, limits.rate, limits.period_ns, 1)
        if lane.keyed_rate:
            self._spend(_bucket(task, lane.key), now_ns, lane.keyed_rate, lane.keyed_period_ns, lane.units)
        if room := self._rooms.entries.get(ticket.queue):
            self._rooms.put(ticket.queue, room - 1)
        slot = limits.concurrency > 0
        if slot:
            gate.out.add(name)
        self._tickets.put(name, msgspec.structs.replace(ticket, state="granted", slot=slot))

    def _spend(self, bucket: str, now_ns: int, limit: int, period_ns: int, units: int) -> None:
        self._fill(bucket, spent(self._buckets.entries.get(bucket, 0), now_ns, limit, period_ns, units))

    def _fill(self, bucket: str, full_ns: int) -> None:
        self._buckets.put(bucket, full_ns)
        self._full.put(bucket, (full_ns,))

    def relimit(self, said: TaskLimited, now_ns: int) -> None:
        """An operator's rate holds from now on, however slow the one before it was."""
        full_ns = self._buckets.entries.get(said.task)
        if said.rate and full_ns is not None:
            self._fill(said.task, emptied(full_ns, now_ns, said.rate, said.period_ns))

    # -- time ------------------------------------------------------------------------------------------------

    def _note_ready(self, gate: _Gate, task: str, now_ns: int) -> None:
        """When the passing of time alone lets somebody go."""
        times: list[int] = []
        asleep = gate.asleep.first()
        if asleep is not None and not self._is_paused(task):
            times.append(asleep[0][0])
        for kind in gate.heads:
            limits = self._effective(task, kind)
            if limits is not None and self._has_room(kind) and not self._is_full(gate, limits):
                times.append(max(self._rate_ready_ns(task, limits), now_ns + 1))
        if times:
            self.ready_ns[task] = min(times)
        else:
            self.ready_ns.pop(task, None)

    def _is_paused(self, task: str) -> bool:
        said = self._limits.entries.get(task)
        return said is not None and said.paused

    @property
    def full_ns(self) -> int:
        """When the first bucket is full and can be forgotten; 0 for none."""
        first = self._full.first()
        return first[0][0] if first is not None else 0

    def forget_full(self, now_ns: int) -> None:
        """Forget buckets that hold all they can: keys that nobody uses cost nothing."""
        while (first := self._full.first()) is not None and first[0][0] <= now_ns:
            self._full.drop(first[1])
            self._buckets.drop(first[1])


def _lane(ticket: TaskTicket) -> _Lane:
    return _Lane(
        ticket.concurrency,
        ticket.rate,
        ticket.period_ns,
        ticket.keyed_rate,
        ticket.keyed_period_ns,
        ticket.units,
        ticket.key if ticket.keyed_rate else "",
        ticket.queue,
    )


def _kind(lane: _Lane) -> _Kind:
    return _Kind(lane.concurrency, lane.rate, lane.period_ns, lane.queue)


def _bucket(task: str, key: str) -> str:
    return f"{task}/{key}"
