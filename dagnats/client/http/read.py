"""Answers of a server, read; and the installation's documents read back, as what they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from dagnats.client.ailment import Ailment
from dagnats.client.audit import Deed
from dagnats.client.diagnosis import EngineState
from dagnats.client.document import nanos
from dagnats.client.health import Health, Letters
from dagnats.client.moment import instant_of
from dagnats.client.waitpoint import Waitpoint
from dagnats.errors import DecodeError
from dagnats.model.instant import rfc3339
from dagnats.model.token import AccessToken
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.ports import Holding, QueueState

if TYPE_CHECKING:
    import httpx

    from dagnats.client.ailment import Kind as AilmentKind
    from dagnats.client.installation import (
        AilmentDocument,
        DeedDocument,
        HealthDocument,
        StoreDocument,
        TokenDocument,
        WaitpointDocument,
    )
    from dagnats.client.moment import Moment

T = TypeVar("T")


def read(response: httpx.Response, type: type[T]) -> T:
    """The document in an answer. Raises DecodeError: it is none of these."""
    return decoded(response.content, type)


def decoded(data: bytes, type: type[T]) -> T:
    """A document. Raises DecodeError."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(
            f"the server's answer is not what this version of DagNats knows: {error}", data=data
        ) from None


def waitpoint(at: WaitpointDocument) -> Waitpoint:
    """What a run waits for."""
    return Waitpoint(
        run_id=at.run_id,
        workflow=at.workflow_id,
        step_id=at.step_id,
        kind="approval" if at.kind == "approval" else "event",
        since_ns=nanos(at.since),
        until_ns=nanos(at.until),
        event=at.event or "",
        match=at.match or "",
    )


def ailment(found: AilmentDocument) -> Ailment:
    """Something that is not as it should be."""
    return Ailment(
        kind=cast("AilmentKind", found.kind),
        grade=found.grade,
        seen=found.seen,
        why=found.why,
        cure=found.cure or "",
        subject=found.subject or "",
    )


def access_token(told: TokenDocument) -> AccessToken:
    """A token."""
    return AccessToken(
        id=told.id,
        digest="",
        scope=told.scope,
        name=told.name,
        workflows=told.workflows,
        created_ns=nanos(told.created_at),
        expires_ns=nanos(told.expires_at),
        by=told.by,
    )


def deed(told: DeedDocument) -> Deed:
    """Something that somebody did."""
    return Deed(
        time_ns=nanos(told.time),
        by=told.by,
        action=told.action,
        target=told.target,
        outcome=told.outcome,
        run_id=told.run_id,
        request_id=told.request_id,
        address=told.address,
        skipped=told.skipped,
    )


def health(told: HealthDocument) -> Health:
    """How the whole does."""
    queues = [
        QueueState(
            name=each.task,
            waiting=each.pending,
            in_flight=each.in_flight,
            redelivered=each.redelivered,
            ack_wait_s=(each.ack_wait_ms or 0) / 1_000,
            pulls=0,
            oldest_ns=0,
        )
        for each in told.queues
    ]
    letters = Letters(told.dlq.total, nanos(told.dlq.oldest), nanos(told.dlq.newest), told.dlq.by_task)
    engine = EngineState(leads=told.engine.leads, behind=told.engine.history_lag_messages)
    return Health(tuple(queues), letters, engine, told.engine.history_lag_seconds, told.engine.scheduled_timers)


def holding(told: StoreDocument) -> Holding:
    """How full the store is."""
    return Holding(told.used_bytes, told.limit_bytes or 0, told.limited_by or "")


def moment_text(moment: Moment) -> str:
    """A moment as the API takes it: a text is for the server, by its clock."""
    return moment if isinstance(moment, str) else rfc3339(instant_of(moment, now_ns=SystemClock().now_ns()))
