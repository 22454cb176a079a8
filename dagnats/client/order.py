"""What people tell a run: each order looks at the run as it is, and is the event that carries it out, or an error.

Nothing here touches the log: `RunHandle` stamps the event, appends it behind the one the order has looked at, and asks
again when another one was first. So each race has one winner, and the loser learns what it lost to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from dagnats.client.repeat import listed
from dagnats.errors import ConflictError, DagnatsError, InputError, NotFoundError
from dagnats.model.config import ApprovalConfig
from dagnats.model.event import (
    NOTHING,
    ApprovalGranted,
    ApprovalRejected,
    Failure,
    Note,
    Outcome,
    SignalReceived,
    StepFailed,
    StepSkipped,
    WaitMatched,
    WorkflowCancelled,
    WorkflowPaused,
    WorkflowReopened,
    WorkflowResumed,
)
from dagnats.model.identifier import near
from dagnats.model.instant import table_time
from dagnats.model.json import encode
from dagnats.model.payload import payload_problems
from dagnats.model.run import IN_FLIGHT, StepState
from dagnats.runtime.core.reopen import OPENABLE

if TYPE_CHECKING:
    from dagnats.model.run import Run
    from dagnats.model.scalar import StepType
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.core.node import Node

_SIGNAL = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # a key of the bucket where Go workers look for it
_SIGNAL_LENGTH = 128
_UNTOUCHED = StepState()


# -- the run -----------------------------------------------------------------------------------------------------


def cancel(run: Run, *, by: str = "", reason: str = "") -> WorkflowCancelled:
    """End the run now."""
    _expect_live(run)
    _expect_no_undoing(run, "be cancelled half-way", hint="wait for it to end as compensated")
    return WorkflowCancelled(run_id=run.run_id, payload=Outcome(error=_said("cancelled", by, reason)))


def pause(run: Run, note: Note) -> WorkflowPaused:
    """Hand out nothing more of the run."""
    _expect_live(run)
    if run.paused:
        raise ConflictError(f"run {run.run_id} is paused already", hint=f"`dagnats run resume {run.run_id}` lets it go")
    return WorkflowPaused(run_id=run.run_id, payload=note)


def resume(run: Run, note: Note) -> WorkflowResumed:
    """Let a paused run go on."""
    _expect_live(run)
    if not run.paused:
        raise ConflictError(
            f"run {run.run_id} is not paused: it is {run.status}", hint=f"`dagnats run status {run.run_id}` shows it"
        )
    return WorkflowResumed(run_id=run.run_id, payload=note)


def reopen(run: Run, note: Note, *, held: bool) -> WorkflowReopened:
    """Let a run that has ended badly go on where it broke."""
    if not run.ended:
        how = f"ending: {run.ending}" if run.ending else f"not over: it is {run.status}"
        raise ConflictError(
            f"run {run.run_id} is {how}", hint="only a run that has failed or was cancelled is replayed"
        )
    if run.status not in OPENABLE:
        why = "nothing of it failed" if run.status == "completed" else "everything it did was undone"
        raise ConflictError(
            f"run {run.run_id} cannot be replayed: it is {run.status}, {why}",
            hint=f"`dagnats run retry {run.run_id} --mode rerun` starts it anew",
        )
    return WorkflowReopened(run_id=run.run_id, held=held, payload=note)


def signal(run: Run, name: str, payload: bytes) -> SignalReceived:
    """Send the run a signal."""
    if _SIGNAL.fullmatch(name) is None or len(name) > _SIGNAL_LENGTH:
        raise DagnatsError(
            f"{name!r} cannot name a signal",
            hint=f"use letters, digits, '_' and '-', in parts joined by dots, at most {_SIGNAL_LENGTH} characters",
        )
    _expect_live(run)
    return SignalReceived(run_id=run.run_id, name=name, payload=msgspec.Raw(payload))


# -- a step ------------------------------------------------------------------------------------------------------


def skip(graph: Graph, run: Run, step_id: str, note: Note) -> StepSkipped:
    """Leave a step out: what depends on it goes on."""
    node, state = step_of(graph, run, step_id)
    _expect_live(run)
    _expect_begun(run, f"step {step_id!r} cannot be skipped")
    _expect_no_undoing(run, f"skip step {step_id!r}", hint="wait for its end")
    if node.auxiliary:
        raise ConflictError(
            f"step {step_id!r} only runs for another step and cannot be skipped",
            hint="skip that step, or fail this one",
        )
    if state.status == "pending" and state.part_of and node.type == "map":
        raise ConflictError(
            f"item {step_id!r} cannot be skipped: it has not been handed out", hint=f"skip the map, {state.part_of!r}"
        )
    if state.status != "pending" and state.status not in IN_FLIGHT:
        raise ConflictError(f"step {step_id!r} cannot be skipped: it is {state.status} already")
    return StepSkipped(run_id=run.run_id, step_id=step_id, attempt_number=state.attempt, payload=note)


def fail(graph: Graph, run: Run, step_id: str, *, by: str = "", reason: str = "") -> StepFailed:
    """Fail a step for good: what its definition says about failures follows."""
    _, state = step_of(graph, run, step_id)
    _expect_live(run)
    if state.status not in IN_FLIGHT:
        hint = f"`dagnats run skip {run.run_id} {step_id}` leaves it out" if state.status == "pending" else ""
        raise ConflictError(f"step {step_id!r} cannot be failed: {_doing(state)}", hint=hint)
    failure = Failure(error=_said("failed", by, reason), failure_type="non_retriable", detail="by_hand")
    return StepFailed(run_id=run.run_id, step_id=step_id, attempt_number=state.attempt, payload=encode(failure))


def approve(graph: Graph, run: Run, step_id: str, answer: bytes, *, by: str = "", reason: str = "") -> ApprovalGranted:
    """Answer an approval with yes."""
    node, state = _waiting(graph, run, step_id, "approval")
    if isinstance(node.config, ApprovalConfig) and node.config.form is not None:
        problems = payload_problems(node.config.form, answer or b"{}")
        if problems:
            raise InputError(f"the answer does not fit the form of approval {step_id!r}", problems)
    return ApprovalGranted(
        run_id=run.run_id,
        step_id=step_id,
        attempt_number=state.attempt,
        payload=_payload(answer),
        by=by,
        reason=reason,
    )


def reject(graph: Graph, run: Run, step_id: str, answer: bytes, *, by: str = "", reason: str = "") -> ApprovalRejected:
    """Answer an approval with no."""
    _, state = _waiting(graph, run, step_id, "approval")
    return ApprovalRejected(
        run_id=run.run_id,
        step_id=step_id,
        attempt_number=state.attempt,
        payload=_payload(answer),
        by=by,
        reason=reason,
    )


def complete_wait(graph: Graph, run: Run, step_id: str, body: bytes) -> WaitMatched:
    """Give a step the event that it waits for."""
    _, state = _waiting(graph, run, step_id, "wait_for_event")
    return WaitMatched(run_id=run.run_id, step_id=step_id, attempt_number=state.attempt, payload=msgspec.Raw(body))


def asked(graph: Graph, run: Run) -> str:
    """The one approval that waits for an answer, for callers that do not name it."""
    waits = [step_id for step_id, state in run.steps.items() if _asks(graph, run, step_id, state)]
    if len(waits) == 1:
        return waits[0]
    if waits:
        raise ConflictError(f"run {run.run_id} waits for {len(waits)} approvals: {', '.join(waits)}", hint="name one")
    raise ConflictError(f"run {run.run_id} waits for no approval: it is {run.status}")


# -- checks ------------------------------------------------------------------------------------------------------


def _expect_live(run: Run) -> None:
    if run.ended:
        raise ConflictError(f"run {run.run_id} has ended already: {run.status}")
    if run.ending:
        raise ConflictError(f"run {run.run_id} is ending: {run.ending}")


def _expect_begun(run: Run, what: str) -> None:
    if run.status in ("scheduled", "pending"):
        raise ConflictError(f"{what}: run {run.run_id} has not begun, it is {run.status}", hint="wait until it runs")


def _expect_no_undoing(run: Run, what: str, *, hint: str) -> None:
    if run.saga is not None:
        done = len(run.saga.order) - len(run.saga.queue)
        raise ConflictError(
            f"run {run.run_id} is being undone (step {done} of {len(run.saga.order)}) and cannot {what}", hint=hint
        )


def step_of(graph: Graph, run: Run, step_id: str) -> tuple[Node, StepState]:
    """A step of the run: of its definition, or one that came up while it ran."""
    known = [*graph.nodes, *(each for each in run.steps if each not in graph.nodes)]
    node = graph.node(step_id, run) if step_id in known else None
    if node is None:
        close = near(step_id, known)
        raise NotFoundError("step", step_id, near=close, hint="" if close else f"run {run.run_id} has {listed(known)}")
    return node, run.steps.get(step_id, _UNTOUCHED)


def _waiting(graph: Graph, run: Run, step_id: str, kind: StepType) -> tuple[Node, StepState]:
    """A step of a kind that waits for an answer."""
    node, state = step_of(graph, run, step_id)
    what = _KINDS[kind]
    if node.type != kind:
        raise ConflictError(
            f"step {step_id!r} does not wait for {what}: it is a {node.type} step", hint=_others(graph, run, kind)
        )
    if run.ended or run.ending:
        raise ConflictError(
            f"step {step_id!r} does not wait for {what} any more: run {run.run_id} is {run.ending or run.status}"
        )
    if not _asks(graph, run, step_id, state, kind):
        raise ConflictError(f"step {step_id!r} does not wait for {what}: {_doing(state)}")
    return node, state


def _asks(graph: Graph, run: Run, step_id: str, state: StepState, kind: StepType = "approval") -> bool:
    node = graph.node(step_id, run)
    return node is not None and node.type == kind and state.status == "running"


def _others(graph: Graph, run: Run, kind: StepType) -> str:
    waiting = [step_id for step_id, state in run.steps.items() if _asks(graph, run, step_id, state, kind)]
    return f"{', '.join(map(repr, waiting))} waits for {_KINDS[kind]}" if waiting else ""


def _doing(state: StepState) -> str:
    """What a step does at the moment, in words."""
    if state.retry_at_ns:
        return f"it waits for its next attempt, due at {table_time(state.retry_at_ns)} UTC"
    if state.held:
        return "it waits in the run's line"
    if state.left:
        return f"it waits for {state.left} of its parts"
    if state.status == "pending":
        return "it has not begun"
    error = f" ({state.error})" if state.error else ""
    return f"it is {state.status}{error}"


def _payload(data: bytes) -> msgspec.Raw:
    """Raw JSON, or nothing: only the one `NOTHING` is left out of an event."""
    return msgspec.Raw(data) if data else NOTHING


def _said(what: str, by: str, reason: str) -> str:
    """What is told of something done by hand; a plain cancel has nothing to tell."""
    if not by and what == "cancelled":
        return reason
    who = f"{what} by {by}" if by else f"{what} by hand"
    return f"{who}: {reason}" if reason else who


_KINDS: dict[StepType, str] = {"approval": "an approval", "wait_for_event": "an event"}
