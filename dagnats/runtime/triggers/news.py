"""What there is news of, gathered until somebody has time for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

EVERYTHING = ""


class News:
    """Keys that somebody has to look at; at first, everything."""

    def __init__(self) -> None:
        self._keys: set[str] = {EVERYTHING}
        self._there = asyncio.Event()
        self._there.set()

    def hear(self, key: str) -> None:
        """There is news of a key; `EVERYTHING` when it may be of any."""
        self._keys.add(key)
        self._there.set()

    async def wait(self, most_s: float | None) -> set[str]:
        """What there is news of; everything after `most_s` without any."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._there.wait()
        self._there.clear()
        keys, self._keys = self._keys or {EVERYTHING}, set[str]()
        return keys
