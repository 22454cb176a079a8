"""`/v1/events`, `/v1/workers`, `/v1/status`: what concerns no run in particular."""

from __future__ import annotations

from dagnats.client.document import Document
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing


class EventId(Order):
    """A name for the event: the same again within two minutes is one event."""

    id: str = ""


class PublishedDocument(Document, frozen=True, kw_only=True):
    """An event that was published, and its place."""

    type: str
    seq: int
    published: bool


class StatusDocument(Document, frozen=True, kw_only=True):
    """The server at a glance."""

    nats: str
    jetstream: str
    stream_count: int
    runs: int
    active_runs: int


async def publish(asked: Asked[EventId, bytes]) -> PublishedDocument:
    """Publish an event, for every run that waits for it; the body is the event's."""
    name = asked.path["type"]
    seq = await asked.client.publish_event_json(name, asked.body, id=asked.query.id)
    return PublishedDocument(type=name, seq=seq, published=True)


async def workers(asked: Asked[Nothing, None]) -> list[WorkerEntry]:
    """List the workers that there are."""
    return await asked.client.workers()


async def status(asked: Asked[Nothing, None]) -> StatusDocument:
    """Show whether NATS and JetStream answer, and how many runs are active."""
    found = await asked.client.status()
    return StatusDocument(
        nats="connected",
        jetstream="available",
        stream_count=found.streams,
        runs=found.runs,
        active_runs=found.active_runs,
    )
