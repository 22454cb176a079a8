"""The gates as people look at them: who has a slot, who waits, in which place, and for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dagnats.runtime.core.gate.bucket import ready_ns

if TYPE_CHECKING:
    from dagnats.model.ops import TaskLimited, WorkflowLimited
    from dagnats.runtime.core.gate.book import Page, RunTicket, TaskTicket


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """An attempt at a gate.

    Attributes:
        run_id, step_id, attempt: Whose it is.
        place: Its place in the line, from 1; 0 for one that is not in it.
        since_ns: When it was queued.
        priority: Higher ones go first.
        key: The value its keyed rate counts for; "" without one.
        queue: Where it goes when it may; "" for one worker's own.
    """

    run_id: str
    step_id: str
    attempt: int
    place: int
    since_ns: int
    priority: int
    key: str
    queue: str = ""


@dataclass(frozen=True, slots=True)
class TaskGateView:
    """The gate of a task type.

    Attributes:
        task: The type.
        said: What an operator said, if anything holds.
        concurrency: How many may be in flight, the operator's number or the definitions' of those who are there; 0 for
            no limit.
        out: Attempts that have a slot.
        waiting: Attempts that wait, in order.
        full: Those of its queues that take no more tasks until workers have taken some.
        next_ns: When a rate lets the first in line begin; 0 when none holds it.
    """

    task: str
    said: TaskLimited | None
    concurrency: int
    out: tuple[TaskPlace, ...]
    waiting: tuple[TaskPlace, ...]
    full: frozenset[str] = frozenset()
    next_ns: int = 0


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A run at a gate.

    Attributes:
        run_id: The run.
        place: Its place in the line, from 1; 0 for one that is not in it.
        since_ns: When it asked.
        why: `pause`, `max_runs` or `singleton` for one that waits; "" for one that goes on.
    """

    run_id: str
    place: int
    since_ns: int
    why: Literal["", "pause", "max_runs", "singleton"]


@dataclass(frozen=True, slots=True)
class RunGateView:
    """The gate of a workflow, for one value of its key.

    Attributes:
        workflow: Its name.
        key: The value; "" without a key.
        said: What an operator said, if anything holds.
        max_runs: How many may go on, the operator's number or the definition's; 0 for no limit.
        out: Runs that go on.
        waiting: Runs that wait, in order; those that wait for a singleton last.
    """

    workflow: str
    key: str
    said: WorkflowLimited | None
    max_runs: int
    out: tuple[RunPlace, ...]
    waiting: tuple[RunPlace, ...]


@dataclass(frozen=True, slots=True)
class GateView:
    """All gates that hold anything, or that operators have set."""

    tasks: tuple[TaskGateView, ...]
    runs: tuple[RunGateView, ...]

    def task(self, task: str) -> TaskGateView:
        """The gate of a task type; an open one when nothing is known of it."""
        found = [gate for gate in self.tasks if gate.task == task]
        return found[0] if found else TaskGateView(task, None, 0, (), ())

    def run(self, run_id: str) -> tuple[RunGateView, RunPlace] | None:
        """The gate at which a run waits, and its place; None when none holds it."""
        for gate in self.runs:
            for place in gate.waiting:
                if place.run_id == run_id:
                    return gate, place
        return None

    def steps(self, run_id: str) -> list[tuple[TaskGateView, TaskPlace]]:
        """The gates at which attempts of a run wait, and their places."""
        return [(gate, place) for gate in self.tasks for place in gate.waiting if place.run_id == run_id]


def view_of(page: Page) -> GateView:
    """The gates with these entries."""
    return GateView(tuple(_task_views(page)), tuple(_run_views(page)))


def _task_views(page: Page) -> list[TaskGateView]:
    tickets = [ticket for ticket in page.tasks.values() if ticket is not None]
    by_task: dict[str, list[TaskTicket]] = {task: [] for task, said in page.task_limits.items() if said is not None}
    for ticket in sorted(tickets, key=lambda ticket: (-ticket.priority, ticket.seq, ticket.at)):
        by_task.setdefault(ticket.task, []).append(ticket)
    full = {queue for queue, room in page.rooms.items() if room == 0}
    return [_task_view(page, task, by_task[task], full) for task in sorted(by_task)]


def _task_view(page: Page, task: str, tickets: list[TaskTicket], full: set[str]) -> TaskGateView:
    said = page.task_limits.get(task)
    waiting = [ticket for ticket in tickets if ticket.state == "waiting"]
    return TaskGateView(
        task=task,
        said=said,
        concurrency=(said.concurrency if said is not None else 0)
        or max((ticket.concurrency for ticket in tickets), default=0),
        out=tuple(_task_place(ticket, 0) for ticket in tickets if ticket.slot),
        waiting=tuple(_task_place(ticket, place) for place, ticket in enumerate(waiting, 1)),
        full=frozenset(full.intersection(ticket.queue for ticket in waiting)),
        next_ns=_next_ns(page, task, said, waiting[0]) if waiting else 0,
    )


def _next_ns(page: Page, task: str, said: TaskLimited | None, first: TaskTicket) -> int:
    """When the rates let `first` begin, as a time of the log; 0 when they do already."""
    rate, period_ns = (said.rate, said.period_ns) if said is not None and said.rate else (first.rate, first.period_ns)
    ready = 0
    if rate and (full_ns := page.buckets.get(task)):
        ready = ready_ns(full_ns, rate, period_ns, 1)
    if first.keyed_rate and (full_ns := page.buckets.get(f"{task}/{first.key}")):
        ready = max(ready, ready_ns(full_ns, first.keyed_rate, first.keyed_period_ns, first.units))
    return ready - page.clock_ns + page.last_ns if ready > page.clock_ns else 0


def _task_place(ticket: TaskTicket, place: int) -> TaskPlace:
    return TaskPlace(
        ticket.run_id,
        ticket.step_id,
        ticket.attempt,
        place,
        ticket.since_ns,
        ticket.priority,
        ticket.key,
        ticket.queue,
    )


def _run_views(page: Page) -> list[RunGateView]:
    tickets = [ticket for ticket in page.runs.values() if ticket is not None and ticket.state != "refused"]
    places: dict[tuple[str, str], list[RunTicket]] = {
        (workflow, ""): [] for workflow, said in page.workflow_limits.items() if said is not None
    }
    for ticket in sorted(tickets, key=lambda ticket: (ticket.state == "next", ticket.start_ns, ticket.seq)):
        places.setdefault((ticket.workflow, ticket.key), []).append(ticket)
    return [_run_view(place, page.workflow_limits.get(place[0]), places[place]) for place in sorted(places)]


def _run_view(place: tuple[str, str], said: WorkflowLimited | None, tickets: list[RunTicket]) -> RunGateView:
    waiting = [ticket for ticket in tickets if ticket.state in ("waiting", "next")]
    return RunGateView(
        workflow=place[0],
        key=place[1],
        said=said,
        max_runs=(said.max_runs if said is not None else 0) or max((ticket.max_runs for ticket in tickets), default=0),
        out=tuple(
            RunPlace(ticket.run_id, 0, ticket.since_ns, "")
            for ticket in tickets
            if ticket.state in ("granted", "active") and not ticket.free
        ),
        waiting=tuple(
            RunPlace(ticket.run_id, at, ticket.since_ns, _why(ticket, said)) for at, ticket in enumerate(waiting, 1)
        ),
    )


def _why(ticket: RunTicket, said: WorkflowLimited | None) -> Literal["pause", "max_runs", "singleton"]:
    if ticket.state == "next":
        return "singleton"
    return "pause" if said is not None and said.paused else "max_runs"
