"""Agent loops: a handler that asks to run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dagnats.model.config import AgentLoopConfig
from dagnats.model.duration import duration_nanos, format_duration
from dagnats.model.event import Failure
from dagnats.runtime.core.release import release
from dagnats.runtime.core.turn import ALL_TURNS

if TYPE_CHECKING:
    from dagnats.model.event import StepContinued
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn


def limit(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """All turns together may take so long, counted from the start of the first one."""
    config = node.config
    if isinstance(config, AgentLoopConfig) and config.max_duration and not state.loop_ends_ns:
        state.loop_ends_ns = turn.run.clock_ns + duration_nanos(config.max_duration)
        turn.add_deadline(state.loop_ends_ns, step_id, ALL_TURNS)


def continued(turn: Turn, node: Node, state: StepState, event: StepContinued) -> None:
    """A turn is done and another one is asked for. Each has the whole retry budget."""
    config = node.config
    if not isinstance(config, AgentLoopConfig):
        why = f"the handler asked for another turn, which only an agent_loop has; this step is of type {node.type!r}"
        _fail(turn, event.step_id, why)
        return
    if turn.run.saga is not None and not state.serves:
        _fail(turn, event.step_id, "the run is being undone: there is no other turn")
        return
    state.iteration += 1
    if state.iteration >= config.max_iterations:
        why = f"agent loop exceeded max iterations ({config.max_iterations})"
        _fail(turn, event.step_id, why)
        return
    if event.payload:  # the key of a rate limit is looked for in it
        state.input = event.payload if node.limits.key else turn.kept(event.step_id, event.payload)
    state.retries = 0
    state.error = state.failure_type = ""
    turn.move(event.step_id, state, "queued")
    turn.settle(event.step_id, state)
    turn.again_in(event.step_id, state, duration_nanos(config.loop_delay))


def overdue(turn: Turn, step_id: str, state: StepState) -> None:
    """The turns have taken too long together."""
    node = turn.node_of(step_id)
    longest = cast("AgentLoopConfig", node.config).max_duration
    release(turn, step_id, state)
    _fail(turn, step_id, f"agent loop exceeded max duration ({format_duration(longest)})")


def _fail(turn: Turn, step_id: str, why: str) -> None:
    turn.fail(step_id, Failure(error=why, failure_type="non_retriable", detail="agent_loop"))
