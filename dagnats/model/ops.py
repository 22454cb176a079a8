"""What operators say of a workflow or a task type, in histories of their own: `history._ops.*`.

Each event says everything that holds from then on, so the newest one of a history is all there is to know. It counts
for what runs already as well: limits and pauses are no part of a definition.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from dagnats.errors import DecodeError

OPS = "_ops."
"""How the names of operators' histories begin."""

GATES = "_gates"
"""The name of the gates' wake-ups, and the beginning of the name of their history."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class OperatorEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What all of them carry, for people.

    Attributes:
        timestamp: RFC 3339, by the clock of whoever said it.
        by: Who said it.
        reason: Why.
    """

    timestamp: str = ""
    by: str = ""
    reason: str = ""


class TaskLimited(OperatorEvent, frozen=True, kw_only=True, omit_defaults=True, tag="task.limited"):
    """What holds for tasks of a type from now on, whatever their definitions say.

    Attributes:
        task: The type.
        concurrency: How many tasks may be in flight; 0 leaves it to the definitions.
        rate: How many may start in `period_ns`; 0 leaves it to the definitions.
        period_ns: See `rate`.
        paused: Whether none is handed out.
    """

    task: str
    concurrency: _Count = 0
    rate: _Count = 0
    period_ns: _Count = 0
    paused: bool = False

    def __post_init__(self) -> None:
        if (self.rate > 0) is not (self.period_ns > 0):
            raise ValueError("`rate` and `period_ns` go together: both positive, or none")

    @property
    def is_idle(self) -> bool:
        """Whether everything is left to the definitions."""
        return not (self.concurrency or self.rate or self.paused)


class WorkflowLimited(OperatorEvent, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.limited"):
    """What holds for runs of a workflow from now on, whatever its definitions say.

    Attributes:
        workflow: Its name.
        max_runs: How many may go on at a time, for each value of the definition's key; 0 leaves it to the definition.
        paused: Whether none begins.
        max_events: How long the history of a run that begins from now on may become; 0 for `MAX_EVENTS`.
        max_depth: How many runs may be above a child that such a run, or a child of it, starts; 0 for `MAX_DEPTH`.
    """

    workflow: str
    max_runs: _Count = 0
    paused: bool = False
    max_events: _Count = 0
    max_depth: _Count = 0

    @property
    def is_idle(self) -> bool:
        """Whether the gates have nothing to do with it. What bounds a run itself is recorded in the run's start."""
        return not (self.max_runs or self.paused)


class RepairAsked(OperatorEvent, frozen=True, kw_only=True, omit_defaults=True, tag="repair.asked"):
    """Somebody had the engine make everything anew from the log."""


class GateTicked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="gate.ticked"):
    """A wake-up of the gates came due: time has passed, though nothing else may have happened.

    Attributes:
        due_ns: The instant it was set for.
        timestamp: The same, for people.
    """

    due_ns: int
    timestamp: str = ""


class QueueMeasured(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="queue.measured"
):
    """The engine has looked at a queue that was getting long, or that was long and is not any more.

    Attributes:
        queue: Its task type; with the group of workers behind a dot, where steps name one.
        room: How many more tasks may be put into it until it is looked at again; -1 for any number.
        timestamp: RFC 3339, for people.
    """

    queue: str
    room: Annotated[int, msgspec.Meta(ge=-1, le=2**53)]
    timestamp: str = ""


Fact = TaskLimited | WorkflowLimited | GateTicked | QueueMeasured

_decoder = msgspec.json.Decoder(Fact)
_encoder = msgspec.json.Encoder()


class FactRecord(msgspec.Struct, frozen=True, array_like=True):
    """A fact in its place: `seq` in the log, `time_ns` by the log server's clock."""

    seq: int
    time_ns: int
    fact: Fact


def task_history(task: str) -> str:
    """The history that says what holds for a task type."""
    return f"{OPS}task.{task}"


def workflow_history(workflow: str) -> str:
    """The history that says what holds for a workflow."""
    return f"{OPS}workflow.{workflow}"


REPAIR = f"{OPS}repair"
"""The history of repairs."""

TICKS = f"{GATES}.rate"
"""The history of the gates' wake-ups."""


def queue_history(queue: str) -> str:
    """The history that says how much room a queue has."""
    return f"{GATES}.queue.{queue}"


def is_fact(history: str) -> bool:
    """Whether a history of DagNats's own is the gates' business."""
    return history == TICKS or history.startswith((task_history(""), workflow_history(""), queue_history("")))


def encode_fact(fact: Fact) -> bytes:
    """`fact` as it is written to the log."""
    return _encoder.encode(fact)


def encode_repair(asked: RepairAsked) -> bytes:
    """`asked` as it is written to the log."""
    return _encoder.encode(asked)


def decode_fact(data: bytes) -> Fact:
    """The fact in `data`. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a fact about gates: {error}", data=data) from None
