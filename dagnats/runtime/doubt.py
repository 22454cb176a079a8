"""Actions of which nobody knows whether they were done: which of them are still to do?

The server drops a repeated message only as long as it remembers its id. After that the log says what came of an
action, and the queue says which tasks still wait; what neither knows of was not done.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.errors import DecodeError
from dagnats.model.event import ChildCompleted, ChildFailed, TerminalEvent, WorkflowCancelled
from dagnats.model.run import IN_FLIGHT, Run, decode_run, encode_run
from dagnats.model.task import decode_task
from dagnats.runtime.core.action import (
    AddWaiter,
    AppendEvent,
    AskApproval,
    CancelTasks,
    EndRun,
    EnqueueTask,
    KeepSignal,
    SendDeadLetter,
    SetTimer,
    StartChild,
)
from dagnats.runtime.core.attempt import is_out
from dagnats.runtime.core.cancel import PREFIX
from dagnats.runtime.decider import CoreError
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut
from dagnats.runtime.record import decoded, has_start
from dagnats.runtime.together import gathered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagnats.model.event import Record
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.decider import Decider
    from dagnats.runtime.ports import Log, Ports
    from dagnats.runtime.roster import Roster

_AT_ONCE = 64


def decided_by(action: AnyAction) -> int:
    """The event that decided an action: its id is `{run}.{event}.{n}`."""
    return int(action.id.split(".")[1])


def decided_for(action: AnyAction) -> str:
    """The run whose event it was; the action may be about another one."""
    return action.id.partition(".")[0]


async def expect_uncut(log: Log, action: AnyAction) -> None:
    """Raise LogCut when the event that decided an action has gone with the log's end: nothing that it stands on need be
    there any more, and whatever follows from that is wrong. A run that was removed leaves a hole: that is no cut."""
    seq = decided_by(action)
    entry = await persist(lambda: log.at(seq))
    is_cut = entry.run_id != decided_for(action) if entry is not None else await persist(log.last) < seq
    if is_cut:
        raise LogCut(f"event {seq} is not there any more, and has led to {action.id}")


async def told_early(log: Log, action: StartChild) -> ChildCompleted | ChildFailed | None:
    """What a child has told its parent before the event that asks for it, where it did not count: a lost event had
    asked for the child as well. Nobody says it again."""
    events = decoded(await persist(lambda: log.read(action.run_id)))
    told = [(record.seq, record.event) for record in events if isinstance(record.event, ChildCompleted | ChildFailed)]
    own = [(seq, event) for seq, event in told if event.payload.child_run_id == action.start.run_id]
    seq, event = own[-1] if own else (0, None)
    return event if seq < decided_by(action) else None


class _Known(NamedTuple):
    """What became of a run: its state after all its events, those events, and its tasks in the queue."""

    run: Run
    later: Sequence[Record]
    queued: set[tuple[str, int]]


class Doubt:
    """Settles actions by what log and queue say of them."""

    def __init__(self, ports: Ports, roster: Roster, decider: Decider) -> None:
        self._ports = ports
        self._roster = roster
        self._decider = decider

    async def left(self, actions: Iterable[AnyAction]) -> list[AnyAction]:
        """Those that were not done and are still wanted."""
        by_run: dict[str, list[AnyAction]] = defaultdict(list)
        for action in actions:
            by_run[decided_for(action)].append(action)
        room = asyncio.Semaphore(_AT_ONCE)

        async def settle(run_id: str) -> list[AnyAction]:
            async with room:
                return await self._of_run(run_id, by_run[run_id])

        return [action for left in await gathered(map(settle, by_run)) for action in left]

    async def _of_run(self, run_id: str, actions: list[AnyAction]) -> list[AnyAction]:
        own = [action for action in actions if action.run_id == run_id]
        left = {action.id: action for action in await self._of_itself(run_id, own)} if own else {}
        for action in actions:
            if isinstance(action, AppendEvent) and action.run_id != run_id and not await self._is_told(action):
                left[action.id] = action
        return [left[action.id] for action in actions if action.id in left]

    async def _is_told(self, action: AppendEvent) -> bool:
        """Whether another run has heard what one of its relatives says; what it makes of it is its own affair."""
        after = decided_by(action)
        later = decoded(await persist(lambda: self._ports.log.read(action.run_id, after=after)))
        if isinstance(action.event, TerminalEvent):
            return any(isinstance(record.event, TerminalEvent) for record in later)
        return any(_is_same(record, action) for record in later)

    async def _of_itself(self, run_id: str, actions: list[AnyAction]) -> list[AnyAction]:
        seat = self._roster.seat(run_id)
        if seat is None and all(isinstance(action, AppendEvent) for action in actions):
            return await self._unwritten(run_id, actions)
        if seat is None:  # over, or parked: what it owes to others
            owed = [action for action in actions if isinstance(action, (SendDeadLetter, StartChild))]
            return [action for action in owed if not await self._is_there(action)]
        # The queue first: a task leaves it only after its answer is in the log.
        types = sorted({(action.task, action.group) for action in actions if isinstance(action, EnqueueTask)})
        queued = await self._queued(run_id, types)
        known = await self._known(seat.run, min(decided_by(action) for action in actions), queued)
        left = [_as_it_is(action, known.run) for action in actions if _is_left(action, known)]
        return [action for action in left if not await self._is_there(action)]

    async def _is_there(self, action: AnyAction) -> bool:
        """Whether what an action makes is to be seen outside the run's history."""
        match action:
            case SendDeadLetter():
                return await self._is_kept(action)
            case StartChild(detached=True):  # of one that was removed long ago, a late wake-up may be there
                return await persist(lambda: self._ports.log.first(action.start.run_id)) > 0
            case StartChild():
                is_begun = await self._is_begun(action.start.run_id)
                return is_begun and await told_early(self._ports.log, action) is None
            case _:
                return False

    async def _is_begun(self, run_id: str) -> bool:
        """Whether a run has its start: of one that the log has lost, a worker may have stored a result since."""
        if not await persist(lambda: self._ports.log.first(run_id)):
            return False
        return has_start(await persist(lambda: self._ports.log.read(run_id)))

    async def _unwritten(self, run_id: str, actions: list[AnyAction]) -> list[AnyAction]:
        """Events for a run that we do not have in memory: those that its history does not have."""
        after = min(decided_by(action) for action in actions)
        later = decoded(await persist(lambda: self._ports.log.read(run_id, after=after)))
        return [
            action
            for action in actions
            if isinstance(action, AppendEvent) and not any(_is_same(record, action) for record in later)
        ]

    async def _is_kept(self, action: SendDeadLetter) -> bool:
        """Whether the dead letter of this attempt is there."""
        subject = f"{action.task}.{action.run_id}.{action.step_id}"
        letters = await persist(lambda: self._ports.dead_letters.find(subject))
        return any(letter.headers.get("Dagnats-Dlq-Attempts") == str(action.attempt) for letter in letters)

    async def _queued(self, run_id: str, types: Sequence[tuple[str, str]]) -> set[tuple[str, int]]:
        tasks = self._ports.tasks
        found: set[tuple[str, int]] = set()
        for task_type, group in types:
            for data in await persist(lambda of=task_type, group=group: tasks.waiting(of, run_id, group=group)):
                try:
                    task = decode_task(data)
                except DecodeError:
                    continue
                found.add((task.step_id, task.attempt))
        return found

    async def _known(self, run: Run, after: int, queued: set[tuple[str, int]]) -> _Known:
        later = decoded(await persist(lambda: self._ports.log.read(run.run_id, after=after)))
        copy = decode_run(encode_run(run))  # folding moves it, and the events in between are not decided yet
        try:
            moved = await self._decider.refold([record for record in later if record.seq > run.seq], copy)
        except CoreError:  # it is parked when its turn comes
            moved = None
        return _Known(moved if moved is not None else run, later, queued)


