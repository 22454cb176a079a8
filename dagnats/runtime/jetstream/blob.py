"""Large payloads on BLOBS, in pieces: `blob.<run>.<sha256>.<number>`.

A subject has one message, and what it is follows from its name: to store a blob again, or half of it, changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.errors import RefusedError
from dagnats.model.instant import parse_rfc3339
from dagnats.runtime.jetstream.read import forget, last_of, subjects_of
from dagnats.runtime.jetstream.resources import BLOBS

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

PIECE_BYTES = 512 * 1024
_MARGIN = 1024  # for what a message has besides its data
_NONE = 10037
_AT_ONCE = 8  # pieces under way: others use the connection too, and must be answered in time


class JetStreamBlobs:
    """`ports.Blobs`.

    Args:
        stream: Where they lie.
        root: The first word of their subjects.
    """

    def __init__(self, link: Link, *, stream: str = BLOBS, root: str = "blob") -> None:
        self._link = link
        self._stream = stream
        self._root = root

    async def put(self, run_id: str, sha256: str, data: bytes) -> None:
        most = min(PIECE_BYTES, self._link.max_payload_bytes - _MARGIN)
        pieces = [data[at : at + most] for at in range(0, len(data), most)]
        subject = self._subject(run_id, sha256)
        for first in range(0, len(pieces), _AT_ONCE):
            numbered = enumerate(pieces[first : first + _AT_ONCE], first)
            stored = [self._link.publish_surely(f"{subject}.{number}", piece, {}) for number, piece in numbered]
            await asyncio.gather(*stored)

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        subject = self._subject(run_id, sha256)
        first = await last_of(self._link, self._stream, f"{subject}.0")
        if first is None or not first.data:
            return None
        pieces = [first.data]
        count = -(-size // len(first.data))
        for start in range(1, count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, count))
            found = await asyncio.gather(
                *(last_of(self._link, self._stream, f"{subject}.{number}") for number in numbers)
            )
            pieces += [message.data for message in found if message is not None]
            if None in found:
                return None
        return b"".join(pieces)

    async def remove(self, run_id: str) -> None:
        await forget(self._link, self._stream, f"{self._root}.{run_id}.>")

    async def run_ids(self) -> list[str]:
        subjects = await subjects_of(self._link, self._stream, f"{self._root}.*.*.0")
        return sorted({subject.split(".")[1] for subject in subjects})

    async def newest_ns(self, run_id: str) -> int:
        request = {"last_by_subj": f"{self._root}.{run_id}.>"}
        try:
            found = await self._link.api(f"STREAM.MSG.GET.{self._stream}", request)
        except RefusedError as error:
            if error.code == _NONE:
                return 0
            raise
        return parse_rfc3339(found["message"]["time"])

    def _subject(self, run_id: str, sha256: str) -> str:
        return f"{self._root}.{run_id}.{sha256}"
