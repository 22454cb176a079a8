"""Runs as they were, in bucket workflow_runs: `run.<run>`, and what does not fit one message in parts beside it.

A large snapshot's parts lie under `run.<run>.<identity>.<number>`, and its head says so. The identity is the
snapshot's own, and the head is written last, by compare-and-set: a writer that is late loses there, and has touched
nothing of anybody else's until then.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.errors import ConflictError, DagnatsError
from dagnats.runtime.jetstream.publish import EXPECTED_LAST, expected_block, header_block
from dagnats.runtime.jetstream.read import forget, messages_of, seq_of, subject_of, time_ns_of
from dagnats.runtime.jetstream.resources import RUNS
from dagnats.runtime.jetstream.store import entry_of
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from dagnats.runtime.jetstream.batch import GroupCommit
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Receipt

log = logging.getLogger("dagnats.nats")

PART_BYTES = 512 * 1024
_STREAM = f"KV_{RUNS}"
_PREFIX = f"$KV.{RUNS}."
_PARTS = "Dagnats-Parts"  # on a head: identity, number of parts, number of bytes
_MARGIN = 1024  # for what a message has besides its data
_LOOKS = 3  # at a head whose parts were replaced while we read them
_BROKEN = b""
_MOST_KNOWN = 100_000


class _Parts(NamedTuple):
    """What a head says of a large snapshot."""

    identity: str
    pieces: int
    size: int

    @classmethod
    def of(cls, head: Message) -> _Parts | None:
        words = head.header(_PARTS.encode()).decode().split()
        return cls(words[0], int(words[1]), int(words[2])) if words else None


class JetStreamSnapshots:
    """`ports.Snapshots`."""

    def __init__(self, link: Link, commit: GroupCommit) -> None:
        self._link = link
        self._commit = commit
        self._in_parts: set[str] = set()  # runs whose stored snapshot we know to have parts

    async def load(self, run_id: str) -> Stored | None:
        revision, time_ns = 0, 0
        for _ in range(_LOOKS):
            head = await entry_of(self._link, RUNS, _key(run_id))
            if head is None:
                return None
            revision, time_ns = seq_of(head), time_ns_of(head)
            parts = _Parts.of(head)
            data = head.data if parts is None else await self._joined(run_id, parts)
            if data is not None:
                return Stored(revision, data, time_ns)
        log.error("the snapshot of run %s is not whole", run_id)
        return Stored(revision, _BROKEN, time_ns)

    async def _joined(self, run_id: str, parts: _Parts) -> bytes | None:
        self._know(run_id)
        messages = await messages_of(self._link, _STREAM, f"{_PREFIX}{_key(run_id)}.{parts.identity}.*")
        by_number = {int(subject_of(message).rpartition(".")[2]): message.data for message in messages}
        data = b"".join(by_number.get(number, b"") for number in range(parts.pieces))
        return data if len(data) == parts.size else None

    def save(self, run_id: str, data: bytes, *, revision: int) -> Awaitable[int]:
        if len(data) > self._most_bytes():
            return asyncio.create_task(self._save_in_parts(run_id, data, revision))
        stored = self._put_head(run_id, data, expected_block(revision))
        if run_id in self._in_parts:
            return asyncio.create_task(self._then_tidy(run_id, stored))
        return _Revision(stored)

    def _most_bytes(self) -> int:
        return min(PART_BYTES, self._link.max_payload_bytes - _MARGIN)

    def _put_head(self, run_id: str, data: bytes, headers: bytes) -> asyncio.Future[Receipt]:
        return self._commit.publish(_PREFIX + _key(run_id), data, headers)

    async def _save_in_parts(self, run_id: str, data: bytes, revision: int) -> int:
        identity, most = secrets.token_hex(8), self._most_bytes()
        subject = f"{_PREFIX}{_key(run_id)}.{identity}"
        pieces = [data[at : at + most] for at in range(0, len(data), most)]
        stored = [self._link.publish_surely(f"{subject}.{n}", piece, {}) for n, piece in enumerate(pieces)]
        first = min([(await receipt).seq for receipt in stored])
        parts = _Parts(identity, len(pieces), len(data))
        headers = header_block({EXPECTED_LAST: str(revision), _PARTS: " ".join(map(str, parts))})
        try:
            head = (await self._put_head(run_id, b"", headers)).seq
        except ConflictError:
            head = await self._own_head(run_id, parts)
            if not head:
                await self._purge(f"{subject}.*")
                raise
        self._know(run_id)
        await self._purge(f"{_PREFIX}{_key(run_id)}.*.*", before=first)
        return head

    async def _own_head(self, run_id: str, parts: _Parts) -> int:
        """The revision of the stored head if it is of these very parts: a try whose answer was lost; else 0."""
        head = await persist(lambda: entry_of(self._link, RUNS, _key(run_id)))
        return seq_of(head) if head is not None and _Parts.of(head) == parts else 0

    async def _then_tidy(self, run_id: str, stored: asyncio.Future[Receipt]) -> int:
        revision = (await stored).seq
        if await self._purge(f"{_PREFIX}{_key(run_id)}.*.*", before=revision):
            self._in_parts.discard(run_id)
        return revision

    async def _purge(self, pattern: str, *, before: int = 0) -> bool:
        """Remove parts nobody needs any more; those that stay go with the next ones."""
        request = {"filter": pattern, **({"seq": before} if before else {})}
        with suppress(DagnatsError):
            await self._link.api(f"STREAM.PURGE.{_STREAM}", request)
            return True
        return False

    def _know(self, run_id: str) -> None:
        if len(self._in_parts) >= _MOST_KNOWN:
            self._in_parts.clear()  # parts of these may stay when they shrink: room, and no harm
        self._in_parts.add(run_id)

    async def purge(self) -> None:
        await self._link.api(f"STREAM.PURGE.{_STREAM}", {"filter": f"{_PREFIX}run.>"})
        self._in_parts.clear()

    async def remove(self, run_id: str) -> None:
        self._in_parts.discard(run_id)
        # Looked for without a head too: a writer that died before it wrote one has left its parts.
        await forget(self._link, _STREAM, f"{_PREFIX}{_key(run_id)}.>")
        await forget(self._link, _STREAM, f"{_PREFIX}{_key(run_id)}")


def _key(run_id: str) -> str:
    return f"run.{run_id}"


class _Revision:
    """The revision of what is being stored. May be awaited, or not."""

    __slots__ = ("_stored",)

    def __init__(self, stored: asyncio.Future[Receipt]) -> None:
        self._stored = stored

    def __await__(self) -> Generator[Any, None, int]:
        return (yield from self._stored).seq
