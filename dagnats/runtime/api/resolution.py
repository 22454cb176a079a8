"""What a worker says over HTTP about a task that it holds: the nine actions, and two that read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from pydantic import Field

from dagnats.errors import ConflictError, Problem, UnavailableError
from dagnats.model.event import (
    NOTHING,
    Consumed,
    Failure,
    FailureType,
    Result,
    StepCompleted,
    StepContinued,
    StepFailed,
    StepPaused,
    failure_of,
)
from dagnats.model.identifier import NAME
from dagnats.runtime.api.body import Body, checked, members
from dagnats.runtime.api.problem import Fault, invalid
from dagnats.runtime.api.taken import load_taken, note_taken
from dagnats.runtime.api.ticket import opened
from dagnats.runtime.blob import carried, refuse, resolved
from dagnats.runtime.checkpoint import load_checkpoint, save_checkpoint
from dagnats.runtime.fence import over, why_over
from dagnats.runtime.pointer import Carriers
from dagnats.runtime.pulse import newest_pulse, say_details
from dagnats.runtime.record import decoded
from dagnats.runtime.report import Reporter, shortened
from dagnats.runtime.signal import SIGNAL, SIGNAL_LENGTH, next_signal, send_signal, signalled
from dagnats.runtime.standing import standing

if TYPE_CHECKING:
    from dagnats.model.task import Task
    from dagnats.runtime.api.ticket import Ticket
    from dagnats.runtime.ports import HeldTask, Ports

LONGEST_MS = 3_600_000
"""An hour: of a pause, a wait, and a delay before the next attempt."""

_PATIENCE_S = 20.0
_KEEP_S = 10.0  # between two looks at an attempt whose worker waits for a signal
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Duration = Annotated[int, Field(gt=0, le=LONGEST_MS)]
SignalName = Annotated[str, Field(pattern=SIGNAL, max_length=SIGNAL_LENGTH)]


class Complete(Body):
    """The attempt has an output."""

    output: msgspec.Raw = NOTHING


class Fail(Body):
    """The attempt failed."""

    error: str = ""
    failure_type: FailureType = "retriable"
    retry_after_ms: Annotated[int, Field(ge=0, le=LONGEST_MS)] = 0


class Pause(Body):
    """The step rests, and its handler begins anew."""

    duration_ms: Duration
    checkpoint: msgspec.Raw = NOTHING


class Keep(Body):
    """Something that goes with a value."""

    data: msgspec.Raw


class Heartbeat(Body):
    """A sign of life, with how far it is."""

    details: msgspec.Raw = NOTHING


class SendSignal(Body):
    """A signal for a run."""

    run_id: Annotated[str, Field(pattern=NAME)]
    name: SignalName
    data: msgspec.Raw = NOTHING


class WaitSignal(Body):
    """A signal that the step waits for."""

    name: SignalName
    timeout_ms: Duration


class Reply(NamedTuple):
    """The answer to an action.

    Attributes:
        status: The HTTP status.
        body: JSON, or nothing.
    """

    status: int = 200
    body: bytes = b""


class Held:
    """A task in the hands of a worker that speaks HTTP.

    Attributes:
        ticket: What its id says.
        task: What reports about it need.
        hold: Its place in the queue.
        report: The worker's voice.
    """

    def __init__(self, ports: Ports, ticket: Ticket, trace: str) -> None:
        task = ticket.task
        self.ports = ports
        self.ticket = ticket
        self.task: Task = msgspec.structs.replace(task, traceparent=trace) if _TRACE.fullmatch(trace) else task
        self.hold: HeldTask = ports.tasks.held(ticket.address)
        self.report = Reporter(ports, ticket.worker_id)

    async def expect_current(self) -> None:
        """Raise Fault 409 when nobody waits for the attempt any more: its worker can stop."""
        why = await why_over(self.ports, self.task)
        if why:
            raise self.over(why)

    def over(self, why: str) -> Fault:
        self.hold.acknowledge()
        return Fault(409, "attempt-over", why)

    async def is_first(self, result: type[Result], payload: bytes = b"") -> bool:
        """Whether a result counts. False when this worker has said the very same before, and did not hear our answer.

        Raises:
            Fault: 409: nobody waits for it any more.
        """
        why = await why_over(self.ports, self.task)
        if not why:
            return True
        for record in decoded(await self.ports.log.read(self.task.run_id)):
            event = record.event
            if isinstance(event, result) and _answers(event, self.ticket) and _payload(event) == payload:
                self.hold.acknowledge()
                return False
        raise self.over(why)


def _answers(event: Result, ticket: Ticket) -> bool:
    said = (event.step_id, event.attempt_number, event.worker_id)
    return said == (ticket.step_id, ticket.attempt, ticket.worker_id)


def _payload(event: Result) -> bytes:
    """A result's payload, in a form that two of the same kind share."""
    match event:
        case StepCompleted() | StepContinued():
            return bytes(event.payload)
        case StepFailed():
            return msgspec.json.encode(failure_of(event.payload))
        case StepPaused():
            return b"%d" % event.delay_ms


