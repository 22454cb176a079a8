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
from dagnats.model.run import IN_FLIGHT, Run, RunStatus, StepState
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
    cancel_in_flight(turn.run)
    outcome = Outcome(step_id=step_id, error=error)
    turn.end("failed", WorkflowFailed(run_id=turn.run.run_id, timestamp=turn.now, payload=outcome))


def cancel_in_flight(run: Run) -> None:
    """Mark every step that was handed out, or waits for a retry, as cancelled: their results no longer count."""
    for state in run.steps.values():
        if state.status in IN_FLIGHT:
            cancel_step(run, state)


def cancel_step(run: Run, state: StepState) -> None:
    state.status = "cancelled"
    state.ended_ns = run.clock_ns
    state.retry_at_ns = state.deadline_ns = 0


def ended(turn: Turn, event: TerminalEvent) -> None:
    """The run's terminal event is in the log. The first one counts, whoever wrote it: the log decides."""
    run = turn.run
    run.status = STATUS[type(event)]
    run.outcome = event.payload
    run.ended_ns = run.clock_ns
    run.ending = ""
    run.wake_ns = 0
    run.deadline_ns = 0
    run.deadlines = []
    cancel_in_flight(run)
