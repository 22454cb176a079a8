"""A history folded once more, here: as it was, to see whether it comes out the same, or by another definition.

Nothing is done and nothing is stored. By another definition it is followed to the first event that would have led to
something else: what comes after that in the history is an answer to what was done, not to what would have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.client.document import Document
from dagnats.client.fold import Fold
from dagnats.client.start import check_input
from dagnats.client.verify import compared, readable
from dagnats.errors import InputError, NotFoundError
from dagnats.model.event import Record, WorkflowStarted, event_type
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus
from dagnats.runtime.blob import filled, resolved
from dagnats.runtime.core.action import (
    AddWaiter,
    AnyAction,
    AppendEvent,
    AskAdmission,
    AskApproval,
    CancelTasks,
    DropDeadLetters,
    DropTask,
    DropTimer,
    DropWaiter,
    EndRun,
    EnqueueTask,
    KeepSignal,
    SendDeadLetter,
    SetTimer,
    StartChild,
)
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.graph import Graph
from dagnats.runtime.record import decoded
from dagnats.runtime.standing import graph_behind

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.run import Run
    from dagnats.runtime.ports import Ports


class Turn(NamedTuple):
    """The first event at which two definitions part.

    Attributes:
        seq: Its place in the log.
        type: What it is.
        step_id: Its step, or "".
        did: What it led to, of what it would not have led to.
        would: What it would have led to instead.
    """

    seq: int
    type: str
    step_id: str
    did: tuple[str, ...]
    would: tuple[str, ...]


class Rehearsal(NamedTuple):
    """What came of folding a history once more.

    Attributes:
        run_id: Whose.
        workflow: Its workflow.
        def_hash: The definition that it follows.
        by_hash: The definition that it was folded by.
        events: How many events were folded.
        status: The run's, after them.
        problems: What did not come out as it is stored.
        turn: Where the two definitions part; None when they do not, or there is only one.
    """

    run_id: str
    workflow: str
    def_hash: str
    by_hash: str
    events: int
    status: RunStatus
    problems: tuple[str, ...] = ()
    turn: Turn | None = None

    @property
    def is_same(self) -> bool:
        """Whether all came out as it was."""
        return not self.problems and self.turn is None


class TurnDocument(Document, frozen=True, kw_only=True):
    """The first event at which two definitions part. What its members mean: see `Turn`."""

    seq: int
    type: str
    step_id: str
    did: tuple[str, ...]
    would: tuple[str, ...]


class RehearsalDocument(Document, frozen=True, kw_only=True):
    """What came of folding a history once more: `same` when all came out as it was."""

    run_id: str
    workflow_id: str
    def_hash: str
    by_hash: str
    events: int
    status: RunStatus
    same: bool
    problems: tuple[str, ...]
    difference: TurnDocument | None


def rehearsal_document(found: Rehearsal) -> RehearsalDocument:
    """What came of it, as JSON."""
    return RehearsalDocument(
        run_id=found.run_id,
        workflow_id=found.workflow,
        def_hash=found.def_hash,
        by_hash=found.by_hash,
        events=found.events,
        status=found.status,
        same=found.is_same,
        problems=found.problems,
        difference=TurnDocument(**found.turn._asdict()) if found.turn is not None else None,
    )


def rehearsal_of(told: RehearsalDocument) -> Rehearsal:
    """What came of it, from its JSON."""
    turn = told.difference
    return Rehearsal(
        run_id=told.run_id,
        workflow=told.workflow_id,
        def_hash=told.def_hash,
        by_hash=told.by_hash,
        events=told.events,
        status=told.status,
        problems=told.problems,
        turn=Turn(turn.seq, turn.type, turn.step_id, turn.did, turn.would) if turn is not None else None,
    )


async def rehearse(ports: Ports, run_id: str, definition: WorkflowDef | None = None) -> Rehearsal:
    """Fold a run's history.

    Args:
        definition: By this one, instead of the run's own.

    Raises:
        NotFoundError: There is no such run.
        DecodeError: The history does not begin with a start.
        BlobLost: A payload that a decision looks into is not stored any more.
    """
    stored = await ports.snapshots.load(run_id)  # first: the history is then at least as far
    entries = await ports.log.read(run_id)
    records = decoded(entries)
    if not records:
        raise NotFoundError("run", run_id)
    graph = await graph_behind(ports, records[0], whole=definition is not None)
    if definition is not None:
        return await _by_another(ports, run_id, records, graph, definition)
    snapshot = readable(stored)
    problems = [graph.unusable] if graph.unusable else []
    fold = Fold(graph, [await filled(ports, graph, each) for each in records], snapshot.seq if snapshot else 0)
    if stored is not None:
        problems += [each.detail for each in compared(snapshot, fold.then, entries)]
    run = fold.run
    return Rehearsal(
        run_id, run.workflow_id, run.def_hash, run.def_hash, len(records), run.status, problems=tuple(problems)
    )


async def _by_another(
    ports: Ports, run_id: str, records: list[Record], graph: Graph, definition: WorkflowDef
) -> Rehearsal:
    other, own, new, folded = Graph(definition, whole=True), None, None, 0
    turn = await _refusal(ports, records[0], definition)
    for record in records if turn is None else ():
        own, did, _ = advance(graph, own, await filled(ports, graph, record))
        folded += 1
        try:
            new, would, _ = advance(other, new, await filled(ports, other, record))
        except Exception as error:  # noqa: BLE001  # it is told, not thrown: that may be what is looked for
            turn = _turn(record, _said(did), (f"break: {type(error).__name__}: {error}",))
            break
        assert own is not None, "the first event is the start"
        assert new is not None, "likewise"
        turn = _parting(record, [*_steps(own, new), *did], [*_steps(new, own), *would])
        if turn is not None:
            break
    start = records[0].event
    assert isinstance(start, WorkflowStarted), "else it has no graph"
    name, identity = start.payload.workflow, start.payload.def_hash
    status = own.status if own is not None else "pending"
    return Rehearsal(run_id, name, identity, definition.identity, folded, status, turn=turn)


async def _refusal(ports: Ports, record: Record, definition: WorkflowDef) -> Turn | None:
    """Whether the definition would have refused the run's input."""
    event = record.event
    assert isinstance(event, WorkflowStarted), "else it has no graph"
    try:
        check_input(definition, await resolved(ports, bytes(event.payload.input)) or b"null")
    except InputError as error:
        return _turn(record, ("begin the run",), (f"refuse the input: {error.problems[0]}",))
    return None


