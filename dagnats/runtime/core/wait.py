"""Wait steps: an event from outside that belongs to the run, or the time until which it is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dagnats.model.duration import duration_nanos
from dagnats.model.event import Due, Failure, WaitStarted, WaitTimeout
from dagnats.model.json import NULL, encode
from dagnats.model.run import StepState
from dagnats.runtime.core.action import AddWaiter
from dagnats.runtime.core.attempt import number
from dagnats.runtime.core.inputs import output_of
from dagnats.runtime.core.path import Missing, raw_at
from dagnats.runtime.core.release import drop_waiter

if TYPE_CHECKING:
    from dagnats.model.condition import Match
    from dagnats.model.config import WaitForEventConfig
    from dagnats.model.event import WaitMatched
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

TIMED_OUT = msgspec.Raw(b'{"timeout":true}')
"""The output of a wait whose event did not come."""

_UNTOUCHED = StepState()


def begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Watch for the event, from the instant at which the step became ready."""
    run = turn.run
    config = cast("WaitForEventConfig", node.config)
    ready_ns = state.queued_ns or run.clock_ns  # it may have stood in the run's line
    turn.move(step_id, state, "running")
    number(turn, state)
    state.started_ns = run.clock_ns
    if (early := run.early.pop(step_id, None)) is not None:
        turn.finish(step_id, early)
        return
    try:
        right = _right(turn, config.match)
    except Missing as missing:
        why = f"wait match.right {config.match.right!r}: {missing}"
        turn.fail(step_id, Failure(error=why, failure_type="non_retriable"))
        return
    state.due_ns = run.clock_ns + duration_nanos(config.timeout)
    turn.add_deadline(state.due_ns, step_id, state.attempt)
    turn.append(
        WaitStarted(
            run_id=run.run_id,
            step_id=step_id,
            attempt_number=state.attempt,
            timestamp=turn.now,
            payload=Due(due_ns=state.due_ns),
        )
    )
    turn.act(
        AddWaiter(
            id=turn.next_id(),
            run_id=run.run_id,
            step_id=step_id,
            attempt=state.attempt,
            event=config.event,
            left=config.match.left,
            op=config.match.op,
            right=right,
            since_ns=ready_ns - duration_nanos(config.lookback),
            until_ns=state.due_ns,
        )
    )


def _right(turn: Turn, match: Match) -> msgspec.Raw:
    if not isinstance(match.right, str):
        return encode(match.right.value)
    root, _, rest = match.right.partition(".")
    if root == "input":
        return raw_at(turn.run.input or NULL, rest)
    step_id, _, path = rest.partition(".output.")
    return raw_at(output_of(turn.run, step_id), path)


def matched(turn: Turn, node: Node, state: StepState, event: WaitMatched) -> None:
    """The event came: its body is the step's output."""
    drop_waiter(turn, event.step_id, state, cast("WaitForEventConfig", node.config).event)
    turn.finish(event.step_id, turn.kept(event.step_id, event.payload) or NULL)


def brought_early(turn: Turn, event: WaitMatched) -> None:
    """Keep what somebody brings for the next attempt of a wait: it is there when that begins."""
    run, step_id = turn.run, event.step_id
    is_known = step_id in turn.graph.nodes or step_id in run.steps
    if not is_known or turn.node_of(step_id).type != "wait_for_event":
        return
    state = run.steps.get(step_id, _UNTOUCHED)
    if state.status == "pending" and event.attempt_number == state.attempt + 1:
        run.early.setdefault(step_id, turn.kept(step_id, event.payload) or NULL)


def over(turn: Turn, step_id: str, state: StepState) -> None:
    """Nothing came in time. The step is done all the same, and its output says so."""
    node = turn.node_of(step_id)
    turn.append(WaitTimeout(run_id=turn.run.run_id, step_id=step_id, attempt_number=state.attempt, timestamp=turn.now))
    drop_waiter(turn, step_id, state, cast("WaitForEventConfig", node.config).event)
    turn.finish(step_id, TIMED_OUT)
