"""Starting runs: the input is checked, the key claimed, and the first event appended, once however often it is tried.

Whatever depends on more than the log is found out here, and recorded in the start.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.client.stamp import stamp
from dagnats.errors import ConflictError, DagnatsError, DecodeError, InputError, Problem
from dagnats.model.event import Start, WorkflowStarted, encode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.ops import WorkflowLimited, decode_fact, workflow_history
from dagnats.model.payload import payload_problems
from dagnats.runtime.core.path import Missing, decoded, text_of, value_at
from dagnats.runtime.record import decoded as events_of

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Ports


class Begun(NamedTuple):
    """What a start led to.

    Attributes:
        run_id: The run.
        seq: The start's sequence; 0 when the run had begun before.
    """

    run_id: str
    seq: int


def check_input(definition: WorkflowDef, data: bytes) -> None:
    """Raise InputError, with every problem, when a run's input breaks the workflow's schema."""
    if definition.input_schema is None:
        return
    problems = payload_problems(definition.input_schema, data)
    if problems:
        raise InputError(
            f"the input does not fit workflow {definition.name!r}",
            problems,
            hint=f"`dagnats workflow show {definition.name} --json` has its input_schema",
        )


def key_of(definition: WorkflowDef, data: bytes, given: str) -> str:
    """The name that one start of a day may claim: of the key given, or the one that the definition finds in the input.

    "" when there is neither.

    Raises:
        InputError: The definition names a member that the input does not have.
    """
    value = given
    if not value and definition.idempotency_key:
        value = _found(definition.idempotency_key, data)
    return hashlib.sha256(f"{definition.name}.{value}".encode()).hexdigest() if value else ""


def _found(path: str, data: bytes) -> str:
    try:
        value = value_at(decoded(msgspec.Raw(data)), path)
        if value is None or value == "":
            raise Missing("it is empty")
    except Missing as missing:
        problem = Problem(
            f"$.{path}", "idempotency-key", f"the workflow's idempotency key is read from here: {missing}"
        )
        raise InputError("the input has no idempotency key", [problem], hint="fill it in, or give a key") from None
    return text_of(value)


async def is_held(ports: Ports, workflow: str) -> bool:
    """Whether an operator has paused or limited a workflow: then its runs have to be admitted."""
    for entry in reversed(await ports.log.read(workflow_history(workflow))):
        with suppress(DecodeError):
            fact = decode_fact(entry.data)
            return isinstance(fact, WorkflowLimited) and not fact.is_idle
    return False


async def begin(ports: Ports, start: Start, *, run_id: str = "", key: str = "") -> Begun:
    """Append a run's start.

    Args:
        start: What it is started with.
        run_id: Chosen by the caller, to make the start repeatable; made up when left out.
        key: What `key_of` gave: a run that was started with it within a day is the one that is meant.

    Raises:
        ConflictError: The run id is taken by a run that was started differently.
    """
    if run_id and not is_run_id(run_id):
        raise DagnatsError(
            f"{run_id!r} cannot name a run", hint="use letters, digits, '_' and '-', at most 128 of them"
        )
    run_id = run_id or secrets.token_hex(16)
    owner = await ports.claims.claim(key, run_id) if key else run_id
    # Whoever claimed the key may have stopped before its start was stored: then ours takes its place.
    event = WorkflowStarted(run_id=owner, payload=start, **stamp(ports.clock))
    data, last = encode_event(event), 0
    while True:
        try:
            begun = await ports.log.append_after(owner, data, id=f"{owner}.workflow.started", last=last)
        except ConflictError:
            last = await _last_before(ports, owner, start, any_will_do=owner != run_id)
            if not last:
                return Begun(owner, 0)
        else:
            return Begun(owner, begun.seq)


async def _last_before(ports: Ports, run_id: str, wanted: Start, *, any_will_do: bool) -> int:
    """What a start comes after: 0 when the run has begun, by this very start.

    A log that lost its tail may have results of a run whose start it lost.

    Raises:
        ConflictError: It was started differently.
    """
    entries = await ports.log.read(run_id)
    events = [record.event for record in events_of(entries)]
    there = next((event.payload for event in events if isinstance(event, WorkflowStarted)), None)
    if there is None:
        return entries[-1].seq if entries else 0
    if any_will_do or (there.workflow == wanted.workflow and _same_json(there.input, wanted.input)):
        return 0
    raise ConflictError(f"run {run_id} exists already and was started differently", hint="choose another run id")


def _same_json(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    return msgspec.json.decode(bytes(one) or b"null") == msgspec.json.decode(bytes(other) or b"null")
