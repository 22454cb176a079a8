"""Events: the facts in a run's history, one class per type, in the shape they have on the wire.

The union is closed. An event's place in the log (its sequence and the server's time) is not part of it: the log
gives that, as a `Record`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, get_args

import msgspec

from dagnats.errors import DecodeError

FailureType = Literal["retriable", "non_retriable", "retry_after"]
NOTHING = msgspec.Raw(b"")

Nanos = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""An instant in nanoseconds since 1970 that any part of the system can say: up to the year 2116."""

CORE_VERSION = 1
"""Grows when the core would decide differently on an old history; recorded in every start."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What all events carry.

    Attributes:
        run_id: Whose history this belongs to.
        timestamp: RFC 3339, by its producer's clock, for people. Decisions use the log's time.
        trace_parent: W3C trace context, so that a run is one trace.
        trace_state: W3C vendor part of it.
    """

    run_id: str
    timestamp: str = ""
    trace_parent: str = ""
    trace_state: str = ""


class StepEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An event of one step.

    Attributes:
        step_id: Which step.
        attempt_number: Which attempt it answers; 0 (a producer that does not know) means the current one.
        worker_id: Who ran it.
    """

    step_id: str
    attempt_number: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    worker_id: str = ""


class Start(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run is started with.

    Attributes:
        workflow: The workflow's name.
        def_hash: The definition's identity; the run keeps to it whatever is registered later.
        input: The run input, JSON; absent reads as null.
        core_version: Which core the starter expects to decide.
    """

    workflow: str
    def_hash: str
    input: msgspec.Raw = NOTHING
    core_version: int = CORE_VERSION


class WorkflowStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.started"):
    """Somebody started a run. Always the first event of its history."""

    payload: Start


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run ended, apart from its status.

    Attributes:
        output: The run output, when it completed.
        step_id: The step whose failure ended it, when one did.
        error: Why it did not complete.
    """

    output: msgspec.Raw = NOTHING
    step_id: str = ""
    error: str = ""


class WorkflowCompleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.completed"):
    """The engine: every step is done. Ends the run."""

    payload: Outcome = Outcome()


class WorkflowFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.failed"):
    """The engine: a step failed for good, or the run's time is over. Ends the run."""

    payload: Outcome = Outcome()


class WorkflowCancelled(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.cancelled"):
    """Somebody cancelled the run. Ends it."""

    payload: Outcome = Outcome()


class StepStarted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.started"):
    """A worker began an attempt; its timeout counts from here."""


class StepCompleted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.completed"):
    """A handler returned. `payload` is its output, raw JSON.

    `started_at` (RFC 3339, the worker's clock) is there when no `step.started` was sent for the attempt: fast
    steps cost one event, not two.
    """

    payload: msgspec.Raw = NOTHING
    started_at: str = ""


class StepFailed(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.failed"):
    """An attempt failed. `payload` is `{error, failure_type, retry_after_ms}`, or any old worker's error text."""

    payload: msgspec.Raw = NOTHING
    started_at: str = ""


class StepReleased(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.released"):
    """A worker that stops gave an attempt back unfinished: it waits for another worker, as if never begun."""


class StepHeartbeat(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.heartbeat"):
    """The attempt is alive; its silence counts from here. `payload` is what the handler has to say, raw JSON."""

    payload: msgspec.Raw = NOTHING


class TimerFired(Event, frozen=True, kw_only=True, omit_defaults=True, tag="timer.fired"):
    """A wake-up that some event had set came due. Only a tick: the deadlines are in the run's state.

    `due_ns` moves the run's clock at least to the instant that was waited for.
    """

    due_ns: Nanos


class Poison(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be read.

    Attributes:
        error: What it was, where it lay and what is wrong with it.
    """

    error: str


class WorkflowPoisoned(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.poisoned"):
    """Something in the run's streams cannot be read: an event, found by the engine, or a task, found by a worker.

    The run fails, because nobody knows what it would have said.
    """

    payload: Poison


class Compensation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a compensation event says.

    Attributes:
        original_step: The completed step that was undone, for `compensate.step.completed`.
        trigger_step: The step whose failure started the compensation, "" when it was the run's deadline.
        error: That failure, or the failed compensation's.
    """

    original_step: str = ""
    trigger_step: str = ""
    error: str = ""


class CompensateStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="compensate.started"):
    """The engine: the run failed after steps with a compensation had completed; undoing them begins."""

    payload: Compensation = Compensation()


class CompensateStepCompleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="compensate.step.completed"):
    """The engine: one completed step was undone. `step_id` is the step that undid it."""

    step_id: str
    payload: Compensation = Compensation()


class CompensateCompleted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="compensate.completed"):
    """The engine: everything was undone. Ends the run as `compensated`."""

    payload: Outcome = Outcome()


class CompensateFailed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="compensate.failed"):
    """The engine: a compensation failed for good. Ends the run as `compensate_failed`."""

    payload: Outcome = Outcome()


TerminalEvent = WorkflowCompleted | WorkflowFailed | WorkflowCancelled | CompensateCompleted | CompensateFailed

AnyEvent = (
    WorkflowStarted
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowCancelled
    | StepStarted
    | StepCompleted
    | StepFailed
    | StepReleased
    | StepHeartbeat
    | TimerFired
    | WorkflowPoisoned
    | CompensateStarted
    | CompensateStepCompleted
    | CompensateCompleted
    | CompensateFailed
)


class Record(NamedTuple):
    """An event in its place: `seq` in the log, `time_ns` by the log server's clock."""

    seq: int
    time_ns: int
    event: AnyEvent


TERMINAL_PREFIXES = tuple(f'{{"type":"{kind.__struct_config__.tag}"'.encode() for kind in get_args(TerminalEvent))
"""How the bytes of a run's last event begin, as `encode_event` writes them."""

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


def decode_event(data: bytes) -> AnyEvent:
    """The event in `data`.

    Raises:
        DecodeError: It is no event of ours; the error carries the bytes.
    """
    try:
        data.decode()  # raw payloads are taken over unread: this is where bad UTF-8 is found
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not an event: {error}", data=data) from None


def encode_event(event: AnyEvent) -> bytes:
    """`event` as it is written to the log."""
    return _encoder.encode(event)


def event_type(event: AnyEvent) -> str:
    """The event's type on the wire: `step.completed`."""
    return str(type(event).__struct_config__.tag)


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an attempt failed, and what the engine may do about it.

    Attributes:
        error: The text people read.
        failure_type: `retriable` (the step's retry policy), `non_retriable` (never again), `retry_after`.
        retry_after_ms: How long to wait, for `retry_after` only.
        detail: A stable slug when the failure was not the handler's own: `timeout`, `queue_timeout`,
            `heartbeat_timeout`, `worker_lost`, `dispatch_refused`.
    """

    error: str = ""
    failure_type: FailureType = "retriable"
    retry_after_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    detail: str = ""


_failure_decoder = msgspec.json.Decoder(Failure)


def failure_of(payload: msgspec.Raw) -> Failure:
    """The failure in a `step.failed` payload, whatever age its worker has.

    Old workers send a JSON string, or anything: the text is kept and counts as retriable, as the error handling
    guide promises.
    """
    data = bytes(payload)
    if not data:
        return Failure()
    text = data.decode(errors="replace")
    try:
        failure = _failure_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        return failure if failure.error else msgspec.structs.replace(failure, error=text)
    try:
        return Failure(error=msgspec.json.decode(data, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Failure(error=text)
