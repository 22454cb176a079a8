"""What a run's history has decided, from its first event on: of that, whatever was not done is still to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import WorkflowStarted
from dagnats.runtime.blob import filled
from dagnats.runtime.core.action import (
    AddWaiter,
    AppendEvent,
    AskAdmission,
    AskApproval,
    DropTask,
    EndRun,
    EnqueueTask,
    KeepSignal,
    SendDeadLetter,
    SetTimer,
    StartChild,
)
from dagnats.runtime.core.advance import advance
from dagnats.runtime.doubt import decided_for
from dagnats.runtime.patience import persist
from dagnats.runtime.record import decoded, from_start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.run import Run
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.core.gate.fold import Gates
    from dagnats.runtime.debt import Debts
    from dagnats.runtime.decider import Decider
    from dagnats.runtime.ports import Ports

# What remains when it is done, and what nobody else would take out.
_MADE_GOOD = (
    EnqueueTask,
    SetTimer,
    AppendEvent,
    EndRun,
    SendDeadLetter,
    StartChild,
    AddWaiter,
    AskApproval,  # who was asked already is asked again, rather than nobody
    KeepSignal,
    AskAdmission,
    DropTask,
)


def is_own(action: AnyAction) -> bool:
    """Whether an action serves only the run that has decided it."""
    if isinstance(action, AppendEvent):
        return action.run_id == decided_for(action)
    return not (isinstance(action, SendDeadLetter) or (isinstance(action, StartChild) and action.detached))


async def decided(
    ports: Ports, decider: Decider, gates: Gates, run_id: str, upto: int, debts: Debts | None = None
) -> list[AnyAction]:
    """All of that up to an event that is made good where it was lost; without tasks that a gate holds.

    Args:
        debts: Notes what of it may be owed to others.
    """
    actions: list[AnyAction] = []
    records = from_start(decoded(await persist(lambda: ports.log.read(run_id))))
    run: Run | None = None
    if not records or not isinstance(records[0].event, WorkflowStarted):
        return actions
    graph = await decider.graph_for(records[0].event.payload)
    for record in records:
        if record.seq > upto:
            break
        try:
            decision = advance(graph, run, await persist(lambda record=record: filled(ports, graph, record)))
        except Exception:  # noqa: BLE001  # it is parked, or will be
            break
        run = decision.run
        if debts is not None:
            debts.note(record, decision)
        actions += [action for action in decision.actions if isinstance(action, _MADE_GOOD)]
    return _let_through(gates, actions)


def _let_through(gates: Gates, actions: Iterable[AnyAction]) -> list[AnyAction]:
    """Without tasks that a gate holds; of an attempt that a gate held, the task that it let go."""
    newest = {(action.step_id, action.attempt): action for action in actions if isinstance(action, EnqueueTask)}
    return [
        action
        for action in actions
        if not isinstance(action, EnqueueTask)
        or (
            newest[action.step_id, action.attempt] is action
            and not gates.waits(action.run_id, action.step_id, action.attempt)
        )
    ]
