"""Hears that something was stored. What it was is always read: news may be lost on the way, the stream is not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.stream import Message, Stream


class Ear:
    """Listens to a stream, while it is entered.

    Args:
        subject: Only this one is of interest; "" for all.
    """

    def __init__(self, link: Link, stream: Stream, subject: str = "") -> None:
        self._link = link
        self._stream = stream
        self._subject = subject
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Begin to listen."""
        self._deaf = self._stream.listen(self._on_message)
        self._forget = self._link.on_lost(self._news.set)

    def close(self) -> None:
        """Listen no more."""
        self._deaf()
        self._forget()

    def _on_message(self, message: Message) -> None:
        if not self._link.dead and self._subject in ("", message.subject):
            self._link.deliver(message.subject, self._news.set)

    async def hear(self, most_s: float | None = None) -> None:
        """Return when there may be news since the last time, or after `most_s`."""
        limits = [limit for limit in (most_s, self._link.watchdog_s) if limit is not None]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(limits, default=None)):
                await self._news.wait()
        self._news.clear()
