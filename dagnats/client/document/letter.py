"""A dead letter, as a document and back."""

from __future__ import annotations

import base64

from dagnats.client.document import Document, nanos
from dagnats.client.letter import DeadLetter
from dagnats.model.instant import rfc3339


class LetterDocument(Document, frozen=True, kw_only=True):
    """A dead letter. Its body is text, or in `body_base64` when it is none."""

    seq: int
    subject: str
    run_id: str
    step_id: str
    task: str
    error: str
    timestamp: str
    attempts: int
    consumer: str
    headers: dict[str, str]
    body: str | None
    body_base64: str | None


def letter_document(letter: DeadLetter) -> LetterDocument:
    """A dead letter as JSON."""
    try:
        body, coded = letter.body.decode(), None
    except UnicodeDecodeError:
        body, coded = None, base64.b64encode(letter.body).decode()
    return LetterDocument(
        seq=letter.seq,
        subject=letter.subject,
        run_id=letter.run_id,
        step_id=letter.step_id,
        task=letter.task,
        error=letter.error,
        timestamp=rfc3339(letter.time_ns),
        attempts=letter.attempts,
        consumer=letter.consumer,
        headers=dict(letter.headers),
        body=body,
        body_base64=coded,
    )


def letter_of(letter: LetterDocument) -> DeadLetter:
    """A dead letter from its JSON."""
    return DeadLetter(
        seq=letter.seq,
        subject=letter.subject,
        run_id=letter.run_id,
        step_id=letter.step_id,
        task=letter.task,
        error=letter.error,
        attempts=letter.attempts,
        consumer=letter.consumer,
        time_ns=nanos(letter.timestamp),
        headers=letter.headers,
        body=letter.body.encode() if letter.body is not None else base64.b64decode(letter.body_base64 or ""),
    )
