"""`/v1/runs/{run_id}/…`: tell a run what to do."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dagnats.client.document import Document
from dagnats.errors import NotFoundError
from dagnats.model.event import NOTHING
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing


class Note(Order):
    """Who says it, and why."""

    by: str = ""
    reason: str = ""


class Answer(Note):
    """What is said to an approval: without a `step`, to the one that waits. A `token`, if given, has to be right."""

    step: str = ""
    answer: Any = None
    token: str | None = None


class Retry(Order):
    """How to try again: `rerun` anew, with another input if one is given; `replay` where it broke."""

    mode: Literal["rerun", "replay"] = "rerun"
    input: msgspec.Raw = NOTHING
    by: str = ""
    reason: str = ""


class Fork(Order):
    """Where a new run begins; all that does not depend on it is taken over. `latest` is the newest definition."""

    from_step: str
    input: msgspec.Raw = NOTHING
    latest: bool = False
    by: str = ""


class OldAnswer(Order):
    """What an approval is answered with."""

    action: Literal["approve", "reject"]
    token: str | None = None


class Comment(Order):
    """Who answers, and why."""

    approved_by: str = ""
    comment: str = ""


class ToldDocument(Document, frozen=True, kw_only=True):
    """What a run was told."""

    status: str
    run_id: str


class SignalledDocument(ToldDocument, frozen=True, kw_only=True):
    """A signal that was sent."""

    signal: str


class StepToldDocument(ToldDocument, frozen=True, kw_only=True):
    """What a step was told."""

    step: str


class RetriedDocument(Document, frozen=True, kw_only=True):
    """The run that goes on: this one, or a new one."""

    run_id: str
    original_run_id: str
    mode: str


class ForkedDocument(Document, frozen=True, kw_only=True):
    """A run that began at a step of another one."""

    run_id: str
    forked_from: str
    from_step: str


async def cancel(asked: Asked[Nothing, Note]) -> ToldDocument:
    """End a run now."""
    await asked.run.cancel(asked.body.reason, by=asked.body.by)
    return ToldDocument(status="cancelled", run_id=asked.run.run_id)


async def cancel_scheduled(asked: Asked[Nothing, None]) -> ToldDocument:
    """Cancel a run that is to begin later."""
    if (view := await asked.run.view()).status != "scheduled":
        raise NotFoundError("scheduled run", view.run_id, hint=f"it is {view.status}")
    await asked.run.cancel(by=asked.grant.actor)
    return ToldDocument(status="cancelled", run_id=view.run_id)


async def pause(asked: Asked[Nothing, Note]) -> ToldDocument:
    """Hand out nothing more of a run until it is resumed."""
    await asked.run.pause(asked.body.reason, by=asked.body.by)
    return ToldDocument(status="paused", run_id=asked.run.run_id)


async def resume(asked: Asked[Nothing, Note]) -> ToldDocument:
    """Let a paused run go on."""
    await asked.run.resume(asked.body.reason, by=asked.body.by)
    return ToldDocument(status="resumed", run_id=asked.run.run_id)


async def signal(asked: Asked[Nothing, bytes]) -> SignalledDocument:
    """Send a run a signal; the body is its value."""
    name = asked.path["name"]
    await asked.run.signal_json(name, asked.body)
    return SignalledDocument(status="sent", run_id=asked.run.run_id, signal=name)


async def approve(asked: Asked[Nothing, Answer]) -> StepToldDocument:
    """Answer an approval with yes."""
    said = asked.body
    step = await asked.run.approve(said.step, said.answer, token=said.token, by=said.by, reason=said.reason)
    return StepToldDocument(status="approved", run_id=asked.run.run_id, step=step)


async def reject(asked: Asked[Nothing, Answer]) -> StepToldDocument:
    """Answer an approval with no, which fails its step."""
    said = asked.body
    step = await asked.run.reject(said.step, said.answer, token=said.token, by=said.by, reason=said.reason)
    return StepToldDocument(status="rejected", run_id=asked.run.run_id, step=step)


async def answer(asked: Asked[OldAnswer, Comment]) -> StepToldDocument:
    """Answer the approval of a step."""
    said, query, step = asked.body, asked.query, asked.path["step"]
    tell = asked.run.approve if query.action == "approve" else asked.run.reject
    await tell(step, token=query.token, by=said.approved_by, reason=said.comment)
    status = "approved" if query.action == "approve" else "rejected"
    return StepToldDocument(status=status, run_id=asked.run.run_id, step=step)


async def skip(asked: Asked[Nothing, Note]) -> StepToldDocument:
    """Leave a step out: what depends on it goes on without its output."""
    step = asked.path["step"]
    await asked.run.skip(step, asked.body.reason, by=asked.body.by)
    return StepToldDocument(status="skipped", run_id=asked.run.run_id, step=step)


async def fail(asked: Asked[Nothing, Note]) -> StepToldDocument:
    """Fail a step for good: what its definition says about failures follows."""
    step = asked.path["step"]
    await asked.run.fail_step(step, asked.body.reason, by=asked.body.by)
    return StepToldDocument(status="failed", run_id=asked.run.run_id, step=step)


async def complete(asked: Asked[Nothing, bytes]) -> StepToldDocument:
    """Give a step the event that it waits for, by hand; the body is the event's."""
    step = asked.path["step"]
    await asked.run.complete_wait_json(step, asked.body)
    return StepToldDocument(status="completed", run_id=asked.run.run_id, step=step)


async def retry(asked: Asked[Nothing, Retry]) -> RetriedDocument:
    """Try a run again: anew, or where it broke."""
    said, run = asked.body, asked.run
    data = bytes(said.input)
    if said.mode == "replay" and not data:
        await run.replay(said.reason, by=said.by)
        new = run
    elif said.mode == "replay":
        new = await run.retry("replay", msgspec.Raw(data), by=said.by)
    else:
        new = await run.rerun_json(data, by=said.by)
    return RetriedDocument(run_id=new.run_id, original_run_id=run.run_id, mode=said.mode)


async def fork(asked: Asked[Nothing, Fork]) -> ForkedDocument:
    """Start a new run at a step of this one."""
    said, run = asked.body, asked.run
    new = await run.fork_json(said.from_step, bytes(said.input), latest=said.latest, by=said.by)
    return ForkedDocument(run_id=new.run_id, forked_from=run.run_id, from_step=said.from_step)
