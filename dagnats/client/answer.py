"""Tokens of waitpoints against a run as it is: who may have one, and what comes of an answer that brings one.

Like the orders, nothing here touches the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.client import order
from dagnats.errors import ConflictError
from dagnats.model.event import WaitMatched
from dagnats.runtime.core.approval import REJECTED
from dagnats.runtime.core.wait import TIMED_OUT
from dagnats.runtime.waitpoint import Place

if TYPE_CHECKING:
    from dagnats.model.event import ApprovalGranted, ApprovalRejected
    from dagnats.model.run import Run, StepState
    from dagnats.runtime.core.graph import Graph

BY = "waitpoint token"
"""Who answers, as histories and the audit say it."""


class TooEarly(ConflictError):
    """The question was not asked yet: the same answer may be sent again later."""


class TooLate(ConflictError):
    """The wait has ended otherwise: nobody can answer it any more."""


class Answer(NamedTuple):
    """What whoever has a token says.

    Attributes:
        place: What the token is for.
        body: JSON; b"" for nothing.
        accepts: Whether it is what is waited for; otherwise it is a no.
    """

    place: Place
    body: bytes = b""
    accepts: bool = True


def open_place(graph: Graph, run: Run, step_id: str) -> Place:
    """What a token for a step is made for: its open wait, or the one that it will begin. Raises like the orders."""
    node, state = order.step_of(graph, run, step_id)
    if node.type not in ("approval", "wait_for_event"):
        raise ConflictError(f"step {step_id!r} waits for nobody: it is a {node.type} step")
    if _is_over(run, state):
        raise ConflictError(f"step {step_id!r} waits for nobody any more: {_what_is(run, state)}")
    return Place(run.run_id, step_id, state.attempt + (state.status == "pending"))


def answered(graph: Graph, run: Run, answer: Answer) -> WaitMatched | ApprovalGranted | ApprovalRejected:
    """The event that an answer is.

    Raises:
        TooEarly: It is for an approval that was not asked for yet.
        TooLate: The wait has ended otherwise.
        ConflictError: The wait was answered already; or it is a no to what is no question.
        InputError: It does not fit the approval's form.
    """
    place, step_id = answer.place, answer.place.step_id
    node, state = order.step_of(graph, run, step_id)
    _expect_open(run, state, place)
    if node.type == "wait_for_event":
        if not answer.accepts:
            hint = "bring the event that it waits for, and let that say it"
            raise ConflictError(f"step {step_id!r} waits for an event, which cannot be rejected", hint=hint)
        payload = msgspec.Raw(answer.body or b"null")
        return WaitMatched(run_id=run.run_id, step_id=step_id, attempt_number=place.attempt, payload=payload)
    if state.status == "pending":
        raise TooEarly(f"approval {step_id!r} was not asked for yet", hint="send the same again later")
    decide = order.approve if answer.accepts else order.reject
    return decide(graph, run, step_id, answer.body, by=BY)


def _expect_open(run: Run, state: StepState, place: Place) -> None:
    step_id = place.step_id
    current = state.attempt + (state.status == "pending")
    if _was_answered(run, state, place):
        raise ConflictError(f"the wait of step {step_id!r} was completed already")
    if current != place.attempt or _is_over(run, state):
        why = "its run went on without it" if current != place.attempt else _what_is(run, state)
        raise TooLate(f"the wait of step {step_id!r} is over: {why}")


def _was_answered(run: Run, state: StepState, place: Place) -> bool:
    if state.status == "pending":
        return place.step_id in run.early
    if state.attempt != place.attempt:
        return False
    is_met = state.status == "completed" and bytes(state.output) != bytes(TIMED_OUT)
    return is_met or state.error.startswith(REJECTED)


def _is_over(run: Run, state: StepState) -> bool:
    """Whether a step's wait has ended, or will never begin."""
    begins = state.status == "pending" and run.saga is None
    return bool(run.ended or run.ending) or not (begins or state.status == "running")


def _what_is(run: Run, state: StepState) -> str:
    if state.status not in ("pending", "running"):
        return f"it is {state.status}"
    return f"run {run.run_id} is {run.ending or run.status}"
