"""What operators have said of workflows and task types: read by starters, changed by commands.

Every change is the whole of what holds from then on, written after the one that it was made from: of two changes at
the same time, the second is made anew.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from dagnats.errors import ConflictError, DecodeError
from dagnats.model.event import MAX_DEPTH, MAX_EVENTS
from dagnats.model.identifier import EVENT
from dagnats.model.ops import TaskLimited, WorkflowLimited, decode_fact, encode_fact, task_history, workflow_history
from dagnats.runtime.core.gate.book import Page
from dagnats.runtime.core.gate.view import GateView, view_of
from dagnats.runtime.ledger import read_page
from dagnats.runtime.position import Position, decode_position

if TYPE_CHECKING:
    from dagnats.model.event import Start
    from dagnats.runtime.ports import Log, Ports

_Said = TypeVar("_Said", TaskLimited, WorkflowLimited)

_HISTORY = re.compile(EVENT)  # no name with a wildcard: what it stands for is somebody else's
_LOOKS = 5  # the gates' entries may be written elsewhere while we look


class Hold(NamedTuple):
    """What operators have said of a workflow, as its starts record it.

    Attributes:
        held: Whether its runs have to ask the gates although its definition may not say so: see `Start.held`.
        last: The place of what was said last; 0 when nothing was.
        max_events: See `WorkflowLimited`.
        max_depth: See `WorkflowLimited`.
    """

    held: bool
    last: int
    max_events: int = 0
    max_depth: int = 0

    def recorded(self, start: Start) -> Start:
        """`start` with it. Of two numbers the smaller counts, where the start's is not the usual one."""
        return msgspec.structs.replace(
            start,
            held=self.held,
            max_events=_bounded(start.max_events, MAX_EVENTS, self.max_events),
            max_depth=_bounded(start.max_depth, MAX_DEPTH, self.max_depth),
        )


def _bounded(asked: int, usual: int, limit: int) -> int:
    if not limit:
        return asked
    return limit if asked == usual else min(asked, limit)


async def workflow_limit(log: Log, workflow: str) -> WorkflowLimited:
    """What holds for a workflow; everything left to its definitions when nobody has said anything."""
    said, _ = await _said_of(log, workflow)
    return said


async def _said_of(log: Log, workflow: str) -> tuple[WorkflowLimited, int]:
    history, nothing = workflow_history(workflow), WorkflowLimited(workflow=workflow)
    if _HISTORY.fullmatch(history) is None:
        return nothing, 0
    entry = await log.newest(history)  # starters ask: the whole history would be a longer conversation
    if entry is None:
        return nothing, 0
    with suppress(DecodeError):
        fact = decode_fact(entry.data)
        if isinstance(fact, WorkflowLimited):
            return fact, entry.seq
    return await _newest(log, history, nothing)


async def task_limit(log: Log, task: str) -> TaskLimited:
    """What holds for a task type."""
    said, _ = await _newest(log, task_history(task), TaskLimited(task=task))
    return said


async def hold_of(log: Log, workflow: str) -> Hold:
    """What holds for the next start of a workflow's run."""
    said, last = await _said_of(log, workflow)
    return Hold(not said.is_idle, last, said.max_events, said.max_depth)


async def is_held(log: Log, workflow: str) -> bool:
    """Whether a run of a workflow has to ask the gates, as far as operators say."""
    return (await hold_of(log, workflow)).held


async def limit_workflow(log: Log, workflow: str, **changes: Any) -> WorkflowLimited:
    """Change what holds for a workflow; what is not named stays.

    Args:
        changes: Fields of `WorkflowLimited`: `max_runs`, `paused`, `max_events`, `max_depth`, and `timestamp`, `by`,
            `reason` of the change.
    """
    return await _change(log, workflow_history(workflow), WorkflowLimited(workflow=workflow), changes)


async def limit_task(log: Log, task: str, **changes: Any) -> TaskLimited:
    """Change what holds for a task type; what is not named stays.

    Args:
        changes: Fields of `TaskLimited`: `concurrency`, `rate` with `period_ns`, `paused`, and `timestamp`, `by`,
            `reason` of the change.
    """
    return await _change(log, task_history(task), TaskLimited(task=task), changes)


async def _change(log: Log, history: str, nothing: _Said, changes: dict[str, Any]) -> _Said:
    changes = {"timestamp": "", "by": "", "reason": "", **changes}
    while True:
        before, last = await _newest(log, history, nothing)
        said = msgspec.structs.replace(before, **changes)
        try:
            await log.append_after(history, encode_fact(said), id=f"{history}.{secrets.token_hex(8)}", last=last)
        except ConflictError:
            continue  # somebody else has changed it, or we have, in a try whose answer was lost
        return said


async def _newest(log: Log, history: str, nothing: _Said) -> tuple[_Said, int]:
    """What was said last, and its place."""
    said, last = nothing, 0
    if _HISTORY.fullmatch(history) is None:
        return said, last
    for entry in await log.read(history):
        last = entry.seq
        try:
            fact = decode_fact(entry.data)
        except DecodeError:
            continue
        if isinstance(fact, type(nothing)):
            said = fact
    return said, last


async def gate_view(ports: Ports) -> GateView:
    """Who has a slot at which gate, who waits, and in which place: as of the engine's stored position."""
    return view_of((await gate_page(ports))[1])


async def gate_page(ports: Ports) -> tuple[Position, Page]:
    """The engine's stored position, and the gates' entries as of it; the beginning of the log when there is none."""
    for _ in range(_LOOKS):
        stored = await ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        if position is None:
            break
        page = await read_page(ports.snapshots, position.gates)
        if page is not None:
            return position, page
    return Position(), Page()
