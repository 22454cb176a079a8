"""Group commit: where every write waits for the disk, writes that wait together go there together.

With `sync: always` a message by itself costs a flush of the disk, about 0.2 ms; an atomic batch on a stream in files
costs 2.4 ms, however many messages it has. So batches pay from a dozen on, and nothing waits for one to fill.
"""

from __future__ import annotations

import functools
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError
from dagnats.runtime.jetstream.publish import Publication, batch_of
from dagnats.runtime.ports import Receipt

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.jetstream.policy import Policy

log = logging.getLogger("dagnats.nats")

FEW = 12
"""So many waiting messages are worth a batch."""

_MOST = 900  # the server takes 1,000
_MOST_BYTES = 4 * 1024 * 1024
_NO_HEADERS = b"NATS/1.0\r\n\r\n"


class GroupCommit:
    """The way into one stream. One commit is under way at a time; what comes meanwhile goes with the next.

    Args:
        refused_when_full: A full stream is a refusal, not something to wait for.
    """

    def __init__(self, link: Link, policy: Policy, *, refused_when_full: bool = False) -> None:
        self._refused_when_full = refused_when_full
        self._link = link
        self._policy = policy
        self._waiting: deque[Publication] = deque()
        self._busy = False
        self._unanswered = 0

    def publish(
        self, subject: str, data: bytes, headers: bytes, *, within_s: float | None = None
    ) -> asyncio.Future[Receipt]:
        """Store a message as `Link.publish_surely` does, with others where that is quicker."""
        publication = Publication(
            self._link, subject, data, headers, within_s, refused_when_full=self._refused_when_full
        )
        if self._policy.settings.sync == "interval" or self._link.refusal(subject, data, headers) is not None:
            return publication.send()
        self._waiting.append(publication)
        if not self._busy:
            self._busy = True
            self._link.loop.call_soon(self._commit)  # what is published in this turn goes together
        return publication.result

    def _commit(self) -> None:
        publications = self._next()
        if not publications:
            self._busy = False
        elif len(publications) < FEW:
            self._send_singly(publications)
        else:
            self._send_together(publications)

    def _next(self) -> list[Publication]:
        chosen: list[Publication] = []
        size = 0
        while self._waiting and len(chosen) < _MOST:
            size += len(self._waiting[0].data)
            if chosen and size > _MOST_BYTES:
                break
            chosen.append(self._waiting.popleft())
        return chosen

    def _send_singly(self, publications: Sequence[Publication]) -> None:
        # What nobody waits for any more is left out: an id that ran out of time must not be sent again.
        wanted = [publication for publication in publications if not publication.result.done()]
        self._unanswered = len(wanted)
        for publication in wanted:
            publication.on_told = self._told
            publication.send()
        if not wanted:
            self._finish()

    def _told(self) -> None:
        """A message was answered, or will be sent again: that is its own business, and holds up nobody."""
        self._unanswered -= 1
        if not self._unanswered:
            self._finish()

    def _finish(self) -> None:
        # Not at once: who waited for this commit first puts what follows from it.
        self._link.loop.call_soon(self._commit)

    def _send_together(self, publications: Sequence[Publication]) -> None:
        batch = secrets.token_hex(8)
        for number, publication in enumerate(publications, 1):
            headers = _in_batch(publication.headers, batch, number)
            if number < len(publications):
                self._link.send(publication.subject, publication.data, headers=headers)
            else:
                told = functools.partial(self._told_of_batch, publications)
                headers = headers[:-2] + b"Nats-Batch-Commit: 1\r\n\r\n"
                self._link.ask(publication.subject, publication.data, headers, told)
            publication.note_sent(self._link.loop.time())

    def _told_of_batch(self, publications: Sequence[Publication], answer: Message | DagnatsError) -> None:
        stored = answer if isinstance(answer, DagnatsError) else batch_of(answer)
        if isinstance(stored, range) and len(stored) == len(publications):
            for publication, seq in zip(publications, stored, strict=True):
                publication.settle(Receipt(seq, duplicate=False))
            self._finish()
        else:
            # One member that was there already, or too late, is enough; or nobody knows. Each by itself is answered
            # for itself, and what the batch did store is a duplicate.
            log.debug("%d messages go singly: %s", len(publications), stored)
            self._send_singly(publications)


def _in_batch(headers: bytes, batch: str, number: int) -> bytes:
    """A message's headers with its place in a batch."""
    return b"%bNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n\r\n" % (
        (headers or _NO_HEADERS)[:-2],
        batch.encode(),
        number,
    )