def _is_left(action: AnyAction, known: _Known) -> bool:
    run = known.run
    match action:
        case EnqueueTask():
            is_queued = (action.step_id, action.attempt) in known.queued
            return not is_queued and is_out(run, action.step_id, action.attempt)
        case EndRun():
            return not run.ended and not _has_ended(known, decided_by(action))
        case AddWaiter() if action.step_id.startswith(PREFIX):
            return not run.ended
        case AddWaiter() | AskApproval():
            state = run.steps.get(action.step_id)
            return state is not None and state.attempt == action.attempt and state.status in IN_FLIGHT
        case KeepSignal():
            return not run.ended
        case StartChild() if not action.detached:
            state = run.steps.get(action.step_id)
            return state is not None and state.child_run_id == action.start.run_id and state.status in IN_FLIGHT
        case SetTimer():
            return run.wake_seq == action.seq
        case AppendEvent():
            return not any(_is_same(record, action) for record in known.later)
        case _:
            return True


def _as_it_is(action: AnyAction, run: Run) -> AnyAction:
    """An action, as it is to be done now.

    A run that was opened again meanwhile may have new tasks in its queues: not to be dropped with the old ones. A step
    that was begun in time is not too late any more: no timer waits for what a worker would drop.
    """
    match action:
        case CancelTasks(ended=True) if not run.ended:
            return msgspec.structs.replace(action, ended=False)
        case EnqueueTask() if action.expires_ns and run.steps[action.step_id].status == "running":
            return msgspec.structs.replace(action, expires_ns=0)
        case _:
            return action


def _has_ended(known: _Known, after: int) -> bool:
    """Whether the run has ended since an event: it may have been opened again, and goes on for other reasons.

    An end that is decided is not cut off by a cancellation: that has ended nothing.
    """
    ends = [record for record in known.later if isinstance(record.event, TerminalEvent)]
    return any(end.seq > after and not isinstance(end.event, WorkflowCancelled) for end in ends)


def _is_same(record: Record, action: AppendEvent) -> bool:
    """Whether an event of the log is the one an action appends: of its kind, of its step's attempt, to its question."""
    event = record.event
    if type(event) is not type(action.event) or record.seq <= decided_by(action):
        return False
    return all(getattr(event, name, None) == getattr(action.event, name, None) for name in _SAME)


_SAME = ("step_id", "attempt_number", "asked")
