"""What steps have stored of their own, in bucket checkpoints under `<run>.<step>`: Go workers share it.

The value is the worker's own bytes, so that any worker reads what any other has stored. What we add is in headers.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.read import forget, last_of, seq_of
from dagnats.runtime.jetstream.resources import CHECKPOINTS
from dagnats.runtime.jetstream.store import entry_of
from dagnats.runtime.ports import Checkpoint

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

_STREAM = f"KV_{CHECKPOINTS}"
_ATTEMPT = "Dagnats-Attempt"
_NOTE = "Dagnats-Note"  # in base64: it may be anything


class JetStreamCheckpoints:
    """`ports.Checkpoints`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def load(self, run_id: str, step_id: str) -> Checkpoint | None:
        message = await entry_of(self._link, CHECKPOINTS, f"{run_id}.{step_id}")
        if message is None:
            return None
        attempt, note = int(message.header(_ATTEMPT.encode()) or 0), message.header(_NOTE.encode())
        return Checkpoint(seq_of(message), message.data, attempt, base64.b64decode(note))

    async def save(
        self, run_id: str, step_id: str, data: bytes, *, attempt: int, note: bytes = b"", revision: int
    ) -> int:
        headers = {_ATTEMPT: str(attempt), **({_NOTE: base64.b64encode(note).decode()} if note else {})}
        subject = f"$KV.{CHECKPOINTS}.{run_id}.{step_id}"
        try:
            return await self._put(subject, data, headers, revision)
        except ConflictError:
            marker = 0 if revision else await self._marker(subject)
            if not marker:
                raise
            return await self._put(subject, data, headers, marker)

    async def _put(self, subject: str, data: bytes, headers: dict[str, str], revision: int) -> int:
        return (await self._link.publish(subject, data, {**headers, EXPECTED_LAST: str(revision)})).seq

    async def _marker(self, subject: str) -> int:
        """The revision of what an operator who deleted the value by hand has left there; 0 when there is a value."""
        last = await last_of(self._link, _STREAM, subject)
        return seq_of(last) if last is not None and last.header(b"KV-Operation") else 0

    async def remove(self, run_id: str) -> None:
        await forget(self._link, _STREAM, f"$KV.{CHECKPOINTS}.{run_id}.>")
