"""A run that has not completed, opened again by hand: it goes on at the steps that failed or were cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import Outcome
from dagnats.runtime.core import start

if TYPE_CHECKING:
    from dagnats.model.run import Run, StepState
    from dagnats.runtime.core.turn import Turn

OPENABLE = frozenset({"failed", "cancelled", "compensate_failed"})
"""What can be opened again: what has completed is done, what was compensated is undone."""


def is_openable(run: Run) -> bool:
    """Whether the run can go on. One that was refused has nothing to go on with, and stays refused."""
    return run.status in OPENABLE and run.remaining > 0


def reopened(turn: Turn, *, held: bool) -> None:
    """Take up the run where it broke. Its time, its retries and the length of its history count anew.

    Args:
        held: Whether an operator holds the workflow's runs back.
    """
    run = turn.run
    if not is_openable(run):
        return
    for step_id, state in run.steps.items():
        if state.status in ("failed", "cancelled") and _is_taken_up(run, state):
            turn.move(step_id, state, "pending")
        if state.status == "pending":
            _afresh(state)
    run.outcome = Outcome()
    run.wreck = None
    run.ended_ns = 0
    run.max_events += run.events
    run.held = held or turn.graph.is_admitted
    turn.become("pending")
    start.begin(turn)


def _is_taken_up(run: Run, state: StepState) -> bool:
    """Of a run that is being undone, only the compensation that failed, with its parts."""
    whole = run.steps[state.part_of] if state.part_of else state
    return run.saga is None or (whole.serves != "" and whole.serves == run.saga.current)


def _afresh(state: StepState) -> None:
    state.retries = state.iteration = 0
    state.queued_ns = state.ended_ns = 0
