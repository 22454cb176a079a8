"""A run that somebody holds: nothing more is handed out; what is in flight goes on, and so do its deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.runtime.core.turn import Turn


def paused(turn: Turn) -> None:
    """From now on what becomes ready waits in the run's line."""
    turn.run.paused = True


def resumed(turn: Turn) -> None:
    """All that waits is offered again: what has still no room goes back to its place in the line."""
    run = turn.run
    run.paused = False
    line, run.line = run.line, []
    for step_id in line:
        state = run.steps.get(step_id)  # the items of a map go when it is done
        if state is not None and state.held:
            state.held = False
            turn.ready.append(step_id)
