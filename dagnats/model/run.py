"""A run: the state that folding its history gives. The core changes it; everyone else reads it."""

from __future__ import annotations

from typing import Literal

import msgspec

from dagnats.model.event import MAX_DEPTH, MAX_EVENTS, NOTHING, Consumed, Outcome, Parent

RunStatus = Literal[
    "scheduled", "pending", "running", "completed", "failed", "cancelled", "compensated", "compensate_failed"
]
StepStatus = Literal["pending", "queued", "running", "completed", "failed", "skipped", "cancelled", "recovered"]

ENDED: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled", "compensated", "compensate_failed"})
IN_FLIGHT: frozenset[StepStatus] = frozenset({"queued", "running"})


class StepState(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One step of a run, from the moment it is first handed out (before that it has no state: pending).

    Attributes:
        status: Where it is.
        attempt: The current attempt on the wire. Only grows in a run's life; results of others are stale.
        retries: How much of the retry budget is used.
        waits_for: Dependencies not done yet, while the step is pending.
        queued_ns: When the current attempt was handed out.
        started_ns: When a worker began the current attempt; 0 before.
        ended_ns: When the step reached its last status.
        worker_id: Who runs or ran the current attempt.
        output: What it returned, raw JSON.
        error: What the newest failed attempt said; kept while a retry waits.
        failure_type: Of that error.
        retry_at_ns: When the next attempt is due, while one waits: a retry, a loop's next turn, what follows a pause;
            otherwise 0.
        deadline_ns: When the attempt has waited in its queue too long or, once begun, run too long; 0 without a limit.
        heartbeat_due_ns: When the running attempt has been silent too long; 0 without a limit.
        due_ns: When what the engine itself waits for is over: a sleep, a wait, an approval.
        loop_ends_ns: When all turns of a loop have taken too long; 0 without a limit, and before the first one.
        serves: For an auxiliary step: the step it runs for.
        iteration: Of an agent loop: how many turns are done.
        input: What it receives when that is not what the graph says: a loop's next turn, an item of a map.
        part_of: For an item of a map and a generated step: the map or the planner.
        items: Of a map: how many it has.
        left: Of a map or a planner: how many of its parts are not done.
        next_item: Of a map: the first item that was not handed out yet.
        failed_items: Of a map: how many failed.
        child_run_id: Of a child step: the child that runs for the current attempt, or ran.
        held: Whether it is ready, and in the run's line.
        admitted: Whether the gates, which held the current attempt, have let it through.
        dead: Whether its task is in the dead letters.
        sticky: The worker for whom alone the current attempt is queued, or who has it from there; "" for anybody.
        sticky_due_ns: When that worker has not begun it, or been silent, for too long; 0 without a limit.
        consumed: The newest signal of each name that its handlers have taken, by the event that brought it.
    """

    status: StepStatus = "pending"
    attempt: int = 0
    retries: int = 0
    waits_for: int = 0
    queued_ns: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    worker_id: str = ""
    output: msgspec.Raw = NOTHING
    error: str = ""
    failure_type: str = ""
    retry_at_ns: int = 0
    deadline_ns: int = 0
    heartbeat_due_ns: int = 0
    due_ns: int = 0
    loop_ends_ns: int = 0
    serves: str = ""
    iteration: int = 0
    input: msgspec.Raw = NOTHING
    part_of: str = ""
    items: int = 0
    left: int = 0
    next_item: int = 0
    failed_items: int = 0
    child_run_id: str = ""
    held: bool = False
    admitted: bool = False
    dead: bool = False
    sticky: str = ""
    sticky_due_ns: int = 0
    consumed: Consumed = {}


class Saga(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The undoing of a run, once it has begun.

    Attributes:
        trigger_step: The step whose failure began it; "" when it was the run's deadline.
        error: That failure.
        awaiting: Steps in flight whose effect must be known before the order of undoing is.
        queue: Completed steps still to undo, next one first.
        current: The step being undone.
        order: All steps to undo, in order, once it is known.
    """

    trigger_step: str
    error: str
    awaiting: list[str] = []
    queue: list[str] = []
    current: str = ""
    order: list[str] = []


class Signal(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A signal that a run was sent.

    Attributes:
        name: Its name.
        seq: The event that brought it.
        data: Raw JSON.
    """

    name: str
    seq: int
    data: msgspec.Raw = NOTHING


class Wreck(msgspec.Struct, kw_only=True, frozen=True):
    """The failure that ends a run as soon as nothing is in flight (`failure_mode: drain`).

    Attributes:
        step_id: The first step that failed.
        error: What it said.
    """

    step_id: str
    error: str


Deadline = tuple[int, str, int]
"""(due in ns, step id or "" for the run, attempt): an entry of a run's heap of deadlines."""


class Run(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One execution of a workflow.

    Attributes:
        run_id: 32 hexadecimal digits, or what the starter chose.
        workflow_id: The workflow's name (the wire calls it an id).
        def_hash: The definition the run is pinned to.
        status: Terminal once the run's last event is folded.
        seq: The last event folded.
        time_ns: The server's time for that event: together they tell whether the log still has what was folded.
        clock_ns: The run's clock: the largest of its events' server times and due wake-ups. Never goes back.
        created_ns: When it was started.
        ended_ns: When it ended; 0 before.
        input: Raw JSON.
        steps: State by step id, for steps that were touched.
        remaining: Steps of the graph that are not done.
        flying: Steps that are queued or running; items of maps do not count.
        line: Steps that are ready and wait: the run is paused, or has as many in flight as it may.
        paused: Whether somebody holds it.
        plans: What planners planned: their steps as JSON, by planner.
        signals: Signals received, oldest first.
        early: What was brought for waits that have not begun, raw JSON by step.
        events: How many events its history has, without heartbeats and wake-ups.
        max_events: How many it may have.
        max_depth: How many runs may be above one that it starts, counting from the first.
        priority: Its starter's word on its place in the line, in seconds; None leaves it to the definition.
        labels: Shown with it.
        parent: The step it runs for, if it is an attached child.
        retry_of: The run that it repeats.
        forked_from: The run whose outputs it took over.
        held: Whether the gates have to admit it before it begins.
        asked: The event with which it asked them last.
        run_at_ns: When it is to begin, while it is scheduled; 0 once it has.
        wreck: The failure that it will end with.
        worker_id: The worker that its tasks are for, when its workflow is sticky; "" while anybody may have them.
        deadline_ns: When the whole run times out; 0 for never, and once it is being undone.
        deadlines: A heap; entries that no longer match the state are dropped when they come up.
        wake_ns: When the outstanding durable wake-up is due; 0 without one.
        wake_seq: The event that asked for it.
        saga: Set when undoing began.
        ending: The terminal status that was decided and whose event is on its way to the log.
        outcome: Output or error, once ended.
        trace_parent: The starter's trace.
        core_version: Which core decides.
    """

    run_id: str
    workflow_id: str
    def_hash: str = ""
    status: RunStatus = "pending"
    seq: int = 0
    time_ns: int = 0
    clock_ns: int = 0
    created_ns: int = 0
    ended_ns: int = 0
    input: msgspec.Raw = NOTHING
    steps: dict[str, StepState] = {}
    remaining: int = 0
    flying: int = 0
    line: list[str] = []
    paused: bool = False
    plans: dict[str, msgspec.Raw] = {}
    signals: list[Signal] = []
    early: dict[str, msgspec.Raw] = {}
    events: int = 0
    max_events: int = MAX_EVENTS
    max_depth: int = MAX_DEPTH
    priority: int | None = None
    labels: dict[str, str] = {}
    parent: Parent | None = None
    retry_of: str = ""
    forked_from: str = ""
    held: bool = False
    asked: int = 0
    run_at_ns: int = 0
    wreck: Wreck | None = None
    worker_id: str = ""
    deadline_ns: int = 0
    deadlines: list[Deadline] = []
    wake_ns: int = 0
    wake_seq: int = 0
    saga: Saga | None = None
    ending: RunStatus | Literal[""] = ""
    outcome: Outcome = Outcome()
    trace_parent: str = ""
    core_version: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing can change the run any more."""
        return self.status in ENDED


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Run)


def encode_run(run: Run) -> bytes:
    """`run` as a snapshot."""
    return _encoder.encode(run)


def decode_run(data: bytes) -> Run:
    """The run in a snapshot.

    Raises:
        msgspec.DecodeError: The snapshot is not ours; the log can make it again.
    """
    return _decoder.decode(data)