# -- results: the task is done with ------------------------------------------------------------------------------


async def _complete(held: Held, said: Complete) -> Reply:
    output = bytes(said.output) or b"null"
    refuse(output, what="the output")
    stored = await carried(held.ports, held.task.run_id, output, what="the output")
    if await held.is_first(StepCompleted, stored):
        await held.report.completed(held.task, output, started_ns=0, consumed=await _taken(held))
        held.hold.acknowledge()
    return Reply()


async def _continue(held: Held, said: Complete) -> Reply:
    value = bytes(said.output)
    refuse(value, what="the output")
    stored = await carried(held.ports, held.task.run_id, value, what="the output")
    if await held.is_first(StepContinued, stored):
        await held.report.continued(held.task, value, started_ns=0, consumed=await _taken(held))
        held.hold.acknowledge()
    return Reply()


async def _fail(held: Held, said: Fail) -> Reply:
    if said.failure_type == "retry_after" and not said.retry_after_ms:
        raise invalid(
            Problem("$.retry_after_ms", "missing", f"failure_type 'retry_after' needs it: 1 to {LONGEST_MS}, in ms")
        )
    failure = shortened(Failure(error=said.error, failure_type=said.failure_type, retry_after_ms=said.retry_after_ms))
    if await held.is_first(StepFailed, msgspec.json.encode(failure)):
        await held.report.failed(held.task, failure)
        held.hold.acknowledge()
    return Reply()


async def _pause(held: Held, said: Pause) -> Reply:
    if await held.is_first(StepPaused, b"%d" % said.duration_ms):
        if said.checkpoint:
            await _save(held, bytes(said.checkpoint))
        await held.report.paused(held.task, said.duration_ms, started_ns=0, consumed=await _taken(held))
        held.hold.acknowledge()
    return Reply()


# -- on the way: the task is still worked on ---------------------------------------------------------------------


async def _heartbeat(held: Held, said: Heartbeat) -> Reply:
    await held.expect_current()
    if held.task.heartbeat_ms:
        await held.report.alive(held.task)
    if said.details:
        await say_details(held.ports, held.task, bytes(said.details))
    return _kept(held)


async def _load_heartbeat(held: Held, _: Body) -> Reply:
    details = bytes((await newest_pulse(held.ports, held.task)).details)
    return _kept(held, Reply(200, details) if details else Reply(204))


async def _checkpoint(held: Held, said: Keep) -> Reply:
    await held.expect_current()
    await _save(held, bytes(said.data))
    return _kept(held)


async def _load_checkpoint(held: Held, _: Body) -> Reply:
    found = await load_checkpoint(held.ports, held.task.run_id, held.task.step_id)
    if found is None or not found.data:
        return _kept(held, Reply(204))
    return _kept(held, Reply(200, _as_json(found.data)))


async def _stream(held: Held, said: Keep) -> Reply:
    await held.expect_current()
    task = held.task
    offset = await held.ports.chunks.append(task.run_id, task.step_id, bytes(said.data), attempt=task.attempt)
    return _kept(held, Reply(200, b'{"offset":%d}' % offset))


async def _send_signal(held: Held, said: SendSignal) -> Reply:
    data = bytes(said.data) or b"null"
    await send_signal(held.ports, said.run_id, said.name, data, trace=held.task.traceparent)
    return _kept(held)


