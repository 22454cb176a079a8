"""The installation as JSON documents: how it does, what is wrong with it, what is waited for, who may, and who did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dagnats.client.diagnosis import Grade
from dagnats.client.document import Document, instant
from dagnats.model.access import Scope
from dagnats.model.instant import rfc3339
from dagnats.model.run import RunStatus
from dagnats.runtime.room import FULL

if TYPE_CHECKING:
    from dagnats.client.ailment import Ailment
    from dagnats.client.audit import Deed
    from dagnats.client.clean import Cleaned
    from dagnats.client.health import Health
    from dagnats.client.imported import Guest
    from dagnats.client.waitpoint import Waitpoint
    from dagnats.model.token import AccessToken
    from dagnats.runtime.ports import Holding, QueueState


# -- the whole ---------------------------------------------------------------------------------------------------


class QueueHealthDocument(Document, frozen=True, kw_only=True):
    """What is in a queue."""

    task: str
    pending: int
    in_flight: int
    redelivered: int
    ack_wait_ms: int | None


class LettersDocument(Document, frozen=True, kw_only=True):
    """The dead letters at a glance."""

    total: int
    oldest: str | None
    newest: str | None
    by_task: dict[str, int]


class EngineDocument(Document, frozen=True, kw_only=True):
    """How far the engine is."""

    leads: bool
    history_lag_messages: int
    history_lag_seconds: float
    scheduled_timers: int


class StoreDocument(Document, frozen=True, kw_only=True):
    """How full the store is, and whose limit it is: the log's (`log`), the NATS account's or the server's.

    Where it is `full`, nothing new begins.
    """

    used_bytes: int
    limit_bytes: int | None
    limited_by: Literal["log", "account", "server"] | None
    full: bool


def store_document(holding: Holding) -> StoreDocument:
    """How full the store is."""
    return StoreDocument(
        used_bytes=holding.used,
        limit_bytes=holding.limit or None,
        limited_by=holding.cap or None,
        full=holding.share >= FULL,
    )


class HealthDocument(Document, frozen=True, kw_only=True):
    """How the whole does."""

    queues: tuple[QueueHealthDocument, ...]
    dlq: LettersDocument
    engine: EngineDocument


def health_document(health: Health) -> HealthDocument:
    """How the whole does."""
    letters = health.letters
    return HealthDocument(
        queues=tuple(map(_queue_health_document, health.queues)),
        dlq=LettersDocument(
            total=letters.total,
            oldest=instant(letters.oldest_ns),
            newest=instant(letters.newest_ns),
            by_task=dict(letters.by_task),
        ),
        engine=EngineDocument(
            leads=health.engine.leads,
            history_lag_messages=health.engine.behind,
            history_lag_seconds=round(health.lag_s, 3),
            scheduled_timers=health.timers,
        ),
    )


def _queue_health_document(queue: QueueState) -> QueueHealthDocument:
    return QueueHealthDocument(
        task=queue.name,
        pending=queue.waiting,
        in_flight=queue.in_flight,
        redelivered=queue.redelivered,
        ack_wait_ms=round(queue.ack_wait_s * 1000) or None,
    )


class AilmentDocument(Document, frozen=True, kw_only=True):
    """Something that is not as it should be. `fixed` when that was put right just now."""

    kind: str
    grade: Grade
    subject: str | None
    seen: str
    why: str
    cure: str | None
    fixed: bool


def ailment_document(found: Ailment, *, fixed: bool = False) -> AilmentDocument:
    """Something that is not as it should be."""
    return AilmentDocument(
        kind=found.kind,
        grade=found.grade,
        subject=found.subject or None,
        seen=found.seen,
        why=found.why,
        cure=found.cure or None,
        fixed=fixed,
    )


# -- waitpoints --------------------------------------------------------------------------------------------------


class WaitpointDocument(Document, frozen=True, kw_only=True):
    """What a run waits for that somebody outside has to bring. What its members mean: see `Waitpoint`."""

    run_id: str
    step_id: str
    workflow_id: str
    kind: str
    event: str | None
    match: str | None
    since: str
    until: str | None
    resumed_by: str


def waitpoint_document(at: Waitpoint) -> WaitpointDocument:
    """What a run waits for."""
    return WaitpointDocument(
        run_id=at.run_id,
        step_id=at.step_id,
        workflow_id=at.workflow,
        kind=at.kind,
        event=at.event or None,
        match=at.match or None,
        since=rfc3339(at.since_ns),
        until=instant(at.until_ns),
        resumed_by=at.resumed_by,
    )


# -- what is over, and what comes from elsewhere ------------------------------------------------------------------


class CleanablePlaceDocument(Document, frozen=True, kw_only=True):
    """What would leave a stream or a bucket."""

    name: str
    kind: Literal["stream", "kv"]
    messages: int
    bytes: int


class CleanedDocument(Document, frozen=True, kw_only=True):
    """How much was removed, or would be: `running` of the `runs` went on. What is `left` goes when the same is asked
    again; with `before`, nothing else does. `entries` says where it all lies, when that was asked for."""

    runs: int
    running: int
    dead_letters: int
    workflows: int
    telemetry: int
    left: tuple[str, ...]
    before: str
    entries: tuple[CleanablePlaceDocument, ...]
    dry_run: bool


def cleaned_document(done: Cleaned, *, dry_run: bool) -> CleanedDocument:
    """How much was removed, or would be."""
    return CleanedDocument(
        runs=done.runs,
        running=done.live,
        dead_letters=done.letters,
        workflows=done.workflows,
        telemetry=done.telemetry,
        left=tuple(done.left),
        before=done.before,
        entries=tuple(CleanablePlaceDocument(**each._asdict()) for each in done.places),
        dry_run=dry_run,
    )


class GuestDocument(Document, frozen=True, kw_only=True):
    """A run that was imported."""

    run_id: str
    workflow_id: str
    status: RunStatus


def guest_document(guest: Guest) -> GuestDocument:
    """A run that was imported."""
    return GuestDocument(run_id=guest.run_id, workflow_id=guest.workflow, status=guest.status)


class TakenDocument(Document, frozen=True, kw_only=True):
    """A run of a document, and what became of it: `unchanged` when it was imported already."""

    run_id: str
    workflow: str
    events: int
    action: Literal["imported", "unchanged"]


# -- who may, and who did ----------------------------------------------------------------------------------------


class TokenDocument(Document, frozen=True, kw_only=True):
    """What is known of a token; of the token itself, nothing is."""

    id: str
    name: str
    scope: Scope
    workflows: tuple[str, ...]
    created_at: str
    expires_at: str | None
    expired: bool
    by: str


def token_document(token: AccessToken, now_ns: int) -> TokenDocument:
    """What is known of a token."""
    return TokenDocument(
        id=token.id,
        name=token.name,
        scope=token.scope,
        workflows=token.workflows,
        created_at=rfc3339(token.created_ns),
        expires_at=instant(token.expires_ns),
        expired=token.expired(now_ns),
        by=token.by,
    )


class MadeDocument(TokenDocument, frozen=True, kw_only=True):
    """A new token, and the token itself. Nobody is told it again."""

    token: str


class RevokedDocument(TokenDocument, frozen=True, kw_only=True):
    """A token that lets nobody in any more."""

    revoked: bool


class DeedDocument(Document, frozen=True, kw_only=True):
    """Something that somebody did, or was not let do. What its members mean: see `Deed`."""

    time: str
    by: str
    action: str
    target: str
    outcome: str
    run_id: str
    request_id: str
    address: str
    skipped: int


def deed_document(deed: Deed) -> DeedDocument:
    """Something that somebody did."""
    return DeedDocument(
        time=rfc3339(deed.time_ns),
        by=deed.by,
        action=deed.action,
        target=deed.target,
        outcome=deed.outcome,
        run_id=deed.run_id,
        request_id=deed.request_id,
        address=deed.address,
        skipped=deed.skipped,
    )