# -- what differs ------------------------------------------------------------------------------------------------


def _steps(run: Run, other: Run) -> list[str]:
    """The statuses of a run that another one does not have. Pending is what every step begins with, and not told."""
    found = [] if run.status == other.status else [f"the run is {run.status}"]
    for step_id in sorted({*run.steps, *other.steps}):
        mine, theirs = (each.steps[step_id].status if step_id in each.steps else "pending" for each in (run, other))
        if mine not in ("pending", theirs):
            found.append(f"step {step_id!r} is {mine}")
    return found


def _parting(record: Record, did: list[str | AnyAction], would: list[str | AnyAction]) -> Turn | None:
    """What one decision has and the other does not; None when they are the same."""
    mine, theirs = (tuple(_plain(each) for each in decided) for decided in (did, would))
    only_did = tuple(each for each in mine if each not in theirs)
    only_would = tuple(each for each in theirs if each not in mine)
    if not only_did and not only_would:
        return None
    names = _unlike(only_did, only_would)
    return _turn(record, _said(only_did, names), _said(only_would, names))


def _plain(decided: str | AnyAction) -> str | AnyAction:
    """An action without what only tells it from others: how many came before it in its decision."""
    return decided if isinstance(decided, str) else msgspec.structs.replace(decided, id="")


def _unlike(did: tuple[str | AnyAction, ...], would: tuple[str | AnyAction, ...]) -> dict[str, str]:
    """By what an action is called, the fields in which two of that name differ."""
    by_name = {_called(each): each for each in would if not isinstance(each, str)}
    found: dict[str, str] = {}
    for each in did:
        if isinstance(each, str) or (other := by_name.get(_called(each))) is None:
            continue
        names = [name for name in each.__struct_fields__ if getattr(each, name) != getattr(other, name, None)]
        found[_called(each)] = ", ".join(names)
    return found


def _said(decided: tuple[str | AnyAction, ...], unlike: dict[str, str] | None = None) -> tuple[str, ...]:
    unlike = unlike or {}
    said: list[str] = []
    for each in decided:
        if isinstance(each, str):
            said.append(each)
            continue
        called = _called(each)
        values = ", ".join(f"{name} {_shown(each, name)}" for name in unlike.get(called, "").split(", ") if name)
        said.append(f"{called} ({values})" if values else called)
    return tuple(said)


_MOST_SHOWN = 120


def _shown(action: AnyAction, name: str) -> str:
    text = msgspec.json.encode(getattr(action, name)).decode(errors="replace")
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _called(action: AnyAction) -> str:
    """An action as people say it."""
    match action:
        case EnqueueTask():
            return f"hand out step {action.step_id!r} as {action.task!r}, attempt {action.attempt}"
        case StartChild():
            return f"start a run of {action.start.payload.workflow!r} for step {action.step_id!r}"
        case AppendEvent():
            step_id = getattr(action.event, "step_id", "")
            return f"note {event_type(action.event)}" + (f" of step {step_id!r}" if step_id else "")
        case EndRun():
            return f"end the run: {event_type(action.event)}"
        case SetTimer():
            return f"wake the run at {rfc3339(action.due_ns)}"
        case AddWaiter():
            return f"wait for an event {action.event!r} in step {action.step_id!r}"
        case DropWaiter():
            return f"wait no more for {action.event!r} in step {action.step_id!r}"
        case AskApproval():
            return f"ask for an approval in step {action.step_id!r}"
        case AskAdmission():
            return "ask the gates whether the run may begin"
        case SendDeadLetter():
            return f"keep a dead letter of step {action.step_id!r}"
        case DropDeadLetters():
            return f"drop the dead letters of step {action.step_id!r}"
        case CancelTasks():
            return "stop " + ", ".join(f"step {step_id!r}" for step_id, _, _ in action.steps)
        case DropTask():
            return f"take back step {action.step_id!r}"
        case DropTimer():
            return "drop the run's wake-up"
        case KeepSignal():
            return f"show signal {action.name!r}"


def _turn(record: Record, did: tuple[str, ...], would: tuple[str, ...]) -> Turn:
    event = record.event
    return Turn(record.seq, event_type(event), str(getattr(event, "step_id", "")), did, would)
