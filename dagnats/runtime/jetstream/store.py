"""Snapshots, definitions and dead letters: single messages, read directly, written with their ids.

Buckets are read and written as the streams they are: nats-py's key-value layer misreads expired keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.identifier import is_run_id
from dagnats.runtime.jetstream.link import EXPECTED_LAST, MSG_ID
from dagnats.runtime.jetstream.resources import DEFINITIONS, ENGINE, RUNS
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from dagnats.runtime.jetstream.link import Link


async def get(link: Link, bucket: str, key: str) -> Stored | None:
    """The newest value of a key, or None when there is none or it was deleted."""
    message = await link.request(f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}")
    if message.status == "404" or message.header(b"KV-Operation") or message.header(b"Nats-Marker-Reason"):
        return None
    return Stored(int(message.header(b"Nats-Sequence")), message.data)


class JetStreamSnapshots:
    """`ports.Snapshots`, in bucket workflow_runs under `run.<run>`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def load(self, run_id: str) -> bytes | None:
        stored = await get(self._link, RUNS, f"run.{run_id}")
        return stored.data if stored is not None else None

    def save(self, run_id: str, data: bytes) -> Awaitable[object]:
        return self._link.publish_surely(f"$KV.{RUNS}.run.{run_id}", data, {})

    async def count(self) -> int:
        state = (await self._link.api(f"STREAM.INFO.KV_{RUNS}"))["state"]
        subjects: int = state.get("num_subjects", 0)
        return subjects


class JetStreamDefinitions:
    """`ports.Definitions`, in bucket workflow_defs under `<name>` and `<name>.<hash>`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def newest(self, name: str) -> Stored | None:
        return await get(self._link, DEFINITIONS, name)

    async def version(self, name: str, identity: str) -> bytes | None:
        if not (is_run_id(name) and is_run_id(identity)):  # what cannot be a key has no value
            return None
        stored = await get(self._link, DEFINITIONS, f"{name}.{identity}")
        return stored.data if stored is not None else None

    async def add_version(self, name: str, identity: str, data: bytes) -> None:
        if await self.version(name, identity) is None:
            await self._link.publish(f"$KV.{DEFINITIONS}.{name}.{identity}", data)

    async def set_newest(self, name: str, data: bytes, *, revision: int) -> None:
        await self._link.publish(f"$KV.{DEFINITIONS}.{name}", data, {EXPECTED_LAST: str(revision)})

    async def names(self) -> list[str]:
        prefix = f"$KV.{DEFINITIONS}."
        found: list[str] = []
        offset = 0
        while True:
            body = {"subjects_filter": f"{prefix}*", "offset": offset}
            info = await self._link.api(f"STREAM.INFO.KV_{DEFINITIONS}", body)
            page: dict[str, int] = info["state"].get("subjects") or {}
            offset += len(page)
            found += [subject[len(prefix) :] for subject in page]
            if not page or offset >= info.get("total", 0):
                return sorted(found)


class JetStreamLease:
    """`ports.Lease`, on `engine.lease`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def read(self) -> Stored | None:
        message = await self._link.request(f"$JS.API.DIRECT.GET.{ENGINE}.engine.lease")
        return None if message.status else Stored(int(message.header(b"Nats-Sequence")), message.data)

    async def write(self, data: bytes, *, revision: int) -> int:
        return (await self._link.publish("engine.lease", data, {EXPECTED_LAST: str(revision)})).seq


class JetStreamDeadLetters:
    """`ports.DeadLetters`, on `dead.>`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put(self, subject: str, data: bytes, *, headers: Mapping[str, str], id: str) -> Awaitable[object]:
        safe = {key: _one_line(value) for key, value in headers.items()}
        return self._link.publish_surely(f"dead.{subject}", data, {**safe, MSG_ID: id})


def _one_line(text: str, most: int = 1_000) -> str:
    """Header values are one line of Latin text to nats-py and NATS; errors may be anything."""
    line = " ".join(text.split())
    return line.encode("ascii", "replace").decode()[:most]
