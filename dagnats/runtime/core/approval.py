"""Approval steps: a question to a person, answered once, in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dagnats.model.duration import duration_nanos
from dagnats.model.event import ApprovalExpired, ApprovalRequested, Failure, Question
from dagnats.model.json import TooDeep, join_object, shallow
from dagnats.runtime.core.action import AskApproval
from dagnats.runtime.core.attempt import number

if TYPE_CHECKING:
    from dagnats.model.config import ApprovalConfig
    from dagnats.model.event import ApprovalGranted, ApprovalRejected
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

REJECTED = "approval rejected"
"""How the error of a step begins that was answered with no."""

_answer = msgspec.json.Decoder(dict[str, msgspec.Raw])
_APPROVED = msgspec.Raw(b"true")
_LONGEST_SAID = 2_000


def begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Ask."""
    run = turn.run
    config = cast("ApprovalConfig", node.config)
    turn.move(step_id, state, "running")
    number(turn, state)
    state.started_ns = run.clock_ns
    state.due_ns = run.clock_ns + duration_nanos(config.timeout)
    turn.add_deadline(state.due_ns, step_id, state.attempt)
    question = Question(
        subject=config.subject,
        description=config.description,
        metadata=dict(config.metadata),
        expires_ns=state.due_ns,
    )
    turn.append(
        ApprovalRequested(
            run_id=run.run_id,
            step_id=step_id,
            attempt_number=state.attempt,
            timestamp=turn.now,
            payload=question,
        )
    )
    turn.act(
        AskApproval(id=turn.next_id(), run_id=run.run_id, step_id=step_id, attempt=state.attempt, question=question)
    )


def granted(turn: Turn, event: ApprovalGranted) -> None:
    """Yes: `{"approved": true}` with what was answered."""
    answer = {} if not event.payload else _members(turn, event)
    answer.pop("approved", None)
    turn.finish(event.step_id, join_object([("approved", _APPROVED), *answer.items()]))


def _members(turn: Turn, event: ApprovalGranted) -> dict[str, msgspec.Raw]:
    """The members of an answer; one that is no object stands as `answer`."""
    try:
        members = _answer.decode(shallow(bytes(event.payload)))
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep):
        return {"answer": turn.kept(event.step_id, event.payload)}
    plain = {key: turn.kept(event.step_id, value, key) for key, value in members.items() if key.isidentifier()}
    return {**members, **plain}


def rejected(turn: Turn, event: ApprovalRejected) -> None:
    """No: the step fails."""
    who = f" by {event.by}" if event.by else ""
    answer = bytes(event.payload)[:_LONGEST_SAID].decode(errors="replace") if event.payload else ""
    said = "; ".join(filter(None, (event.reason, answer)))
    why = f"{REJECTED}{who}: {said}" if said else f"{REJECTED}{who}"
    failure = Failure(error=why, failure_type="non_retriable", detail="approval")
    turn.fail(event.step_id, failure)


def over(turn: Turn, step_id: str, state: StepState) -> None:
    """Nobody answered in time: the step fails."""
    turn.append(
        ApprovalExpired(run_id=turn.run.run_id, step_id=step_id, attempt_number=state.attempt, timestamp=turn.now)
    )
    failure = Failure(error="approval timed out", failure_type="non_retriable", detail="approval")
    turn.fail(step_id, failure)
