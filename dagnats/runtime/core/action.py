"""What `advance` orders the shell to do. Every action carries the id that makes doing it twice harmless."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from dagnats.model.event import NOTHING, AnyEvent, Consumed, Failure, Question, TerminalEvent, WorkflowStarted
from dagnats.model.run import Run
from dagnats.runtime.core.node import UNLIMITED, Limits


class Action(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order. `id` is the message id: `{run}.{deciding sequence}.{n}`, the same whoever decides."""

    id: str
    run_id: str


class EnqueueTask(Action, frozen=True, kw_only=True):
    """Put one attempt of a step into its task type's queue.

    Attributes:
        group: The workers that get it; "" for all of the type.
        timeout_ns: How long it may run; 0 for as long as it takes.
        heartbeat_ns: How long it may be silent while it runs; 0 for as long as it takes.
        expires_ns: When it is too late for a worker to begin it; 0 for never.
        deadline_ns: When the whole run's time is over; 0 for never.
        iteration: Which turn of a loop it is, from 0.
        previous: What the turn before gave to this one.
        limits: What may hold it back.
        key: The value that its keyed rate limit counts for.
        priority: Among waiting tasks of its type; higher ones first.
        admitted: Whether the gates have let it through already.
        tries: Which try it is, from 1; 0 when that is the attempt.
        consumed: The newest signal of each name that earlier attempts have taken.
        sticky: `soft` or `hard` when the run prefers, or needs, one worker.
        worker_id: The worker that alone gets it; "" for all. It goes there once it is admitted.
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
    group: str = ""
    iteration: int = 0
    previous: msgspec.Raw = NOTHING
    metadata: dict[str, str] = {}
    capabilities: tuple[str, ...] = ()
    limits: Limits = UNLIMITED
    key: str = ""
    priority: int = 0
    admitted: bool = False
    tries: int = 0
    consumed: Consumed = {}
    sticky: str = ""
    worker_id: str = ""


class AskAdmission(Action, frozen=True, kw_only=True):
    """Let the run begin when the gates have room: for the gates, not for the shell.

    Attributes:
        seq: The event with which it asks: it names the question.
        workflow: Its workflow.
        max_runs: How many may go on at a time, for its key; 0 for all.
        key: The value they are counted for; "" when all runs of the workflow count.
        singleton: `skip` or `cancel`; "" for no singleton.
        singleton_key: The value there may be one run for.
        offset_ns: How much earlier than its start it counts as waiting.
        ancestors: Runs above it: what they hold does not stand in its way.
    """

    seq: int
    workflow: str
    max_runs: int = 0
    key: str = ""
    singleton: str = ""
    singleton_key: str = ""
    offset_ns: int = 0
    ancestors: tuple[str, ...] = ()


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


class DropTask(Action, frozen=True, kw_only=True):
    """Take an attempt out of the queue of the worker it was for: nobody waits for it any more, and the worker may be
    gone."""

    step_id: str
    task: str
    attempt: int
    worker_id: str


class AppendEvent(Action, frozen=True, kw_only=True):
    """Add an event to a run's history: `run_id`'s, which may be a parent or a child of the one that decides."""

    event: AnyEvent


class StartChild(Action, frozen=True, kw_only=True):
    """Start a run for a step. Which definition it follows is found out by whoever does it.

    Attributes:
        run_id: The parent.
        step_id: The step.
        attempt: Its attempt.
        start: The child's first event, without the definition's hash.
        detached: Whether it goes on by itself: then nobody is told when it cannot begin, but its own history.
    """

    step_id: str
    attempt: int
    start: WorkflowStarted
    detached: bool


class AddWaiter(Action, frozen=True, kw_only=True):
    """Watch for an event: the correlator compares, the first match in the log counts.

    Attributes:
        step_id: The step that waits, or `__cancel_{n}` for an event that cancels the run.
        attempt: Its attempt.
        event: The event's type.
        left: Dot path into the event's body; "" when every event of the type matches.
        op: How to compare.
        right: With what, raw JSON.
        since_ns: Events before this instant do not count.
        until_ns: Nor do events after this one; 0 for no end.
    """

    step_id: str
    attempt: int
    event: str
    left: str
    op: str
    right: msgspec.Raw
    since_ns: int
    until_ns: int


class DropWaiter(Action, frozen=True, kw_only=True):
    """The step, or the run, does not wait for this event any more."""

    step_id: str
    attempt: int
    event: str


class AskApproval(Action, frozen=True, kw_only=True):
    """Tell people that an answer is wanted, with a token that nothing has to store."""

    step_id: str
    attempt: int
    question: Question


class KeepSignal(Action, frozen=True, kw_only=True):
    """Show a signal to workers that look for it outside the history."""

    name: str
    seq: int
    data: msgspec.Raw


class SendDeadLetter(Action, frozen=True, kw_only=True):
    """Keep the task of a step that failed for good, so that it can be looked at and replayed."""

    step_id: str
    task: str
    attempt: int
    input: msgspec.Raw
    failure: Failure
    group: str = ""


class DropDeadLetters(Action, frozen=True, kw_only=True):
    """A step that had failed for good has succeeded: what was kept of it is not needed any more."""

    step_id: str
    task: str


class EndRun(Action, frozen=True, kw_only=True):
    """Append the run's terminal event, after all other actions of the decision are acknowledged.

    Attributes:
        event: It.
        schema: What the output has to fit, or null: whoever appends the event looks, and fails the run instead.
    """

    event: TerminalEvent
    schema: Any = None


AnyAction = (
    EnqueueTask
    | AskAdmission
    | SetTimer
    | DropTimer
    | CancelTasks
    | DropTask
    | AppendEvent
    | StartChild
    | AddWaiter
    | DropWaiter
    | AskApproval
    | KeepSignal
    | SendDeadLetter
    | DropDeadLetters
    | EndRun
)

Settled = tuple[str, int]
"""(step id, attempt) of a task that is not in flight any more."""


class Decision(NamedTuple):
    """What one event leads to.

    Attributes:
        run: The run after it; None when the log has no such run.
        actions: What is to be done.
        settled: Attempts that are not in flight any more, for the gates that count them.
    """

    run: Run | None
    actions: tuple[AnyAction, ...]
    settled: tuple[Settled, ...] = ()
