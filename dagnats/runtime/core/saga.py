"""Compensation: when a run fails, what completed is undone in reverse topological order, one step at a time.

First the effects must be known: steps in flight that have a compensation are awaited (they may complete, and
then they are undone too); everything else in flight is cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import (
    CompensateCompleted,
    CompensateFailed,
    CompensateStarted,
    CompensateStepCompleted,
    Compensation,
    Outcome,
)
from dagnats.model.run import IN_FLIGHT, Run, Saga, StepState
from dagnats.runtime.core.release import cancel_in_flight
from dagnats.runtime.core.turn import rests

if TYPE_CHECKING:
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.core.turn import Turn

_WITHOUT_EFFECT = frozenset({"sleep", "wait_for_event", "approval"})
"""Types that only wait: nothing is lost when they are not waited for."""


def has_work(graph: Graph, run: Run) -> bool:
    """Whether failing now leaves effects that somebody wrote an undo for."""
    return any(_undoable(graph, step_id, state) for step_id, state in run.steps.items())


def _undoable(graph: Graph, step_id: str, state: StepState) -> bool:
    node = graph.nodes.get(step_id)
    if node is None or not node.compensate:
        return False
    return _done_here(state) or (state.status in IN_FLIGHT and not rests(state) and node.type not in _WITHOUT_EFFECT)


def _done_here(state: StepState) -> bool:
    """Completed by an attempt of this run: what was taken over from another one is not this one's to undo."""
    return state.status == "completed" and state.attempt > 0


def begin(turn: Turn, step_id: str, error: str) -> None:
    """Stop dispatching and start to undo."""
    run = turn.run
    run.saga = Saga(trigger_step=step_id, error=error)
    run.deadline_ns = 0  # undoing takes the time it takes
    run.saga.awaiting = [
        other for other, state in run.steps.items() if state.status in IN_FLIGHT and _undoable(turn.graph, other, state)
    ]
    awaited = frozenset(run.saga.awaiting)
    cancel_in_flight(turn, but=awaited)
    _empty_line(run, awaited)
    turn.append(
        CompensateStarted(
            run_id=run.run_id, timestamp=turn.now, payload=Compensation(trigger_step=step_id, error=error)
        )
    )
    if not run.saga.awaiting:
        _undo_all(turn, run.saga)


def _empty_line(run: Run, awaited: frozenset[str]) -> None:
    """What is in the line will not begin any more, except for parts of what is awaited."""
    line, run.line = run.line, []
    for step_id in line:
        if run.steps[step_id].part_of in awaited:
            run.line.append(step_id)
        else:
            run.steps[step_id].held = False


def go_on(turn: Turn, saga: Saga) -> None:
    """The run was opened again: what could not be undone is tried again."""
    if saga.current:
        _undo(turn, saga.current)
    elif saga.awaiting:
        saga.awaiting = []
        _undo_all(turn, saga)
    else:  # somebody ended the run when all was undone and its own end on the way
        _undo_next(turn, saga)


def settled(turn: Turn, saga: Saga, step_id: str) -> None:
    """A step that was in flight when undoing began has completed or failed."""
    saga.awaiting.remove(step_id)
    if not saga.awaiting:
        _undo_all(turn, saga)


def _undo_all(turn: Turn, saga: Saga) -> None:
    nodes = turn.graph.nodes
    completed = [
        step_id
        for step_id, state in turn.run.steps.items()
        if _done_here(state) and step_id in nodes and nodes[step_id].compensate
    ]
    saga.order = sorted(completed, key=lambda step_id: nodes[step_id].rank, reverse=True)
    saga.queue = list(saga.order)
    _undo_next(turn, saga)


def _undo_next(turn: Turn, saga: Saga) -> None:
    if saga.queue:
        saga.current = saga.queue.pop(0)
        _undo(turn, saga.current)
        return
    saga.current = ""
    run = turn.run
    outcome = Outcome(step_id=saga.trigger_step, error=saga.error)
    turn.end("compensated", CompensateCompleted(run_id=run.run_id, timestamp=turn.now, payload=outcome))


def _undo(turn: Turn, step_id: str) -> None:
    compensation = turn.graph.nodes[step_id].compensate
    turn.serve(turn.graph.instance(compensation, step_id), step_id)


def undone(turn: Turn, saga: Saga, step_id: str) -> None:
    """A compensation completed."""
    turn.append(
        CompensateStepCompleted(
            run_id=turn.run.run_id,
            timestamp=turn.now,
            step_id=step_id,
            payload=Compensation(original_step=saga.current, trigger_step=saga.trigger_step),
        )
    )
    _undo_next(turn, saga)


def stuck(turn: Turn, step_id: str, error: str) -> None:
    """A compensation failed for good: what is not undone yet stays, and somebody has to know."""
    run = turn.run
    cancel_in_flight(turn)
    outcome = Outcome(step_id=step_id, error=error)
    turn.end("compensate_failed", CompensateFailed(run_id=run.run_id, timestamp=turn.now, payload=outcome))
