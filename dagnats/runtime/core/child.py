"""Child steps: a run of another workflow, attached or on its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

from dagnats.model.event import (
    ChildFailed,
    ChildOutcome,
    ChildSpawned,
    Failure,
    Parent,
    Spawn,
    Start,
    WorkflowStarted,
)
from dagnats.model.identifier import is_run_id
from dagnats.model.json import NULL, encode
from dagnats.runtime.core.action import StartChild
from dagnats.runtime.core.attempt import limit_work, number
from dagnats.runtime.core.inputs import input_of

if TYPE_CHECKING:
    from dagnats.model.config import SubWorkflowConfig
    from dagnats.model.event import ChildCompleted
    from dagnats.model.run import Run, StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn


def begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Start the child; a detached one is not waited for."""
    run = turn.run
    config = cast("SubWorkflowConfig", node.config)
    turn.move(step_id, state, "running")
    number(turn, state)
    state.started_ns = run.clock_ns
    if why := _too_deep(run):
        turn.fail(step_id, Failure(error=why, failure_type="non_retriable"))
        return
    state.child_run_id = child_id(run.run_id, step_id, state.attempt)
    _spawn(turn, node, config, step_id, state)
    if config.detach:
        child_run_id, state.child_run_id = state.child_run_id, ""
        turn.finish(step_id, encode({"child_run_id": child_run_id}))
    else:
        limit_work(turn, node, step_id, state)


def child_id(run_id: str, step_id: str, attempt: int) -> str:
    """The child of an attempt: the same, whoever decides."""
    return hashlib.sha256(f"{run_id}\0{step_id}\0{attempt}".encode()).hexdigest()[:32]


def _spawn(turn: Turn, node: Node, config: SubWorkflowConfig, step_id: str, state: StepState) -> None:
    run = turn.run
    spawn = Spawn(child_run_id=state.child_run_id, child_workflow=config.workflow, detach=config.detach)
    turn.append(
        ChildSpawned(
            run_id=run.run_id, step_id=step_id, attempt_number=state.attempt, timestamp=turn.now, payload=spawn
        )
    )
    start = Start(
        workflow=config.workflow,
        def_hash="",
        input=input_of(turn.graph, run, node, state) or NULL,
        core_version=run.core_version,
        max_depth=run.max_depth,
        parent=None if config.detach else _parent(run, step_id, state.attempt),
        by=f"run {run.run_id}",
    )
    event = WorkflowStarted(run_id=state.child_run_id, timestamp=turn.now, trace_parent=run.trace_parent, payload=start)
    turn.act(
        StartChild(
            id=turn.next_id(),
            run_id=run.run_id,
            step_id=step_id,
            attempt=state.attempt,
            start=event,
            detached=config.detach,
        )
    )


def _parent(run: Run, step_id: str, attempt: int) -> Parent:
    above = run.parent
    return Parent(
        run_id=run.run_id,
        step_id=step_id,
        attempt=attempt,
        root=above.root if above is not None else run.run_id,
        depth=above.depth + 1 if above is not None else 1,
        ancestors=(run.run_id, *(above.ancestors if above is not None else ())),
    )


def asked_for(turn: Turn, event: ChildSpawned) -> None:
    """A worker asks for a child. It goes on beside the step, which does not wait for it; the run hears of its end.

    The engine says the same of the children that it starts itself: those have the names that it gives.
    """
    run, spawn = turn.run, event.payload
    if spawn.child_run_id == child_id(run.run_id, event.step_id, event.attempt_number) or run.status != "running":
        return
    step_id = spawn.parent_step_id or event.step_id
    state = run.steps.get(step_id)
    if state is None or not turn.node_of(step_id).worker_run:  # no other child is to be taken for that step's own
        step_id, state = "", None
    attempt = state.attempt if state is not None else 0
    if why := _refusal(run, spawn):
        outcome = ChildOutcome(child_run_id=spawn.child_run_id, error=why)
        turn.append(
            ChildFailed(run_id=run.run_id, step_id=step_id, attempt_number=attempt, timestamp=turn.now, payload=outcome)
        )
        return
    start = Start(
        workflow=spawn.child_workflow,
        def_hash="",
        input=spawn.input or NULL,
        core_version=run.core_version,
        max_depth=run.max_depth,
        parent=None if spawn.detach else _parent(run, step_id, attempt),
        by=f"run {run.run_id}",
    )
    begun = WorkflowStarted(run_id=spawn.child_run_id, timestamp=turn.now, trace_parent=run.trace_parent, payload=start)
    turn.act(
        StartChild(id=turn.next_id(), run_id=run.run_id, step_id=step_id, attempt=attempt, start=begun, detached=True)
    )


def _refusal(run: Run, spawn: Spawn) -> str:
    """Why a worker does not get the child that it asks for; "" when it does."""
    if not is_run_id(spawn.child_run_id):
        return f"{spawn.child_run_id!r} cannot name a run"
    return _too_deep(run)


def _too_deep(run: Run) -> str:
    depth = run.parent.depth if run.parent is not None else 0
    if depth < run.max_depth:
        return ""
    return f"the run has {depth} runs above it, and max_depth is {run.max_depth}: it starts no other one"


def completed(turn: Turn, event: ChildCompleted) -> None:
    """The child completed: its output is the step's."""
    turn.finish(event.step_id, turn.kept(event.step_id, event.payload.output, "output") or NULL)


def failed(turn: Turn, event: ChildFailed) -> None:
    """The child ended otherwise: the step's attempt failed. What retries it starts another child."""
    outcome = event.payload
    how = f" ({outcome.status})" if outcome.status not in ("", "failed") else ""
    why = f"child workflow failed{how}: {outcome.error}"
    failure = Failure(error=why, failure_type="retriable", detail="sub_workflow")
    turn.fail(event.step_id, failure)
