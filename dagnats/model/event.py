"""Events: the facts in a run's history, one class per type, in the shape they have on the wire.

The union is closed. An event's place in the log (its sequence and the server's time) is not part of it: the log
gives that, as a `Record`.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from dagnats.errors import DecodeError
from dagnats.model.json import DEEPEST_PAYLOAD, TooDeep, shallow

FailureType = Literal["retriable", "non_retriable", "retry_after"]
NOTHING = msgspec.Raw(b"")

Nanos = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""An instant in nanoseconds since 1970 that any part of the system can say: up to the year 2116."""

Consumed = dict[str, Annotated[int, msgspec.Meta(ge=0, le=2**62)]]
"""The newest signal of each name that a step's handlers have taken, by the event that brought it."""

CORE_VERSION = 1
"""Grows when the core would decide differently on an old history; recorded in every start."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="type"):
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


MAX_EVENTS = 50_000
"""How many events a run's history may have, when its start does not say."""


MAX_DEPTH = 8
"""How many runs may be above a run, when its start does not say."""


MAX_OFFSET = 600
"""How many seconds a run's priority may be, either way."""


class Parent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The step that a child run runs for.

    Attributes:
        run_id: Its run, which is told of the child's end.
        step_id: The step.
        attempt: Which attempt of it.
        root: The first run of the tree.
        depth: How many runs are above the child; 1 for a child of a run nobody has started from a run.
        ancestors: The runs above it, nearest first, for gates that one of them holds.
        detached: Whether the step does not wait for it: a handler has started it, and nobody is told of its end.
    """

    run_id: str
    step_id: str
    attempt: int
    root: str
    depth: int = 1
    ancestors: tuple[str, ...] = ()
    detached: bool = False


class Start(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a run is started with. What depends on more than the log was found out by whoever wrote it.

    Attributes:
        workflow: The workflow's name.
        def_hash: The definition's identity; the run keeps to it whatever is registered later.
        input: The run input, JSON; absent reads as null.
        core_version: Which core the starter expects to decide.
        labels: Shown with the run; lists filter by them.
        parent: Set for an attached child.
        run_at_ns: Not before this instant; 0 for at once.
        held: Whether the run has to be admitted although its definition does not say so: the workflow was paused, or
            an operator has limited it.
        refusal: Why the run cannot work, as its starter found out: it fails at once, visibly.
        max_events: How long its history may become.
        max_depth: How many runs may be above a child that it, or a child of it, starts.
        priority: Its place in the line of its workflow, as seconds by which it came earlier; instead of what its
            definition says.
        retry_of: The run that this one repeats.
        forked_from: The run whose outputs it takes over.
        outputs: Outputs taken over, by step: these steps are done from the start.
        by: Who started it, for people: a trigger, a user; "" when nobody said.
        key: What its idempotency key was claimed as; "" without one. Whoever starts it under the same key means it,
            with whatever input.
    """

    workflow: str
    def_hash: str
    input: msgspec.Raw = NOTHING
    core_version: int = CORE_VERSION
    labels: dict[str, str] = {}
    parent: Parent | None = None
    run_at_ns: Nanos = 0
    held: bool = False
    refusal: str = ""
    max_events: Annotated[int, msgspec.Meta(ge=1)] = MAX_EVENTS
    max_depth: Annotated[int, msgspec.Meta(ge=0)] = MAX_DEPTH
    priority: Annotated[int, msgspec.Meta(ge=-MAX_OFFSET, le=MAX_OFFSET)] | None = None
    retry_of: str = ""
    forked_from: str = ""
    outputs: dict[str, msgspec.Raw] = {}
    by: str = ""
    key: str = ""


class WorkflowStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.started"):
    """Somebody started a run. Always the first event of its history."""

    payload: Start


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who did something by hand, and why; both for people.

    Attributes:
        by: Who.
        reason: Why.
    """

    by: str = ""
    reason: str = ""


class WorkflowAdmitted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.admitted"):
    """A gate: the run need not wait any more. It begins.

    `asked` is the event with which it asked; 0 by hand. What answers an earlier question of the run comes too late.
    """

    asked: int = 0


class WorkflowPaused(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.paused"):
    """Somebody holds the run: nothing more is handed out until it is resumed. What is in flight goes on."""

    payload: Note = Note()


class WorkflowResumed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.resumed"):
    """Somebody lets a paused run go on."""

    payload: Note = Note()


class WorkflowReopened(Event, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.reopened"):
    """Somebody lets a run that has failed go on at the steps that failed.

    Attributes:
        held: Whether the run has to be admitted although its definition does not say so: see `Start`.
    """

    held: bool = False
    payload: Note = Note()


class SignalReceived(Event, frozen=True, kw_only=True, omit_defaults=True, tag="signal.received"):
    """Somebody sent the run a signal. `payload` is its data, raw JSON."""

    name: str
    payload: msgspec.Raw = NOTHING


class StepQueued(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.queued"):
    """A gate: the attempt, which had to wait for a limit, may go to the workers."""


class StepSkipped(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.skipped"):
    """The engine: the step's condition is true. Or somebody skipped it by hand: what depends on it goes on."""

    payload: Note = Note()


