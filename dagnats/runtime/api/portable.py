"""Runs' histories: out of here, into here to be looked at, and folded once more."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse

from dagnats.client.document import Document
from dagnats.client.imported import guests, remove, take_in
from dagnats.client.installation import GuestDocument, TakenDocument, guest_document
from dagnats.client.portable import document_parts, exported_runs, read_document
from dagnats.client.rehearsal import RehearsalDocument, rehearsal_document, rehearse
from dagnats.model.check import load_definition
from dagnats.model.json import compact
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import JSON, Asked, Nothing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.client.portable import PortableRun


class Kin(Order):
    """Whether the runs that it has started go along, and those that these have started."""

    children: bool = False


class Rehearse(Order):
    """By which definition, if not by the run's own."""

    definition: dict[str, Any] | None = None


class RemovedDocument(Document, frozen=True, kw_only=True):
    """An imported run that was forgotten."""

    run_id: str
    removed: bool


async def export(asked: Asked[Kin, None]) -> Response:
    """Give a run's whole history as one document, with its definition and its large payloads."""
    ports = asked.run.ports
    runs = exported_runs(ports, asked.run.run_id, children=asked.query.children)
    first = await anext(runs)  # before there is an answer: it may not be there
    return StreamingResponse(document_parts(ports, _seen(asked, first, runs)), media_type=JSON)


async def _seen(
    asked: Asked[Kin, None], first: PortableRun, others: AsyncGenerator[PortableRun]
) -> AsyncGenerator[PortableRun]:
    yield first
    async with aclosing(others):
        async for run in others:
            if asked.grant.sees(run.workflow):
                yield run


async def rehearsal(asked: Asked[Nothing, Rehearse]) -> RehearsalDocument:
    """Fold a run's history once more, and say where it comes out otherwise; by another definition, if there is one."""
    said = asked.body.definition
    definition = load_definition(compact(said)) if said is not None else None
    return rehearsal_document(await rehearse(asked.run.ports, asked.run.run_id, definition))


async def take(asked: Asked[Nothing, bytes]) -> list[TakenDocument]:
    """Take in runs of another installation, to look at; the body is what an export has given."""
    document = await asyncio.to_thread(read_document, asked.body, name="the body")
    taken = await take_in(asked.client.connection.ports, document)
    return [TakenDocument(**each._asdict()) for each in taken]


async def imports(asked: Asked[Nothing, None]) -> list[GuestDocument]:
    """List the runs that were imported."""
    return list(map(guest_document, await guests(asked.client.connection.ports)))


async def forget(asked: Asked[Nothing, None]) -> RemovedDocument:
    """Forget an imported run."""
    await remove(asked.client.connection.ports, asked.path["imported"])
    return RemovedDocument(run_id=asked.path["imported"], removed=True)
