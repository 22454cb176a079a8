"""The gates of workflows: how many runs go on at a time, one run at a time, whether any may begin.

A run that asks has its place from then on. What holds it back is asked in this order: the singleton, the pause, the
number of runs. A singleton is had by a run that waits as well; the run that is to follow it waits for its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.runtime.core.gate.book import RunTicket
from dagnats.runtime.core.gate.line import Line
from dagnats.runtime.core.gate.task import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.ops import WorkflowLimited
    from dagnats.runtime.core.action import AskAdmission
    from dagnats.runtime.core.gate.book import Leaf

Place = tuple[str, str]
"""(workflow, key): runs that are counted together."""


class Refusal(NamedTuple):
    """A run that is to be cancelled, and why."""

    run_id: str
    why: str


class _Gate:
    """Runs that are counted together: those that go on, and those that wait, by their limit (-1: none can hold it)."""

    __slots__ = ("lines", "out")

    def __init__(self) -> None:
        self.out: set[str] = set()
        self.lines: dict[int, Line[str]] = {}

    def put(self, ticket: RunTicket) -> None:
        self.lines.setdefault(_group(ticket), Line()).put(ticket.run_id, (ticket.start_ns, ticket.seq))

    def drop(self, ticket: RunTicket) -> None:
        group = _group(ticket)
        self.lines[group].drop(ticket.run_id)
        if not self.lines[group]:
            del self.lines[group]

    @property
    def is_idle(self) -> bool:
        return not (self.out or self.lines)


class _Lock:
    """A singleton: who has it, and who is to follow ("" for nobody)."""

    __slots__ = ("holder", "successor")

    def __init__(self) -> None:
        self.holder = self.successor = ""


class RunGates:
    """All workflows."""

    def __init__(self, tickets: Leaf[RunTicket], limits: Leaf[WorkflowLimited]) -> None:
        self._tickets = tickets
        self._limits = limits
        self._gates: dict[Place, _Gate] = {}
        self._locks: dict[str, _Lock] = {}
        for ticket in tickets.entries.values():
            if ticket.state != "refused":
                self._open(ticket)

    def _open(self, ticket: RunTicket) -> None:
        if ticket.state == "waiting":
            self._gate(_place(ticket)).put(ticket)
        elif ticket.state != "next" and not ticket.free:
            self._gate(_place(ticket)).out.add(ticket.run_id)
        if ticket.singleton:
            lock = self._locks.setdefault(ticket.singleton, _Lock())
            if ticket.state == "next":
                lock.successor = ticket.run_id
            else:
                lock.holder = ticket.run_id

    def _gate(self, place: Place) -> _Gate:
        gate = self._gates.get(place)
        if gate is None:
            gate = self._gates[place] = _Gate()
        return gate

    def places(self, workflow: str) -> list[Place]:
        """Where runs of a workflow wait or go on."""
        return [place for place in self._gates if place[0] == workflow]

    # -- what happens to a run -------------------------------------------------------------------------------

    def ask(self, action: AskAdmission, now_ns: int) -> tuple[Place, list[Refusal]]:
        """A run wants to begin; gives where it waits, and who is to be cancelled for it, itself perhaps."""
        place = (action.workflow, short(action.key))
        out = self._gates[place].out if place in self._gates else set[str]()
        ticket = RunTicket(
            run_id=action.run_id,
            workflow=action.workflow,
            seq=action.seq,
            since_ns=now_ns,
            start_ns=now_ns - action.offset_ns,
            max_runs=action.max_runs,
            key=place[1],
            free=any(above in out for above in action.ancestors),
            singleton=f"{action.workflow}/{short(action.singleton_key)}" if action.singleton else "",
        )
        refusals: list[Refusal] = []
        if ticket.singleton:
            ticket = self._claim(action, ticket, refusals)
        self._tickets.put(ticket.run_id, ticket)
        if ticket.state == "waiting":
            self._gate(place).put(ticket)
        return place, refusals

    def _claim(self, action: AskAdmission, ticket: RunTicket, refusals: list[Refusal]) -> RunTicket:
        """Ask for a singleton."""
        lock = self._locks.setdefault(ticket.singleton, _Lock())
        if not lock.holder:
            lock.holder = ticket.run_id
            return ticket
        above = lock.holder in action.ancestors
        if above or action.singleton == "skip":
            what = f"singleton {action.singleton}" if not above else "singleton held by a run above"
            refusal = Refusal(ticket.run_id, f"{what}: run already active: {lock.holder}")
            refusals.append(refusal)
            return msgspec.structs.replace(ticket, state="refused", singleton="", why=refusal.why)
        if lock.successor:
            refusals.append(self._replaced(lock.successor, ticket.run_id))
        else:
            refusals.append(Refusal(lock.holder, replaced_by(ticket.run_id)))
        lock.successor = ticket.run_id
        return msgspec.structs.replace(ticket, state="next")

    def _replaced(self, run_id: str, by: str) -> Refusal:
        """A run that was to follow, and that a newer one takes the place of."""
        refusal = Refusal(run_id, replaced_by(by))
        ticket = self._tickets.entries[run_id]
        self._tickets.put(run_id, msgspec.structs.replace(ticket, state="refused", singleton="", why=refusal.why))
        return refusal

    def began(self, run_id: str) -> Place | None:
        """The history says that a run has begun, whoever let it."""
        ticket = self._tickets.entries.get(run_id)
        if ticket is None or ticket.state == "active":
            return None
        if ticket.state != "granted":  # said by hand
            self._take(ticket)
            ticket = self._without_waiting_for(ticket)
        self._tickets.put(run_id, msgspec.structs.replace(ticket, state="active"))
        return _place(ticket)

    def _without_waiting_for(self, ticket: RunTicket) -> RunTicket:
        """A run that was let go beside the one it was to follow has no claim to its singleton."""
        if ticket.state != "next":
            return ticket
        self._locks[ticket.singleton].successor = ""
        return msgspec.structs.replace(ticket, singleton="")

    def release(self, run_id: str) -> list[Place]:
        """A run has ended: what it had, or waited for, is free. Gives where somebody may begin now."""
        ticket = self._tickets.drop(run_id)
        if ticket is None:
            return []
        gate = self._gate(_place(ticket))
        gate.out.discard(run_id)
        if ticket.state == "waiting":
            gate.drop(ticket)
        places = [_place(ticket)]
        lock = self._locks.get(ticket.singleton)
        if lock is not None:
            places += self._unlock(ticket.singleton, lock, run_id)
        return places

    def _unlock(self, name: str, lock: _Lock, run_id: str) -> list[Place]:
        """Pass a singleton on."""
        if lock.successor == run_id:
            lock.successor = ""
        else:
            lock.holder, lock.successor = lock.successor, ""
        if not lock.holder:
            del self._locks[name]
            return []
        ticket = self._tickets.entries[lock.holder]
        if ticket.state != "next":
            return []
        ticket = msgspec.structs.replace(ticket, state="waiting")
        self._tickets.put(ticket.run_id, ticket)
        self._gate(_place(ticket)).put(ticket)
        return [_place(ticket)]

    # -- who may begin ---------------------------------------------------------------------------------------

    def pump(self, place: Place) -> list[str]:
        """Let begin whoever may, in order; gives the runs, which are `granted` now."""
        gate = self._gate(place)
        gone: list[str] = []
        while (run_id := self._next(gate, place[0])) is not None:
            ticket = self._tickets.entries[run_id]
            self._take(ticket)
            self._tickets.put(run_id, msgspec.structs.replace(ticket, state="granted"))
            gone.append(run_id)
        if gate.is_idle:
            del self._gates[place]
        return gone

    def _next(self, gate: _Gate, workflow: str) -> str | None:
        said = self._limits.entries.get(workflow)
        if said is not None and said.paused:
            return None
        heads = [
            first
            for group, line in gate.lines.items()
            if self._has_room(gate, group, said) and (first := line.first()) is not None
        ]
        return min(heads)[1] if heads else None

    def _has_room(self, gate: _Gate, group: int, said: WorkflowLimited | None) -> bool:
        limit = said.max_runs if said is not None and said.max_runs and group >= 0 else group
        return limit <= 0 or len(gate.out) < limit

    def _take(self, ticket: RunTicket) -> None:
        """Leave the line, and take a slot."""
        gate = self._gate(_place(ticket))
        if ticket.state == "waiting":
            gate.drop(ticket)
        if not ticket.free:
            gate.out.add(ticket.run_id)

    # -- for those who look ----------------------------------------------------------------------------------

    def counts(self) -> Iterator[tuple[Place, int, int]]:
        """How many runs go on at each place, and how many wait there."""
        for place, gate in self._gates.items():
            yield place, len(gate.out), sum(map(len, gate.lines.values()))

    def holders(self) -> Iterator[tuple[str, str]]:
        """Each singleton that is had, and the run that has it."""
        for name, lock in self._locks.items():
            yield name, lock.holder

    def holder(self, singleton: str) -> str:
        """The run that has a singleton."""
        lock = self._locks.get(singleton)
        return lock.holder if lock is not None else ""


def _place(ticket: RunTicket) -> Place:
    return ticket.workflow, ticket.key


def _group(ticket: RunTicket) -> int:
    return -1 if ticket.free else ticket.max_runs


def replaced_by(run_id: str) -> str:
    """Why a run with a singleton, or one that was to follow it, is cancelled."""
    return f"singleton cancel: run {run_id} takes its place"