class StepContinued(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.continue"):
    """A handler of an agent loop asks for another iteration. `payload` is that one's input; absent: the same again."""

    payload: msgspec.Raw = NOTHING
    started_at: str = ""
    consumed: Consumed = {}


class Due(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Until when something waits.

    Attributes:
        due_ns: The instant. No bound: it may be a year after the last one that anybody can say.
    """

    due_ns: int = 0


class SleepStarted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.sleep.started"):
    """The engine: a sleep step sleeps."""

    payload: Due = Due()


class SleepCompleted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.sleep.completed"):
    """The engine: a sleep step's time is reached."""


class WaitStarted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.wait.started"):
    """The engine: a step waits for an event."""

    payload: Due = Due()


class WaitMatched(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.wait.matched"):
    """The correlator, or somebody by hand: the event that a step waits for. `payload` is its body, raw JSON.

    `event_seq` is its place among the events; 0 by hand. One for the step's next attempt is kept until that begins.
    """

    payload: msgspec.Raw = NOTHING
    event_seq: int = 0


class WaitTimeout(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.wait.timeout"):
    """The engine: a step has waited for an event as long as it may."""


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an approval asks. There is no token in it: histories are read by many.

    Attributes:
        subject: The NATS subject that is told.
        description: The question, for people.
        metadata: Passed on.
        expires_ns: Until when it can be answered.
    """

    subject: str = ""
    description: str = ""
    metadata: dict[str, str] = {}
    expires_ns: int = 0


class ApprovalRequested(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="approval.requested"):
    """The engine: a person is asked."""

    payload: Question = Question()


class ApprovalGranted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="approval.granted"):
    """A person approved. `payload` is the answer, a raw JSON object, or nothing."""

    payload: msgspec.Raw = NOTHING
    by: str = ""
    reason: str = ""


class ApprovalRejected(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="approval.rejected"):
    """A person rejected. `payload` is the answer, raw JSON, or nothing."""

    payload: msgspec.Raw = NOTHING
    by: str = ""
    reason: str = ""


class ApprovalExpired(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="approval.expired"):
    """The engine: nobody has answered in time."""


class Spawn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A child that was started.

    Attributes:
        child_run_id: Its run.
        child_workflow: Its workflow.
        detach: Whether it goes on by itself.
        parent_step_id: The step of the worker that asks for it; "" when the event says it, or nobody does.
        input: What it is started with, where a worker asks for it; the engine has that in the child's first event.
    """

    child_run_id: str
    child_workflow: str
    detach: bool = False
    parent_step_id: str = ""
    input: msgspec.Raw = NOTHING


class ChildSpawned(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.spawn"):
    """The engine: a step starts a child run, or its worker asks for one, by a name of its own."""

    payload: Spawn
    step_id: str = ""


class ChildOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a child run ended.

    Attributes:
        child_run_id: Its run.
        status: Its last status; "" when it could not begin.
        output: Its output, when it completed.
        error: Why it did not.
    """

    child_run_id: str
    status: str = ""
    output: msgspec.Raw = NOTHING
    error: str = ""


class ChildCompleted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.child.completed"):
    """The child's engine, in its parent's history: the child completed."""

    payload: ChildOutcome


class ChildFailed(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.child.failed"):
    """The child's engine, in its parent's history: the child ended otherwise, or could not begin."""

    payload: ChildOutcome


class Items(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A map at a glance.

    Attributes:
        items: How many it has.
        failed: How many of them failed, once it is over.
    """

    items: int = 0
    failed: int = 0


class MapStarted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.map.started"):
    """The engine: a map has its items."""

    payload: Items = Items()


class MapCompleted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.map.completed"):
    """The engine: all items of a map are done."""

    payload: Items = Items()


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a planner planned.

    Attributes:
        steps: The ids of the generated steps, as they run.
    """

    steps: tuple[str, ...] = ()


class PlannerMaterialized(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="planner.materialized"):
    """The engine: a planner's steps are part of the run."""

    payload: Plan = Plan()


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An HTTP response.

    Attributes:
        status: Its code.
        headers: Its headers.
        content_type: The body's media type.
        body: The body, raw JSON.
    """

    status: int = 200
    headers: dict[str, str] = {}
    content_type: str = "application/json"
    body: msgspec.Raw = NOTHING


class Responded(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="workflow.responded"):
    """The engine: a respond step gave the response to the request that started the run."""

    payload: Response = Response()


class StepStarted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.started"):
    """A worker began an attempt; its timeout counts from here."""


class StepCompleted(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.completed"):
    """A handler returned. `payload` is its output, raw JSON.

    `started_at` (RFC 3339, the worker's clock) is there when no `step.started` was sent for the attempt: fast
    steps cost one event, not two. `consumed` names the newest signal of each name that the handler has taken: every
    result may have it, and who tries the step again takes none of them twice.
    """

    payload: msgspec.Raw = NOTHING
    started_at: str = ""
    consumed: Consumed = {}


class StepFailed(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.failed"):
    """An attempt failed. `payload` is `{error, failure_type, retry_after_ms}`, or any old worker's error text."""

    payload: msgspec.Raw = NOTHING
    started_at: str = ""
    consumed: Consumed = {}


TOO_SLOW = "no result within the step's timeout"
SILENT = "no heartbeat within the step's heartbeat timeout"
"""How the errors begin of attempts that were ended for it: a diagnosis knows them by that."""
MAX_PAUSE_MS = 30 * 24 * 3_600_000
"""How long a handler may pause its step at a time: 30 days. Who asks for more gets this much."""


class StepPaused(StepEvent, frozen=True, kw_only=True, omit_defaults=True, tag="step.paused"):
    """A handler lets its step rest: the attempt ends, and after `delay_ms` the handler begins anew, as the same try."""

    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    started_at: str = ""
    consumed: Consumed = {}


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

Result = StepCompleted | StepFailed | StepContinued | StepPaused
"""What a worker says at the end of an attempt."""

Sign = StepStarted | StepHeartbeat | StepReleased
"""What a worker says before."""

Order = WorkflowAdmitted | WorkflowPaused | WorkflowResumed | WorkflowReopened | StepQueued | StepSkipped
"""What gates and people say."""

Answer = WaitMatched | ApprovalGranted | ApprovalRejected | ChildCompleted | ChildFailed | SignalReceived
"""What the engine's own steps wait for."""

Report = (
    CompensateStarted
    | CompensateStepCompleted
    | SleepStarted
    | SleepCompleted
    | WaitStarted
    | WaitTimeout
    | ApprovalRequested
    | ApprovalExpired
    | ChildSpawned
    | MapStarted
    | MapCompleted
    | PlannerMaterialized
    | Responded
)
"""What the engine says of its own decisions, for people and programs that watch: folding it changes nothing."""

AnyEvent = WorkflowStarted | TerminalEvent | Result | Sign | Order | Answer | Report | TimerFired | WorkflowPoisoned


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event in its place: `seq` in the log, `time_ns` by the log server's clock."""

    seq: int
    time_ns: int
    event: AnyEvent


EVENT_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyEvent))
"""Every type on the wire."""

TERMINAL_PREFIXES = tuple(f'{{"type":"{kind.__struct_config__.tag}"'.encode() for kind in get_args(TerminalEvent))
"""How the bytes of a run's last event begin, as `encode_event` writes them."""

OF_STEP = b'{"type":"step.'
"""How the bytes of most events begin: what somebody says of a step."""

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


_DEEPEST = DEEPEST_PAYLOAD + 12  # what holds a payload is nested a little deeper, and has to be readable too


def decode_event(data: bytes) -> AnyEvent:
    """The event in `data`.

    Raises:
        DecodeError: It is no event of ours; the error carries the bytes.
    """
    try:
        data.decode()  # raw payloads are taken over unread: this is where bad UTF-8 is found
        return _decoder.decode(shallow(data, _DEEPEST))
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep) as error:
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
            `heartbeat_timeout`, `worker_lost`, `dispatch_refused`, `by_hand`, or a step type.
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
