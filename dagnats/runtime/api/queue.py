"""`/v1/queues`: the queues of task types; look at them, hold them, limit them, compare all with the log."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from dagnats.client.document import Document
from dagnats.client.document.finding import DifferenceDocument, difference_document
from dagnats.client.document.queue import QueueDocument, queue_document
from dagnats.errors import ConflictError, NotFoundError
from dagnats.model.identifier import TASK_TYPE, TASK_TYPE_LENGTH
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing
from dagnats.runtime.api.order import Note

_TYPE = re.compile(TASK_TYPE)

Count = Annotated[int, Field(ge=0, le=2**53)]


class TaskLimit(Note):
    """How many tasks may be in flight, and how many may start in a `period`; 0 for what the definitions say."""

    concurrency: Count | None = None
    rate: Count | None = None
    period: str = "1s"


class Repair(Order):
    """Whether to put right what differs; without it, only to say what does."""

    dry_run: bool = True


class RepairedDocument(Document, frozen=True, kw_only=True):
    """What differed from the log: how many were put right, and those that are left."""

    runs: int
    fixed: int
    left: tuple[DifferenceDocument, ...]
    dry_run: bool


class VerifiedDocument(Document, frozen=True, kw_only=True):
    """Whether everything is as the log says."""

    verified: bool
    runs: int
    events: int
    moving: int
    differences: tuple[DifferenceDocument, ...]


class PausedDocument(Document, frozen=True, kw_only=True):
    """Whether a queue hands out tasks."""

    queue: str
    paused: bool


async def all_queues(asked: Asked[Nothing, None]) -> list[QueueDocument]:
    """List every queue that has tasks, had workers, or is named by a registered workflow."""
    return [queue_document(view) for view in await asked.client.queues()]


async def show(asked: Asked[Nothing, None]) -> QueueDocument:
    """Show one queue: what is in it, what limits it, which steps fill it."""
    return queue_document(await asked.client.queue(asked.path["queue"]))


async def pause(asked: Asked[Nothing, Note]) -> PausedDocument:
    """Hand out no task of a type until it is resumed."""
    name = asked.path["queue"]
    await asked.client.pause_queue(name, asked.body.reason, by=asked.body.by)
    return PausedDocument(queue=name, paused=True)


async def resume(asked: Asked[Nothing, Note]) -> PausedDocument:
    """Let a paused queue go on."""
    name = asked.path["queue"]
    if _TYPE.fullmatch(name) is None or len(name) > TASK_TYPE_LENGTH:
        raise NotFoundError("queue", name)
    try:
        await asked.client.resume_queue(name, by=asked.body.by)
    except ConflictError:
        await asked.client.queue(name)  # one that nobody knows is not found, unless it is still paused
        raise
    return PausedDocument(queue=name, paused=False)


async def limit(asked: Asked[Nothing, TaskLimit]) -> QueueDocument:
    """Limit the tasks of a type over all workflows."""
    name, said = asked.path["queue"], asked.body
    await asked.client.limit_queue(
        name, concurrency=said.concurrency, rate=said.rate, period=said.period, by=said.by, reason=said.reason
    )
    return queue_document(await asked.client.queue(name))


async def repair(asked: Asked[Nothing, Repair]) -> RepairedDocument:
    """Compare everything with the log, and put right what differs unless it is a dry run, as it is by default."""
    found = await asked.client.verify()
    left = list(found.differences)
    if not asked.body.dry_run:
        mendable = [each for each in left if each.mendable]
        left = [*await asked.client.repair(mendable), *(each for each in left if not each.mendable)]
    fixed = len(found.differences) - len(left)
    documents = tuple(map(difference_document, left))
    return RepairedDocument(runs=found.runs, fixed=fixed, left=documents, dry_run=asked.body.dry_run)


async def verify(asked: Asked[Nothing, None]) -> VerifiedDocument:
    """Fold every run from its first event, and compare with what was made of it."""
    found = await asked.client.verify()
    return VerifiedDocument(
        verified=not found.differences,
        runs=found.runs,
        events=found.events,
        moving=found.moving,
        differences=tuple(map(difference_document, found.differences)),
    )
