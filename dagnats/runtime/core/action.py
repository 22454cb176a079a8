"""What `advance` orders the shell to do. Every action carries the id that makes doing it twice harmless."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dagnats.model.event import AnyEvent, Failure, TerminalEvent
from dagnats.model.run import Run


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `id` is the message id: `{run}.{deciding sequence}.{n}`, the same whoever decides."""

    id: str
    run_id: str


class EnqueueTask(Action, frozen=True, kw_only=True):
    """Put one attempt of a step into its task type's queue.

    Attributes:
        timeout_ns: How long it may run; 0 for as long as it takes.
        heartbeat_ns: How long it may be silent while it runs; 0 for as long as it takes.
        expires_ns: When it is too late for a worker to begin it; 0 for never.
        deadline_ns: When the whole run's time is over; 0 for never.
    """

    workflow: str
    step_id: str
    task: str
    attempt: int
    input: msgspec.Raw
    timeout_ns: int
    heartbeat_ns: int
    expires_ns: int
    deadline_ns: int
    trace_parent: str


class SetTimer(Action, frozen=True, kw_only=True):
    """Wake the run at `due_ns`.

    Attributes:
        seq: The event that asks for it: it names the wake-up.
        replaces: The later wake-up that is not needed any more, by its name; 0 when there is none outstanding.
    """

    due_ns: int
    seq: int
    replaces: int


class DropTimer(Action, frozen=True, kw_only=True):
    """Forget the wake-up that event `seq` asked for: the run ended long before it is due."""

    seq: int


Attempt = tuple[str, str, int]
"""(step id, task type, attempt)."""


class CancelTasks(Action, frozen=True, kw_only=True):
    """Stop attempts whose results no longer count: take them out of their queues, tell the workers that run them.

    At most one in a decision, after the tasks that it queues: one of those may be among these. An attempt is named
    once in a run's life. Nothing depends on it: what is not stopped works for nobody.

    Attributes:
        steps: The attempts, queued or running when they were given up.
        ended: Whether the run has ended or its end is decided: whatever else it has in the queues may go too.
    """

    steps: tuple[Attempt, ...]
    ended: bool


class AppendEvent(Action, frozen=True, kw_only=True):
    """Add an event to the run's history."""

    event: AnyEvent


class SendDeadLetter(Action, frozen=True, kw_only=True):
    """Keep the task of a step that failed for good, so that it can be looked at and replayed."""

    step_id: str
    task: str
    attempt: int
    input: msgspec.Raw
    failure: Failure


class EndRun(Action, frozen=True, kw_only=True):
    """Append the run's terminal event, after all other actions of the decision are acknowledged."""

    event: TerminalEvent


AnyAction = EnqueueTask | SetTimer | DropTimer | CancelTasks | AppendEvent | SendDeadLetter | EndRun


class Decision(NamedTuple):
    """What one event leads to: the run after it (None when the log has no such run), and what is to be done."""

    run: Run | None
    actions: tuple[AnyAction, ...]
