"""How a run ends: nothing stays in flight, one terminal event is decided, its folding makes it so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.event import (
    CompensateCompleted,
    CompensateFailed,
    Outcome,
    TerminalEvent,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
)
from dagnats.model.run import IN_FLIGHT, RunStatus, StepState
from dagnats.runtime.core.inputs import run_output

if TYPE_CHECKING:
    from dagnats.runtime.core.turn import Turn

STATUS: dict[type[TerminalEvent], RunStatus] = {
    WorkflowCompleted: "completed",
    WorkflowFailed: "failed",
    WorkflowCancelled: "cancelled",
    CompensateCompleted: "compensated",
    CompensateFailed: "compensate_failed",
}


def complete(turn: Turn) -> None:
    """Every step is done."""
    output = run_output(turn.graph, turn.run)
    outcome = Outcome(output=output)
    turn.end("completed", WorkflowCompleted(run_id=turn.run.run_id, timestamp=turn.now, payload=outcome))


def fail(turn: Turn, step_id: str, error: str) -> None:
    """A failure that nothing catches and nothing has to be undone for."""
    cancel_in_flight(turn)
    outcome = Outcome(step_id=step_id, error=error)
    turn.end("failed", WorkflowFailed(run_id=turn.run.run_id, timestamp=turn.now, payload=outcome))


def cancel_in_flight(turn: Turn) -> None:
    """Mark every step that was handed out, or waits for a retry, as cancelled: their results no longer count."""
    for step_id, state in turn.run.steps.items():
        if state.status in IN_FLIGHT:
            cancel_step(turn, step_id, state)


def cancel_step(turn: Turn, step_id: str, state: StepState) -> None:
    if not state.retry_at_ns:
        turn.give_up(step_id, state)
    state.status = "cancelled"
    state.ended_ns = turn.run.clock_ns
    state.retry_at_ns = state.deadline_ns = state.heartbeat_due_ns = 0


def ended(turn: Turn, event: TerminalEvent) -> None:
    """The run's terminal event is in the log. The first one counts, whoever wrote it: the log decides."""
    run = turn.run
    run.status = STATUS[type(event)]
    run.outcome = event.payload
    run.ended_ns = run.clock_ns
    run.ending = ""
    run.deadline_ns = 0
    run.deadlines = []
    turn.forget_wake()
    cancel_in_flight(turn)