async def _wait_signal(held: Held, said: WaitSignal) -> Reply:
    """Give the oldest signal of the name that the step has not taken."""
    task, loop = held.task, asyncio.get_running_loop()
    ends = loop.time() + said.timeout_ms / 1_000
    taken = await _taken(held)
    while True:
        held.hold.keep()
        _, run = await standing(held.ports, task.run_id)
        why = over(run, task)
        if why:
            raise held.over(why)
        before = {**run.steps[task.step_id].consumed, **taken}
        signal = next_signal(run, said.name, before)
        if signal is not None:
            await note_taken(held.ports, held.ticket, {**before, said.name: signal.seq})
            data = await Carriers(held.ports.log).whole(task.run_id, bytes(signal.data) or b"null")
            return _kept(held, Reply(200, await resolved(held.ports, data)))
        left_s = ends - loop.time()
        if left_s <= 0:
            waited = f"no signal {said.name!r} came to run {task.run_id} within {said.timeout_ms} ms"
            raise Fault(408, "timeout", waited)
        await signalled(held.ports, task.run_id, after=run.seq, within_s=min(left_s, _KEEP_S))


def _kept(held: Held, reply: Reply | None = None) -> Reply:
    held.hold.keep()
    return reply or Reply()


async def _taken(held: Held) -> Consumed:
    """The signals that the step has taken, this attempt included."""
    return await load_taken(held.ports, held.ticket)


async def _save(held: Held, value: bytes) -> None:
    """Store the checkpoint; what was taken until now stays taken."""
    task, taken = held.task, await _taken(held)
    note = msgspec.json.encode(taken) if taken else None
    try:
        await save_checkpoint(held.ports, task.run_id, task.step_id, value, attempt=task.attempt, note=note)
    except ConflictError as error:
        raise held.over(str(error)) from None


def _as_json(data: bytes) -> bytes:
    """A checkpoint for a body: what a worker that is none of ours has stored need not be JSON, and is a text then."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode(data.decode(errors="replace"))
    return data


# -- by name -----------------------------------------------------------------------------------------------------


class Action(NamedTuple):
    """An action.

    Attributes:
        kind: What its body is.
        perform: Carries it out.
        waits: Whether it takes as long as its body says.
    """

    kind: type[Body]
    perform: Callable[[Held, Any], Awaitable[Reply]]
    waits: bool = False


ACTIONS: dict[str, Action] = {
    "complete": Action(Complete, _complete),
    "fail": Action(Fail, _fail),
    "continue": Action(Complete, _continue),
    "pause": Action(Pause, _pause),
    "checkpoint": Action(Keep, _checkpoint),
    "load_checkpoint": Action(Body, _load_checkpoint),
    "heartbeat": Action(Heartbeat, _heartbeat),
    "load_heartbeat": Action(Body, _load_heartbeat),
    "stream": Action(Keep, _stream),
    "send_signal": Action(SendSignal, _send_signal),
    "wait_signal": Action(WaitSignal, _wait_signal, waits=True),
}


async def resolve(ports: Ports, key: bytes, task_id: str, data: bytes, *, trace: str = "") -> Reply:
    """Carry out what a worker says about a task.

    Args:
        key: What seals the ids of tasks.
        trace: The trace context of the request, if it has one.

    Raises:
        NotFoundError: There is no task of this id.
        Fault: 400 for a body that is not right, with everything that is wrong; 409 when nobody waits for the attempt
            any more; 408 when no signal came.
        UnavailableError: NATS did not answer: say it again.
    """
    ticket = opened(task_id, key)
    found = members(data)
    action = _action(found)
    said = checked(action.kind, found)
    try:
        async with asyncio.timeout(None if action.waits else _PATIENCE_S):
            return await action.perform(Held(ports, ticket, trace), said)
    except TimeoutError:
        raise UnavailableError(f"NATS did not answer within {_PATIENCE_S:g} s", hint="say it again") from None


def _action(found: dict[str, msgspec.Raw]) -> Action:
    raw = bytes(found.get("action", NOTHING))
    try:
        name = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = raw.decode(errors="replace")
    if name not in ACTIONS:
        raise invalid(Problem("$.action", "action", f"the action is one of {', '.join(ACTIONS)}, not {name[:80]!r}"))
    return ACTIONS[name]
