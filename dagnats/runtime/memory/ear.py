"""Hears that something was stored. What it was is always read: news may be lost on the way, the stream is not."""

from __future__ import annotations

import asyncio
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
        if self._link.dead:  # the server has seen that
            self._deaf()
        elif self._subject in ("", message.subject) and not self._news.is_set():
            self._link.deliver(message.subject, self._news.set)

    async def hear(self, most_s: float | None = None) -> None:
        """Return when there may be news since the last time, or after `most_s`."""
        limits = [limit for limit in (most_s, self._link.watchdog_s) if limit is not None]
        await wait(self._news, min(limits, default=None))


async def wait(news: asyncio.Event, most_s: float | None) -> None:
    """Return when there is news, or after `most_s`; then it is old."""
    alarm = asyncio.get_running_loop().call_later(most_s, news.set) if most_s is not None else None
    try:
        await news.wait()
    finally:
        if alarm is not None:
            alarm.cancel()
    news.clear()
