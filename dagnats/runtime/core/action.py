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
    """Put one attempt of a step into its task type's queue."""

    workflow: str
    step_id: str
    task: str
    attempt: int
    input: msgspec.Raw
    timeout_ns: int
    trace_parent: str


class SetTimer(Action, frozen=True, kw_only=True):
    """Wake the run at `due_ns`. `seq` is the event that asks for it: it names the timer."""

    due_ns: int
    seq: int


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


AnyAction = EnqueueTask | SetTimer | AppendEvent | SendDeadLetter | EndRun


class Decision(NamedTuple):
    """What one event leads to: the run after it (None when the log has no such run), and what is to be done."""

    run: Run | None
    actions: tuple[AnyAction, ...]
