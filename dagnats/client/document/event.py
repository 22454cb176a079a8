"""An event of a run, and a piece of what a step streams, as documents and back."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from dagnats.client.document import Document, nanos
from dagnats.client.view import EventView
from dagnats.model.instant import rfc3339
from dagnats.runtime.ports import Chunk


class EventDocument(Document, frozen=True, kw_only=True):
    """One event of a run's history."""

    seq: int
    type: str
    run_id: str
    step_id: str
    attempt: int
    timestamp: str
    data: Any
    trace_parent: str
    worker_id: str
    name: str = ""


def event_document(event: EventView) -> EventDocument:
    """An event as JSON."""
    return EventDocument(
        seq=event.seq,
        type=event.type,
        run_id=event.run_id,
        step_id=event.step_id,
        attempt=event.attempt,
        timestamp=rfc3339(event.time_ns),
        data=event.payload,
        trace_parent=event.trace_parent,
        worker_id=event.worker_id,
        name=event.name,
    )


def event_of(event: EventDocument) -> EventView:
    """An event from its JSON."""
    return EventView(
        seq=event.seq,
        time_ns=nanos(event.timestamp),
        type=event.type,
        run_id=event.run_id,
        step_id=event.step_id,
        attempt=event.attempt,
        payload=event.data,
        trace_parent=event.trace_parent,
        worker_id=event.worker_id,
        name=event.name,
    )


class ChunkDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of what a step streams: its text, or what is no text in base64."""

    offset: int
    attempt: int
    time: str
    text: str | None = None
    base64: str | None = None


def chunk_document(chunk: Chunk) -> ChunkDocument:
    """A chunk as JSON."""
    told = ChunkDocument(offset=chunk.offset, attempt=chunk.attempt, time=rfc3339(chunk.time_ns))
    try:
        return msgspec.structs.replace(told, text=chunk.data.decode())
    except UnicodeDecodeError:
        return msgspec.structs.replace(told, base64=base64.b64encode(chunk.data).decode())


def chunk_of(told: ChunkDocument) -> Chunk:
    """A chunk from its JSON."""
    data = told.text.encode() if told.text is not None else base64.b64decode(told.base64 or "")
    return Chunk(offset=told.offset, data=data, attempt=told.attempt, time_ns=nanos(told.time))
