"""One value that engines share, as the last message of a subject in ENGINE."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.publish import EXPECTED_LAST
from dagnats.runtime.jetstream.read import last_of, seq_of, time_ns_of
from dagnats.runtime.jetstream.resources import ENGINE
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link


class JetStreamCell:
    """`ports.Cell`."""

    def __init__(self, link: Link, subject: str) -> None:
        self._link = link
        self._subject = subject
        self._hint = asyncio.Event()
        self._listening = False

    async def read(self) -> Stored | None:
        self._listen()
        message = await last_of(self._link, ENGINE, self._subject)
        return Stored(seq_of(message), message.data, time_ns_of(message)) if message is not None else None

    async def write(self, data: bytes, *, revision: int) -> int:
        return (await self._link.publish(self._subject, data, {EXPECTED_LAST: str(revision)})).seq

    async def changed(self, most_s: float) -> None:
        self._listen()
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._hint.wait()
        self._hint.clear()

    def _listen(self) -> None:
        """Hear of writes, from the first read on: between a read and `changed` none is missed."""
        if not self._listening:
            self._listening = True
            self._link.subscribe(self._subject, lambda _: self._hint.set())
            self._link.on_up(self._hint.set)
