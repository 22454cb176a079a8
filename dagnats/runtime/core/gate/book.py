"""What the gates remember, as flat entries: each is stored and changed by itself.

Everything else the gates have in memory is made from these when they are opened.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from dagnats.model.ops import TaskLimited, WorkflowLimited

E = TypeVar("E")


class TaskTicket(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """An attempt that waits, or has a slot.

    Attributes:
        run_id, step_id, attempt: Whose it is.
        task: Its type.
        seq: The event that queued it.
        at: Its place among what that event queued.
        since_ns: When that was.
        state: `waiting`; `granted` while the event that lets it go is on its way; `out` when it is in flight.
        slot: Whether it counts as in flight.
        priority: Higher ones first.
        concurrency, rate, period_ns, keyed_rate, keyed_period_ns, units: Its definition's limits.
        key: The value its keyed rate counts for; hashed when it is long.
        queue: Where it goes: the type, with the group of workers behind a dot; "" for one worker's own queue.
    """

    run_id: str
    step_id: str
    attempt: int
    task: str
    seq: int
    at: int
    since_ns: int
    state: Literal["waiting", "granted", "out"] = "waiting"
    slot: bool = False
    priority: int = 0
    concurrency: int = 0
    rate: int = 0
    period_ns: int = 0
    keyed_rate: int = 0
    keyed_period_ns: int = 0
    units: int = 0
    key: str = ""
    queue: str = ""


class RunTicket(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A run that asked for admission.

    Attributes:
        run_id: The run.
        workflow: Its workflow.
        seq: The event with which it asked.
        since_ns: When that was.
        start_ns: When it was to begin, less its priority: the line's order.
        state: `next` while it waits for a singleton's end; `waiting`; `granted` or `refused` while the event that says
            so is on its way; `active`.
        max_runs: Its definition's limit.
        key: The value that counts for; hashed when it is long.
        free: Whether a run above it has a slot: then it needs none.
        singleton: The lock it has, or is to have; "" for none.
        why: Why it is refused.
    """

    run_id: str
    workflow: str
    seq: int
    since_ns: int
    start_ns: int
    state: Literal["next", "waiting", "granted", "active", "refused"] = "waiting"
    max_runs: int = 0
    key: str = ""
    free: bool = False
    singleton: str = ""
    why: str = ""


class Page(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Entries by name; None for one that is gone.

    Attributes:
        tasks: By `{run}/{step}/{attempt}`.
        runs: By run.
        buckets: When each will be full, by `{task}` and `{task}/{key}`.
        task_limits: What operators said, by task type.
        workflow_limits: Likewise, by workflow.
        rooms: How many more tasks may be put into queues that are long, by queue.
        clock_ns: The gates' clock: the sum of the time that has passed between events.
        last_ns: The time of the last event.
        wake_ns: When the next tick is due; 0 for none.
        wake_seq: The event that asked for it.
    """

    tasks: dict[str, TaskTicket | None] = {}
    runs: dict[str, RunTicket | None] = {}
    buckets: dict[str, int | None] = {}
    task_limits: dict[str, TaskLimited | None] = {}
    workflow_limits: dict[str, WorkflowLimited | None] = {}
    rooms: dict[str, int | None] = {}
    clock_ns: int = 0
    last_ns: int = 0
    wake_ns: int = 0
    wake_seq: int = 0

    def __len__(self) -> int:
        kinds = (self.tasks, self.runs, self.buckets, self.task_limits, self.workflow_limits, self.rooms)
        return sum(map(len, kinds))

    def turn(self, later: Page, *, whole: bool) -> None:
        """Take over what is later. `whole`: this page has all entries, so what is gone is forgotten."""
        _turn(self.tasks, later.tasks, whole)
        _turn(self.runs, later.runs, whole)
        _turn(self.buckets, later.buckets, whole)
        _turn(self.task_limits, later.task_limits, whole)
        _turn(self.workflow_limits, later.workflow_limits, whole)
        _turn(self.rooms, later.rooms, whole)
        self.clock_ns, self.last_ns = later.clock_ns, later.last_ns
        self.wake_ns, self.wake_seq = later.wake_ns, later.wake_seq

    def times(self) -> Page:
        """The times alone."""
        return Page(clock_ns=self.clock_ns, last_ns=self.last_ns, wake_ns=self.wake_ns, wake_seq=self.wake_seq)

    def copy(self) -> Page:
        """The same entries, to be changed by themselves."""
        copied = Page()
        copied.turn(self, whole=False)
        return copied


def _turn(entries: dict[str, E | None], later: dict[str, E | None], whole: bool) -> None:
    if not later:
        return
    entries.update(later)
    if whole:
        for name in [name for name, entry in later.items() if entry is None]:
            del entries[name]


class Leaf(Generic[E]):
    """Entries of a kind, and which of them have changed."""

    __slots__ = ("changed", "entries")

    def __init__(self, entries: dict[str, E | None]) -> None:
        self.entries: dict[str, E] = {name: entry for name, entry in entries.items() if entry is not None}
        self.changed: dict[str, E | None] = {}

    def put(self, name: str, entry: E) -> None:
        self.entries[name] = self.changed[name] = entry

    def drop(self, name: str) -> E | None:
        """Forget an entry; gives it, if it was there."""
        entry = self.entries.pop(name, None)
        if entry is not None:
            self.changed[name] = None
        return entry

    def taken(self) -> dict[str, E | None]:
        """What has changed since this was asked last."""
        changed, self.changed = self.changed, {}
        return changed
