"""Starting runs: the input is checked, the key claimed, and the first event appended, once however often it is tried.

Whatever depends on more than the log is found out here, and recorded in the start.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from dagnats.client.stamp import stamp
from dagnats.errors import ConflictError, DagnatsError, FullError, InputError, Problem
from dagnats.model.event import MAX_DEPTH, MAX_EVENTS, MAX_OFFSET, Start, WorkflowStarted, encode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.ops import workflow_history
from dagnats.model.payload import payload_problems
from dagnats.runtime.blob import resolved
from dagnats.runtime.core.path import Missing, decoded, text_of, value_at
from dagnats.runtime.ports import StoreFull
from dagnats.runtime.record import decoded as events_of
from dagnats.runtime.reuse import another, is_forgotten
from dagnats.runtime.room import overfull

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.event import Parent
    from dagnats.runtime.limit import Hold
    from dagnats.runtime.ports import Ports, Receipt


MOST_DEPTH = 100
MOST_EVENTS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run is started with, besides its workflow, its input and its name. See `AsyncClient.start`."""

    labels: Mapping[str, str] | None = None
    priority: int | None = None
    max_depth: int = MAX_DEPTH
    max_events: int = MAX_EVENTS
    by: str = ""
    parent: Parent | None = None

    def check(self) -> None:
        """Raise DagnatsError for numbers that no run can be started with."""
        _expect_within("priority", self.priority or 0, -MAX_OFFSET, MAX_OFFSET)
        _expect_within("max_depth", self.max_depth, 0, MOST_DEPTH)
        _expect_within("max_events", self.max_events, 1, MOST_EVENTS)

    def unusual(self) -> dict[str, int]:
        """Those numbers that are not as usual, by name."""
        usual = Terms()
        said = {"priority": self.priority, "max_depth": self.max_depth, "max_events": self.max_events}
        return {name: value for name, value in said.items() if value is not None and value != getattr(usual, name)}


def _expect_within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise DagnatsError(f"{name} is {value!r}", hint=f"it is a number from {least:,} to {most:,}")


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


def new_id(given: str) -> str:
    """The id of a run to be started: the one given, or a new one. Raises DagnatsError for one that cannot be."""
    if given and not is_run_id(given):
        raise DagnatsError(f"{given!r} cannot name a run", hint="use letters, digits, '_' and '-', at most 128 of them")
    return given or secrets.token_hex(16)


async def expect_room(ports: Ports, run_id: str, size: int) -> None:
    """Raise FullError where no run may begin; one that has begun may be started again, which stores nothing.

    Asked before anything of the run is stored.

    Args:
        run_id: The run's; "" for one that was made up just now.
        size: What its start brings.
    """
    try:
        await ports.room.expect("a run", size)
    except FullError:
        if not (run_id and await ports.log.first(run_id)):
            raise


async def begin(ports: Ports, start: Start, *, run_id: str, any_will_do: bool = False) -> int:
    """Append a run's start and give its sequence; 0 when the run had begun before.

    Args:
        start: What it is started with; its payloads are as they travel.
        run_id: From `new_id`, or the one that a key is claimed for.
        any_will_do: Whether the run may have been started with something else: another start has claimed the key
            for it.

    Raises:
        ConflictError: The run id is taken by a run that was started differently.
        FullError: NATS has no room for it.
    """
    event = WorkflowStarted(run_id=run_id, payload=start, **stamp(ports.clock))
    data, last, event_id = encode_event(event), 0, f"{run_id}.workflow.started"
    while True:
        with suppress(ConflictError):
            receipt = await _stored(start, ports.log.append_after(run_id, data, id=event_id, last=last))
            if not receipt.duplicate:
                return receipt.seq
            if await is_forgotten(ports.log, receipt):
                event_id = another(event_id)
                continue
        # A cluster looks at the id first: whoever was there before us may have said the same, or something else.
        last = await _last_before(ports, run_id, start, any_will_do=any_will_do)
        if not last:
            return 0


async def begin_new(ports: Ports, start: Start, hold: Hold, *, run_id: str) -> int:
    """Append the start of a run whose id was made up just now, and give its sequence.

    Args:
        hold: What its starter knows of the workflow's limits.

    Raises:
        ConflictError: Something else has been said of them.
        FullError: NATS has no room for it.
    """
    data = encode_event(WorkflowStarted(run_id=run_id, payload=hold.recorded(start), **stamp(ports.clock)))
    history = workflow_history(start.workflow)
    event_id = f"{run_id}.workflow.started"
    return (await _stored(start, ports.log.append_new(run_id, data, id=event_id, of=history, last=hold.last))).seq


async def _stored(start: Start, appending: Awaitable[Receipt]) -> Receipt:
    """The log's answer to a start. It may fill up sooner than anybody sees, or have a limit that nobody tells."""
    try:
        return await appending
    except StoreFull as why:
        if start.parent is not None:  # it is part of a run under way, and waits
            raise
        raise overfull("a run", why) from None


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
    if any_will_do or (wanted.key and there.key == wanted.key):
        return 0
    if there.workflow == wanted.workflow and await _are_same(ports, there.input, wanted.input):
        return 0
    raise ConflictError(f"run {run_id} exists already and was started differently", hint="choose another run id")


async def _are_same(ports: Ports, one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Whether two inputs say the same, large ones too."""
    if bytes(one) == bytes(other):
        return True
    mine, theirs = [await resolved(ports, bytes(each), lenient=True) for each in (one, other)]
    return msgspec.json.decode(mine or b"null") == msgspec.json.decode(theirs or b"null")
