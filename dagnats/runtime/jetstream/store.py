"""Registered workflows, in bucket workflow_defs.

Buckets are read and written as the streams they are: nats-py's key-value layer misreads expired keys.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.model.identifier import is_run_id
from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.read import last_of, seq_of, subjects_of, time_ns_of
from dagnats.runtime.jetstream.resources import DEFINITIONS
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Clock

_PREFIX = f"$KV.{DEFINITIONS}."
_SINCE = "Dagnats-Registered"  # on a version that was renewed: when it was stored first, in nanoseconds since 1970

RENEWED_NS = 24 * 3600 * 1_000_000_000
"""A version that was renewed this lately is not renewed again."""


async def entry_of(link: Link, bucket: str, key: str) -> Message | None:
    """The newest message of a key, or None when there is none or it was deleted."""
    message = await last_of(link, f"KV_{bucket}", f"$KV.{bucket}.{key}")
    if message is None or message.header(b"KV-Operation") or message.header(b"Nats-Marker-Reason"):
        return None
    return message


class JetStreamDefinitions:
    """`ports.Definitions`, under `<name>` and `<name>.<hash>`."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    async def newest(self, name: str) -> Stored | None:
        message = await entry_of(self._link, DEFINITIONS, name)
        return _stored(message) if message is not None else None

    async def version(self, name: str, identity: str) -> bytes | None:
        if not (is_run_id(name) and is_run_id(identity)):  # what cannot be a key has no value
            return None
        message = await entry_of(self._link, DEFINITIONS, f"{name}.{identity}")
        return message.data if message is not None else None

    async def versions(self, name: str) -> dict[str, Stored]:
        if not is_run_id(name):
            return {}
        begin = f"{_PREFIX}{name}."
        subjects = await subjects_of(self._link, f"KV_{DEFINITIONS}", f"{begin}*")
        entries = await asyncio.gather(
            *(entry_of(self._link, DEFINITIONS, subject[len(_PREFIX) :]) for subject in subjects)
        )
        found = zip(subjects, entries, strict=True)
        return {subject[len(begin) :]: _version(entry) for subject, entry in found if entry is not None}

    async def add_version(self, name: str, identity: str, data: bytes) -> None:
        entry = await entry_of(self._link, DEFINITIONS, f"{name}.{identity}")
        if entry is None:
            await self._link.publish(f"{_PREFIX}{name}.{identity}", data)
        elif self._clock.now_ns() - time_ns_of(entry) > RENEWED_NS:
            since = {_SINCE: str(_version(entry).time_ns)}
            await self._link.publish(f"{_PREFIX}{name}.{identity}", entry.data, since)

    async def remove_version(self, name: str, identity: str, *, revision: int) -> None:
        # Not a purge: only a write can depend on there having been none since.
        gone = {"KV-Operation": "DEL", EXPECTED_LAST: str(revision)}
        await self._link.publish(f"{_PREFIX}{name}.{identity}", b"", gone)

    async def set_newest(self, name: str, data: bytes, *, revision: int) -> None:
        await self._link.publish(f"{_PREFIX}{name}", data, {EXPECTED_LAST: str(revision)})

    async def remove_newest(self, name: str, *, revision: int) -> None:
        gone = {"KV-Operation": "DEL", EXPECTED_LAST: str(revision)}
        receipt = await self._link.publish(f"{_PREFIX}{name}", b"", gone)
        # The mark goes as well, else the name would be listed; but nothing that somebody has put behind it.
        purge = {"filter": f"{_PREFIX}{name}", "seq": receipt.seq + 1}
        await self._link.api(f"STREAM.PURGE.KV_{DEFINITIONS}", purge)

    async def names(self) -> list[str]:
        subjects = await subjects_of(self._link, f"KV_{DEFINITIONS}", f"{_PREFIX}*")
        return sorted(subject[len(_PREFIX) :] for subject in subjects)


def _version(message: Message) -> Stored:
    used_ns = time_ns_of(message)
    return Stored(seq_of(message), message.data, int(message.header(_SINCE.encode()) or used_ns), used_ns)


def _stored(message: Message) -> Stored:
    return Stored(seq_of(message), message.data, time_ns_of(message))
