"""A run that somebody holds: nothing more is handed out; what is in flight goes on, and so do its deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.runtime.core.turn import Turn


def paused(turn: Turn) -> None:
    """From now on what becomes ready waits in the run's line."""
    turn.run.paused = True


def resumed(turn: Turn) -> None:
    """The line moves again, as the turn is settled."""
    turn.run.paused = False
