"""A run that has failed, opened again by hand: it goes on at the steps that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.core.turn import RUN_OVER

if TYPE_CHECKING:
    from dagnats.model.run import Run, StepState
    from dagnats.runtime.core.turn import Turn

OPENABLE = frozenset({"failed", "cancelled", "compensate_failed"})
"""What can be opened again: what has completed is done, what was compensated is undone."""


def reopened(turn: Turn) -> None:
    """Take up the run where it broke: its failed and cancelled steps are pending again, its time counts anew."""
    run = turn.run
    if run.status not in OPENABLE or turn.graph.unusable:
        return
    turn.become("running")
    run.ended_ns = 0
    run.outcome = type(run.outcome)()
    run.wreck = None
    _limit(turn)
    if run.saga is not None:
        _undo_on(turn)
    else:
        _go_on(turn)


def _limit(turn: Turn) -> None:
    run, graph = turn.run, turn.graph
    run.deadline_ns = 0
    if graph.timeout_ns and run.saga is None:
        run.deadline_ns = run.clock_ns + graph.timeout_ns
        turn.add_deadline(run.deadline_ns, "", RUN_OVER)


def _undo_on(turn: Turn) -> None:
    """Undoing got stuck: try the compensation that failed again."""
    run = turn.run
    assert run.saga is not None, "only a run that is being undone comes here"
    for step_id, state in run.steps.items():
        if state.serves == run.saga.current and state.status in ("failed", "cancelled"):
            _afresh(turn, step_id, state)
            turn.ready.append(step_id)


def _go_on(turn: Turn) -> None:
    run = turn.run
    for step_id, state in list(run.steps.items()):
        if state.status in ("failed", "cancelled"):
            _afresh(turn, step_id, state)
    for step_id, state in list(run.steps.items()):
        if state.status == "pending" and not state.waits_for and not state.serves and _may_go(run, state):
            turn.ready.append(step_id)
    for step_id in turn.graph.roots:  # a run that ended before it began has not touched them
        if step_id not in run.steps:
            turn.ready.append(step_id)


def _may_go(run: Run, state: StepState) -> bool:
    """A map hands out its own items again, a planner that has no plan plans first."""
    return not state.part_of or state.part_of in run.plans


def _afresh(turn: Turn, step_id: str, state: StepState) -> None:
    turn.move(step_id, state, "pending")
    state.retries = 0
    state.ended_ns = 0
    state.iteration = 0
