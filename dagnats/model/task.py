"""A task: one attempt of one step, as it lies in the queue for a worker."""

from __future__ import annotations

from typing import Annotated

import msgspec

from dagnats.errors import DecodeError
from dagnats.model.event import NOTHING, Consumed


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a worker gets. Field names are the wire's: a Go worker reads the same message.

    Attributes:
        task_id: `{run}.{step}`.
        run_id: Which run.
        step_id: Which step.
        attempt: 1-based, only grows in a run's life; results carry it back.
        input: Raw JSON; absent reads as null.
        workflow_name: For the worker's logs.
        timeout_ms: How long the handler may take; 0 means no limit. The engine counts too.
        heartbeat_ms: How long the handler may be silent; 0 means no limit. A third of it is a good pace.
        expires: Unix milliseconds. A worker that gets the task for the first time later than this drops it: the
            engine has given the attempt up. 0 means never.
        deadline: Unix milliseconds. When the whole run's time is over; 0 means never.
        traceparent: W3C trace context.
        iteration: Of an agent loop: 0 for the first turn.
        previous: What the turn before gave to the next one.
        metadata: The step's.
        required_capabilities: What the worker must be allowed to do.
        tries: Which try it is, from 1: each turn of a loop begins with 1, and what follows a pause is the same try. 0
            when that is `attempt`.
        consumed: The newest signal of each name that earlier attempts have taken, by the event that brought it.
        sticky: `soft` or `hard` when the run prefers, or needs, the worker that gives its first result.
        dispatch_nonce: Proof that whoever has it works on this attempt; "" where the step is granted no control plane.
        epoch: Not 0 once the log has lost its tail: what was said before is then not taken for what is said since.
    """

    task_id: str = ""
    run_id: str
    step_id: str
    attempt: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0  # what a result can carry
    input: msgspec.Raw = NOTHING
    workflow_name: str = ""
    timeout_ms: int = 0
    heartbeat_ms: int = 0
    expires: int = 0
    deadline: int = 0
    traceparent: str = ""
    iteration: int = 0
    previous: msgspec.Raw = NOTHING
    metadata: dict[str, str] = {}
    required_capabilities: tuple[str, ...] = ()
    tries: int = 0
    consumed: Consumed = {}
    sticky: str = ""
    dispatch_nonce: str = ""
    epoch: int = 0


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Task)


def encode_task(task: Task) -> bytes:
    """`task` as it is queued."""
    return _encoder.encode(task)


def decode_task(data: bytes) -> Task:
    """The task in `data`.

    Raises:
        DecodeError: It is no task; the error carries the bytes.
    """
    try:
        try:
            return _decoder.decode(data)
        except msgspec.ValidationError:
            return _decoder.decode(_without_nulls(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a task: {error}", data=data) from None


def _without_nulls(data: bytes) -> bytes:
    """A task of an engine that writes null for what is not there, as Go does for an empty map."""
    return msgspec.json.encode({name: raw for name, raw in _members.decode(data).items() if bytes(raw) != b"null"})
