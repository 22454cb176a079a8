"""What running steps say of themselves, in bucket pulses under `<run>.<step>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.read import forget, messages_of, subject_of
from dagnats.runtime.jetstream.resources import PULSES
from dagnats.runtime.jetstream.store import entry_of

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

_STREAM = f"KV_{PULSES}"


class JetStreamPulses:
    """`ports.Pulses`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, run_id: str, step_id: str, data: bytes) -> None:
        await self._link.publish(f"$KV.{PULSES}.{run_id}.{step_id}", data)

    async def newest(self, run_id: str, step_id: str) -> bytes | None:
        message = await entry_of(self._link, PULSES, f"{run_id}.{step_id}")
        return message.data if message is not None else None

    async def of(self, run_id: str) -> dict[str, bytes]:
        begin = f"$KV.{PULSES}.{run_id}."
        messages = await messages_of(self._link, _STREAM, f"{begin}>")
        return {
            subject_of(message)[len(begin) :]: message.data
            for message in messages
            if not message.header(b"KV-Operation")
        }

    async def remove(self, run_id: str) -> None:
        await forget(self._link, _STREAM, f"$KV.{PULSES}.{run_id}.>")
