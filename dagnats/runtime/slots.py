"""How many things may run at a time, and whether there is room for more."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """How many tasks may run at a time, and whether there is room to pull more."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._line: deque[asyncio.Future[None]] = deque()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def free(self) -> int:
        return self._free

    async def room(self) -> int:
        """The number of free slots, at least one; waits for it."""
        while not self._free:  # another task type may have taken the slot that woke us
            await self._room.wait()
        return self._free

    def claim(self) -> asyncio.Future[None] | None:
        """Take a slot: None when there was one, else a place in the line for the next."""
        if self._free:
            self._free -= 1
            if not self._free:
                self._room.clear()
            return None
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        return place

    def leave(self) -> None:
        """Give up a place in the line that came to nothing."""

    def release(self) -> None:
        """Give a slot back; it goes to whoever is first in line."""
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
        self._room.set()


class Share(Slots):
    """The slots that one task type may have of those of all.

    Whoever takes no more than there is `room` for waits in the line of all, and never in one of its own.
    """

    def __init__(self, count: int, of: Slots) -> None:
        super().__init__(count)
        self._of = of

    @property
    def free(self) -> int:
        return min(self._free, self._of.free)

    async def room(self) -> int:
        own = await super().room()
        return min(own, await self._of.room())

    def claim(self) -> asyncio.Future[None] | None:
        own = super().claim()
        assert own is None, "more was taken than there was room for"
        return self._of.claim()

    def leave(self) -> None:
        super().release()

    def release(self) -> None:
        super().release()
        self._of.release()
