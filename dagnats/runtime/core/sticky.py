"""Runs that keep to one worker (`sticky`): bound by the first result, with a way out when the worker is gone.

The core does not look whether a worker lives. What is queued for one alone is let go of when it does not begin in
time, and what it runs, when it is silent for too long: a soft run goes on with whoever comes, a hard one fails the
attempt. The attempt's number grows, so that whatever the first worker still says is too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import Failure
from dagnats.runtime.core.release import release

if TYPE_CHECKING:
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

_SECOND = 1_000_000_000
SOFT_WAIT_NS = 5 * _SECOND
"""How long a worker that is preferred has to begin."""

HARD_WAIT_NS = 60 * _SECOND
"""How long a worker that is needed has to begin. Long enough for one that is started again."""

SILENCE_NS = 60 * _SECOND
"""How long it may be silent while it runs a step without a `heartbeat_timeout`: nobody else would be given its task."""


def bind(turn: Turn, node: Node, worker_id: str) -> None:
    """The first worker that gives a result is the run's."""
    if not turn.run.worker_id and "group" not in node.extra:
        turn.run.worker_id = worker_id


def worker_for(turn: Turn, node: Node) -> str:
    """Who is to get a step's task; "" for anybody."""
    return "" if "group" in node.extra else turn.run.worker_id


def limit_wait(turn: Turn, step_id: str, state: StepState) -> None:
    """The attempt lies in its worker's queue from now on. A step's own queue timeout is its author's word on that."""
    if turn.graph.sticky == "soft":
        _limit(turn, step_id, state, SOFT_WAIT_NS)
    elif not state.deadline_ns:
        _limit(turn, step_id, state, HARD_WAIT_NS)


def limit_silence(turn: Turn, step_id: str, state: StepState) -> None:
    """The worker has begun, or is alive: its silence counts from now on."""
    _limit(turn, step_id, state, SILENCE_NS)


def _limit(turn: Turn, step_id: str, state: StepState, limit_ns: int) -> None:
    state.sticky_due_ns = turn.run.clock_ns + limit_ns
    turn.add_deadline(state.sticky_due_ns, step_id, state.attempt)


def overdue(turn: Turn, step_id: str, state: StepState) -> None:
    """The worker did not begin in time, or went silent."""
    if turn.graph.sticky == "soft":
        let_go(turn, step_id, state)
        return
    what = "did not begin it" if state.status == "queued" else "gave no sign of life"
    why = f"the run keeps to worker {state.sticky!r}, which {what} for 60s"
    release(turn, step_id, state)
    turn.fail(step_id, Failure(error=why, detail="sticky_worker_lost"))


def let_go(turn: Turn, step_id: str, state: StepState) -> None:
    """Hand the step out to anybody, as the same try; whoever answers first is the run's worker from then on."""
    release(turn, step_id, state)
    turn.run.worker_id = ""
    turn.move(step_id, state, "queued")
    turn.settle(step_id, state)
    turn.ready.append(step_id)
