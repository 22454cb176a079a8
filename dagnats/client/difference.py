"""Differences between a run, folded from its history, and what lies outside that.

What a run lacks is known at one look, as it was made before the engine's position moved. What is left over may be on
its way out: whoever compares looks again before they say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core.attempt import is_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.client.fold import Fold
    from dagnats.client.stock import Attempt, Goods
    from dagnats.model.run import Run
    from dagnats.model.waiter import Waiter
    from dagnats.runtime.core.action import AddWaiter
    from dagnats.runtime.core.gate.book import RunTicket
    from dagnats.runtime.core.graph import Graph

Kind = Literal["unreadable", "start", "definition", "fold", "snapshot", "task", "wake-up", "waiter", "gate", "limit"]
Cure = Literal["", "snapshot", "remove", "rebuild"]

SOON_NS = 60 * 1_000_000_000
"""A wake-up that nobody waits for, and is nearer than that, goes by itself: see `DropTimer`. So does a task of a run
that has ended since."""


class Difference(NamedTuple):
    """Something that is not as the log says.

    Attributes:
        run_id: Which run; for a `limit`, whose it is.
        kind: `unreadable` event, missing `start`, missing `definition`, `fold` that raises; else what it is about.
        detail: What is.
        expected: What should be, where that can be said.
        cure: What `mend` does: write the `snapshot` again, `remove` what is left over, or have the engine `rebuild`
            all that follows from the log. "" leaves it to people.
        step_id: Which step, or "".
        place: Of what is to be removed: its sequence, or its attempt.
        time_ns: When a task that is to be removed was queued.
    """

    run_id: str
    kind: Kind
    detail: str
    expected: str = ""
    cure: Cure = ""
    step_id: str = ""
    place: int = 0
    time_ns: int = 0

    @property
    def mendable(self) -> bool:
        """Whether `mend` can put it right."""
        return self.cure != ""


def of_live(graph: Graph, fold: Fold, goods: Goods, now_ns: int) -> list[Difference]:
    """What differs around a run that the log has."""
    return [
        *_tasks(graph, fold.run, goods, now_ns),
        *_wakeups(fold.run, goods, now_ns),
        *_waiters(fold, goods),
        *_gates(fold, goods),
    ]


def of_gone(run_id: str, goods: Goods, now_ns: int) -> list[Difference]:
    """What is left of a run that the log does not have any more."""
    found = [_left_task(run_id, attempt, *each) for attempt, tasks in goods.tasks.items() for each in tasks]
    found += [_left_wakeup(run_id, each.seq) for each in goods.wakeups if each.due_ns > now_ns + SOON_NS]
    found += [_left_waiter(run_id, attempt, waiter) for attempt, waiter in goods.waiters.items()]
    if goods.tickets or goods.ticket is not None:
        found.append(Difference(run_id, "gate", "it has a place at a gate", "none: its history is gone", "rebuild"))
    return found


# -- tasks -------------------------------------------------------------------------------------------------------


def _tasks(graph: Graph, run: Run, goods: Goods, now_ns: int) -> Iterator[Difference]:
    wanted = {(step_id, state.attempt) for step_id, state in run.steps.items() if _is_handed_out(graph, run, step_id)}
    held = {(ticket.step_id, ticket.attempt) for ticket in goods.tickets if ticket.state != "out"}
    for step_id, attempt in sorted(wanted - set(goods.tasks) - held):
        status = run.steps[step_id].status
        detail = f"step {step_id!r} is {status}, and attempt {attempt} is in no queue"
        yield Difference(run.run_id, "task", detail, "queued, or with a worker", "rebuild", step_id)
    for attempt in sorted(set(goods.tasks) - wanted):
        if _goes_by_itself(run, *attempt, now_ns):
            continue
        for each in goods.tasks[attempt]:
            yield _left_task(run.run_id, attempt, *each)


def _is_handed_out(graph: Graph, run: Run, step_id: str) -> bool:
    node, state = graph.node(step_id, run), run.steps[step_id]
    if run.ended or node is None or not node.task or state.status not in IN_FLIGHT:
        return False
    if state.sticky:  # it lies in a worker's own queue, which is not looked at
        return False
    return not (state.retry_at_ns or state.held or state.left or state.items)


def _goes_by_itself(run: Run, step_id: str, attempt: int, now_ns: int) -> bool:
    """Whether an attempt was handed out, and is over or given up: the next worker drops its task, or the engine does on
    one of its walks through the queues.

    Taking it out at once would cost a look through all the run's tasks of the type for every attempt that times out.
    """
    if run.ended and run.ended_ns < now_ns - SOON_NS:
        return False
    state = run.steps.get(step_id)
    return state is not None and attempt <= state.attempt


def _left_task(run_id: str, attempt: Attempt, seq: int, time_ns: int) -> Difference:
    step_id, number = attempt
    detail = f"attempt {number} of step {step_id!r} is in its queue or with a worker (task {seq})"
    expected = "no task: nobody waits for its result"
    return Difference(run_id, "task", detail, expected, "remove", step_id, seq, time_ns)


# -- wake-ups ----------------------------------------------------------------------------------------------------


def _wakeups(run: Run, goods: Goods, now_ns: int) -> Iterator[Difference]:
    wanted = 0 if run.ended else run.wake_seq
    if wanted and all(each.seq != wanted for each in goods.wakeups):
        detail = f"there is no wake-up for what event {wanted} waits for"
        yield Difference(run.run_id, "wake-up", detail, "one that is stored", "rebuild")
    for each in goods.wakeups:
        if each.seq != wanted and each.due_ns > now_ns + SOON_NS:
            yield _left_wakeup(run.run_id, each.seq)


def _left_wakeup(run_id: str, seq: int) -> Difference:
    detail = f"there is a wake-up that event {seq} asked for"
    return Difference(run_id, "wake-up", detail, "none of that: nobody waits for it", "remove", place=seq)


# -- waiters -----------------------------------------------------------------------------------------------------


def _waiters(fold: Fold, goods: Goods) -> Iterator[Difference]:
    run_id = fold.run.run_id
    for attempt, action in fold.waiters.items():
        waiter, what = goods.waiters.get(attempt), f"{attempt[0]!r}, attempt {attempt[1]}"
        if waiter is None:
            detail = f"nothing is stored of what {what} waits for: an event {action.event!r}"
            yield Difference(run_id, "waiter", detail, "a waiter", "rebuild", attempt[0])
        elif names := _unlike(action, waiter):
            detail = f"what is stored of what {what} waits for differs in {', '.join(names)}"
            yield Difference(run_id, "waiter", detail, "as the history says", "rebuild", attempt[0])
    for attempt in sorted(set(goods.waiters) - set(fold.waiters)):
        yield _left_waiter(run_id, attempt, goods.waiters[attempt])


def _unlike(action: AddWaiter, waiter: Waiter) -> list[str]:
    names = ("event", "left", "op", "right", "since_ns", "until_ns")
    return [name for name in names if getattr(action, name) != getattr(waiter, name)]


def _left_waiter(run_id: str, attempt: Attempt, waiter: Waiter) -> Difference:
    step_id, number = attempt
    detail = f"a waiter of {step_id!r}, attempt {number}, for an event {waiter.event!r} is stored"
    return Difference(run_id, "waiter", detail, "none: it waits no more", "remove", step_id, number)


# -- gates -------------------------------------------------------------------------------------------------------


def _gates(fold: Fold, goods: Goods) -> Iterator[Difference]:
    run = fold.run
    for ticket in goods.tickets:
        state, which = run.steps.get(ticket.step_id), f"attempt {ticket.attempt} of step {ticket.step_id!r}"
        has = "has a slot" if ticket.state == "out" else "waits"
        if state is None or not is_out(run, ticket.step_id, ticket.attempt):
            detail = f"{which} {has} at the gate of {ticket.task!r}"
            yield Difference(run.run_id, "gate", detail, "no place: it is over", "rebuild", ticket.step_id)
        elif state.admitted and ticket.state != "out":
            detail = f"{which} waits at the gate of {ticket.task!r}"
            yield Difference(run.run_id, "gate", detail, "it was let through", "rebuild", ticket.step_id)
    yield from _slots(fold, goods)
    if wrong := _place(fold, goods.ticket):
        detail, expected = wrong
        yield Difference(
            run.run_id, "gate", f"{detail} at the gate of workflow {run.workflow_id!r}", expected, "rebuild"
        )


def _slots(fold: Fold, goods: Goods) -> Iterator[Difference]:
    """Attempts in flight that do not count, though their definition limits how many may be."""
    run = fold.run
    there = {(ticket.step_id, ticket.attempt) for ticket in goods.tickets}
    for (step_id, attempt), action in fold.tasks.items():
        if not action.limits.concurrency or (step_id, attempt) in there:
            continue
        if is_out(run, step_id, attempt):
            detail = f"attempt {attempt} of step {step_id!r} has no place at the gate of {action.task!r}"
            yield Difference(run.run_id, "gate", detail, "a slot, or a place in the line", "rebuild", step_id)


def _place(fold: Fold, ticket: RunTicket | None) -> tuple[str, str] | None:
    """What is wrong with the run's own place: what is, and what should be."""
    status = fold.run.status
    if ticket is None:
        return ("it has no place", f"one: it is {status}, and asked for it") if fold.asks else None
    if not fold.asks:
        return f"it has a place ({ticket.state})", f"none: it is {status}"
    if (ticket.state == "active") is (status == "pending"):
        return f"its place is {ticket.state}", f"another one: it is {status}"
    return None
