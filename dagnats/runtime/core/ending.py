"""How a run ends: nothing stays in flight, one terminal event is decided, its folding makes it so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dagnats.model.event import (
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    CompensateCompleted,
    CompensateFailed,
    Outcome,
    TerminalEvent,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
)
from dagnats.model.pointer import lightened
from dagnats.runtime.core import cancel, transition
from dagnats.runtime.core.inputs import run_output
from dagnats.runtime.core.release import cancel_in_flight

if TYPE_CHECKING:
    from dagnats.model.event import Parent
    from dagnats.model.run import RunStatus
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
    event = WorkflowCompleted(run_id=turn.run.run_id, timestamp=turn.now, payload=Outcome(output=output))
    turn.end("completed", event, schema=turn.graph.output_schema)


def fail(turn: Turn, step_id: str, error: str) -> None:
    """A failure that nothing catches and nothing has to be undone for."""
    cancel_in_flight(turn)
    outcome = Outcome(step_id=step_id, error=error)
    turn.end("failed", WorkflowFailed(run_id=turn.run.run_id, timestamp=turn.now, payload=outcome))


def ended(turn: Turn, event: TerminalEvent) -> None:
    """The run's terminal event is in the log. The first one counts, whoever wrote it: the log decides.

    Only that a run has completed which has not begun nobody can say.
    """
    run = turn.run
    status = STATUS[type(event)]
    if status not in transition.RUN[run.status]:
        return
    turn.become(status)
    run.outcome = event.payload
    output = lightened(event.payload.output, turn.seq, "output")
    if output is not event.payload.output:
        run.outcome = msgspec.structs.replace(event.payload, output=output)
    run.ended_ns = run.clock_ns
    run.ending = ""
    run.deadline_ns = run.run_at_ns = 0
    run.deadlines = []
    turn.forget_wake()
    cancel_in_flight(turn)  # nobody has in hand what is in the line
    for step_id in run.line:
        run.steps[step_id].held = False
    run.line = []
    run.paused = False
    if turn.graph.cancel_on:
        cancel.unwatch(turn)
    if run.parent is not None and not run.parent.detached:
        _tell_parent(turn, run.parent)


def _tell_parent(turn: Turn, parent: Parent) -> None:
    """The step that this run runs for hears how it ended."""
    run = turn.run
    outcome = ChildOutcome(
        child_run_id=run.run_id, status=run.status, output=run.outcome.output, error=run.outcome.error
    )
    kind = ChildCompleted if run.status == "completed" else ChildFailed
    turn.append(
        kind(
            run_id=parent.run_id,
            step_id=parent.step_id,
            attempt_number=parent.attempt,
            timestamp=turn.now,
            payload=outcome,
        )
    )
