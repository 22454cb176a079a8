"""Records under keys, each bucket by itself: trigger types, triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.cell import JetStreamCell
from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.read import last_of, messages_of, seq_of, subject_of, time_ns_of
from dagnats.runtime.jetstream.store import entry_of
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.jetstream.link import Link


class JetStreamRecords:
    """`ports.Records`, in a bucket."""

    def __init__(self, link: Link, bucket: str) -> None:
        self._link = link
        self._bucket = bucket
        self._prefix = f"$KV.{bucket}."

    async def get(self, key: str) -> Stored | None:
        message = await entry_of(self._link, self._bucket, key)
        return Stored(seq_of(message), message.data, time_ns_of(message)) if message is not None else None

    async def put(self, key: str, data: bytes, *, revision: int) -> int:
        last = revision or await self._grave(key)
        return (await self._link.publish(self._prefix + key, data, {EXPECTED_LAST: str(last)})).seq

    async def _grave(self, key: str) -> int:
        """What a new key comes after: somebody may have removed it and not got to its last trace."""
        message = await last_of(self._link, f"KV_{self._bucket}", self._prefix + key)
        return seq_of(message) if message is not None and message.header(b"KV-Operation") else 0

    async def remove(self, key: str, *, revision: int) -> None:
        subject = self._prefix + key
        # A message first, then nothing: whoever listens hears of it, and only a write can depend on the revision.
        gone = await self._link.publish(subject, b"", {"KV-Operation": "DEL", EXPECTED_LAST: str(revision)})
        await self._link.api(f"STREAM.PURGE.KV_{self._bucket}", {"filter": subject, "seq": gone.seq + 1})

    async def all(self) -> dict[str, Stored]:
        messages = await messages_of(self._link, f"KV_{self._bucket}", f"{self._prefix}>")
        return {
            subject_of(message)[len(self._prefix) :]: Stored(seq_of(message), message.data, time_ns_of(message))
            for message in messages
            if not message.header(b"KV-Operation")
        }

    def listen(self, told: Callable[[str], None]) -> Callable[[], None]:
        subscription = self._link.subscribe(
            f"{self._prefix}>", lambda message: told(message.subject[len(self._prefix) :])
        )
        forget = self._link.on_up(lambda: told(""))

        def end() -> None:
            self._link.unsubscribe(subscription)
            forget()

        return end


class JetStreamTenures:
    """`ports.Tenures`, in stream ENGINE: a backup leaves them out."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def of(self, trigger_type: str) -> JetStreamCell:
        return JetStreamCell(self._link, f"engine.trigger_type.{trigger_type}")
