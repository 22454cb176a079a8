"""`/v1/waitpoints`: what runs wait for that somebody outside has to bring."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from dagnats.client.answer import Answer
from dagnats.client.document import Document
from dagnats.client.installation import WaitpointDocument, waitpoint_document
from dagnats.client.waitpoint import Waitpoint, waitpoint, waitpoints
from dagnats.client.waitpoint import complete as go_on
from dagnats.errors import Problem
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing, Reply
from dagnats.runtime.api.order import Note, StepToldDocument
from dagnats.runtime.api.problem import invalid
from dagnats.runtime.waitpoint import completion_path

_MOST = 10_000


class Open(Order):
    """Which are meant: those of a workflow, of the newest `limit` runs that go on."""

    workflow: str = ""
    limit: Annotated[int, Field(ge=1, le=_MOST)] = 1_000


class Why(Order):
    """Why somebody does it."""

    reason: str = ""


class WaitpointTokenDocument(Document, frozen=True, kw_only=True):
    """A token of a wait. `path` is where whoever has it brings what is waited for."""

    run_id: str
    step_id: str
    token: str
    path: str


async def all_waitpoints(asked: Asked[Open, None]) -> list[WaitpointDocument]:
    """List every open wait of runs that go on, the oldest first."""
    said, grant = asked.query, asked.grant
    found = await waitpoints(asked.client, workflow=said.workflow, limit=said.limit, among=grant.workflows)
    return [waitpoint_document(each) for each in found if grant.sees(each.workflow)]


async def show(asked: Asked[Nothing, None]) -> WaitpointDocument:
    """Show one open wait."""
    return waitpoint_document(await _one(asked))


async def complete(asked: Asked[Why, bytes]) -> StepToldDocument:
    """Let a run go on by hand: with a yes to its approval, or with the event that it waits for; the body is that."""
    found = await _one(asked)
    await go_on(asked.client, found, _value(asked.body), by=asked.grant.actor, reason=asked.query.reason)
    return StepToldDocument(status="completed", run_id=found.run_id, step=found.step_id)


async def cancel(asked: Asked[Nothing, Note]) -> StepToldDocument:
    """Give up a wait: its step fails for good, and what the workflow says of that follows."""
    found, said = await _one(asked), asked.body
    reason = said.reason or "its wait was given up"
    await asked.client.handle(found.run_id).fail_step(found.step_id, reason, by=said.by)
    return StepToldDocument(status="cancelled", run_id=found.run_id, step=found.step_id)


async def token(asked: Asked[Nothing, None]) -> Reply:
    """Make the token that lets whoever has it bring what a step waits for, once; also before it begins to wait."""
    step = asked.path["step"]
    text = await asked.run.waitpoint_token(step)
    document = WaitpointTokenDocument(run_id=asked.run.run_id, step_id=step, token=text, path=completion_path(text))
    return Reply(document, {"Cache-Control": "no-store"})


async def bring(asked: Asked[Nothing, bytes]) -> StepToldDocument:
    """Bring what a wait is for, by its token: the event, or a yes to its approval; the body is that."""
    return await _answered(asked, "completed", accepts=True)


async def refuse(asked: Asked[Nothing, bytes]) -> StepToldDocument:
    """Answer an approval with no, by its token, which fails its step; the body says more."""
    return await _answered(asked, "rejected", accepts=False)


async def _answered(asked: Asked[Nothing, bytes], status: str, *, accepts: bool) -> StepToldDocument:
    place = asked.grant.held
    assert place is not None, "the guard has opened the token"
    body = asked.body if _value(asked.body) is not None else b""
    await asked.client.handle(place.run_id).answer(Answer(place, body, accepts))
    return StepToldDocument(status=status, run_id=place.run_id, step=place.step_id)


async def _one(asked: Asked[Any, Any]) -> Waitpoint:
    return await waitpoint(asked.client, asked.run.run_id, asked.path["step"])


def _value(data: bytes) -> object:
    """What a body says; nothing says null. Raises Fault 400."""
    try:
        return msgspec.json.decode(data) if data.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(Problem("$", "json", f"this is no JSON that can be read: {error}")) from None
