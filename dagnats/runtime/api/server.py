"""`/v1/events`, `/v1/workers`, `/v1/status`, `/v1/doctor`, `/v1/clean`: what concerns no run in particular."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from pydantic import Field
from starlette.responses import Response

from dagnats.client.checkup import checkup, mended
from dagnats.client.clean import DEFAULT, Category
from dagnats.client.document import Document
from dagnats.client.health import health
from dagnats.client.installation import (
    AilmentDocument,
    CleanedDocument,
    EngineDocument,
    LettersDocument,
    QueueHealthDocument,
    StoreDocument,
    ailment_document,
    cleaned_document,
    health_document,
    store_document,
)
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import JSON, Asked, Nothing
from dagnats.runtime.loaded import Loaded

if TYPE_CHECKING:
    from dagnats.client.ailment import Ailment
    from dagnats.runtime.ports import Peer


class EventId(Order):
    """A name for the event: the same again within two minutes is one event."""

    id: str = ""


class PublishedDocument(Document, frozen=True, kw_only=True):
    """An event that was published, and its place."""

    type: str
    seq: int
    published: bool


class Detail(Order):
    """Whether queues, dead letters and the engine are looked at, too."""

    detail: bool = False


class StatusDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """The server at a glance."""

    nats: str
    jetstream: str
    stream_count: int
    runs: int
    active_runs: int
    namespace: str = ""
    store: StoreDocument | None = None
    configuration: Loaded | None = None
    queues: tuple[QueueHealthDocument, ...] | None = None
    dlq: LettersDocument | None = None
    engine: EngineDocument | None = None


class PeerDocument(Document, frozen=True, kw_only=True):
    """One of the servers that keep the log. What its members mean: see `Peer`."""

    name: str
    leads: bool
    current: bool
    online: bool
    lag: int


class ClusterDocument(Document, frozen=True, kw_only=True):
    """The servers that keep the log: `ok`, `degraded` when one is missing or behind, `lost` when nothing is taken."""

    status: str
    clustered: bool
    peers: tuple[PeerDocument, ...]


class Mend(Order):
    """Who has what is wrong put right."""

    by: str = ""


class CheckedDocument(Document, frozen=True, kw_only=True):
    """Whether somebody has to do something, and what is not as it should be."""

    healthy: bool
    findings: tuple[AilmentDocument, ...]


class Clean(Order):
    """What is removed: ended runs and dead letters, unless `types` says something else; without `dry_run`.

    Only what came before `older_than`, an age, or `before`, an instant. `measured` asks how much it is, too.
    """

    types: list[Category] = Field(default=[*DEFAULT])
    older_than: str = ""
    before: str | None = None
    measured: bool = False
    include_running: bool = False
    dry_run: bool = True
    by: str = ""


async def publish(asked: Asked[EventId, bytes]) -> PublishedDocument:
    """Publish an event, for every run that waits for it; the body is the event's."""
    name = asked.path["type"]
    seq = await asked.client.publish_event_json(name, asked.body, id=asked.query.id)
    return PublishedDocument(type=name, seq=seq, published=True)


async def workers(asked: Asked[Nothing, None]) -> list[WorkerEntry]:
    """List the workers that there are."""
    return await asked.client.workers()


async def status(asked: Asked[Detail, None]) -> StatusDocument:
    """Show whether NATS and JetStream answer, and how many runs are active."""
    found = await asked.client.status()
    detail = health_document(await health(asked.client)) if asked.query.detail else None
    return StatusDocument(
        nats="connected",
        jetstream="available",
        stream_count=found.streams,
        runs=found.runs,
        active_runs=found.active_runs,
        namespace=found.namespace,
        store=store_document(found.holding) if found.holding is not None else None,
        configuration=found.configuration,
        queues=detail.queues if detail is not None else None,
        dlq=detail.dlq if detail is not None else None,
        engine=detail.engine if detail is not None else None,
    )


async def cluster(asked: Asked[Nothing, None]) -> Response:
    """Show the servers that keep the log; 503 when there are too few of them."""
    found = await asked.client.connection.ports.server.peers()
    told = ClusterDocument(
        status=standing_of(found), clustered=bool(found), peers=tuple(PeerDocument(**each._asdict()) for each in found)
    )
    return Response(msgspec.json.encode(told), 503 if told.status == "lost" else 200, media_type=JSON)


def standing_of(peers: list[Peer]) -> str:
    """How the servers that keep the log do: more than half of them, and one that leads, take what is written."""
    online = sum(peer.online for peer in peers)
    if peers and (not any(peer.leads for peer in peers) or 2 * online <= len(peers)):
        return "lost"
    return "ok" if all(peer.online and peer.current for peer in peers) else "degraded"


async def doctor(asked: Asked[Nothing, None]) -> CheckedDocument:
    """Say what is wrong with the whole, and what to do."""
    return _checked(await checkup(asked.client), [])


async def mend(asked: Asked[Nothing, Mend]) -> CheckedDocument:
    """Say what is wrong with the whole, and put right what a command alone can."""
    found = await checkup(asked.client)
    wrong = [each for each in found if each.grade == "wrong"]
    return _checked(found, [each for each in wrong if await mended(asked.client, each, by=asked.body.by)])


def _checked(found: list[Ailment], fixed: list[Ailment]) -> CheckedDocument:
    return CheckedDocument(
        healthy=not any(each.grade == "wrong" and each not in fixed for each in found),
        findings=tuple(ailment_document(each, fixed=each in fixed) for each in found),
    )


async def clean(asked: Asked[Nothing, Clean]) -> CleanedDocument:
    """Remove what is over, unless it is a dry run, as it is by default."""
    said = asked.body
    done = await asked.client.clean(
        said.types,
        older_than=said.older_than,
        before=said.before,
        include_running=said.include_running,
        dry_run=said.dry_run,
        measured=said.measured,
        by=said.by,
    )
    return cleaned_document(done, dry_run=said.dry_run)
