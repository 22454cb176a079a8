"""What the gates hold, in buckets for people. They are made when there is something to show: most servers need none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import RefusedError
from dagnats.runtime.jetstream.read import messages_of, subject_of
from dagnats.runtime.jetstream.resources import BOARDS, NAME_IN_USE, NOT_FOUND, bucket_config

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Shown


class JetStreamBoard:
    """`ports.Board`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._made: set[str] = set()

    async def all(self) -> Shown:
        found: Shown = {}
        self._made = {bucket for bucket in BOARDS if await self._is_there(bucket)}
        for bucket in self._made:
            prefix = f"$KV.{bucket}."
            for message in await messages_of(self._link, f"KV_{bucket}", f"{prefix}>"):
                found[bucket, subject_of(message)[len(prefix) :]] = message.data
        return found

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        if bucket not in self._made:
            await self._make(bucket)
        await self._link.publish(f"$KV.{bucket}.{key}", data)

    async def drop(self, bucket: str, key: str) -> None:
        # Purged, not marked as deleted: readers of any language then see nothing of it.
        await self._link.api(f"STREAM.PURGE.KV_{bucket}", {"filter": f"$KV.{bucket}.{key}"})

    async def _is_there(self, bucket: str) -> bool:
        try:
            await self._link.api(f"STREAM.INFO.KV_{bucket}")
        except RefusedError as error:
            if error.code != NOT_FOUND:
                raise
            return False
        return True

    async def _make(self, bucket: str) -> None:
        try:
            await self._link.api(f"STREAM.CREATE.KV_{bucket}", bucket_config(bucket, BOARDS[bucket]))
        except RefusedError as error:
            if error.code != NAME_IN_USE:  # whatever it is, and whoever made it: nothing depends on it
                raise
        self._made.add(bucket)
