"""Measures queues that get long, and has the log say how much room they have: the gates let no more tasks through.

How long a queue is depends on its workers, and no fold can know it. So it is looked at, and what was seen is an event;
from there on the log alone decides, as everywhere. A queue that is half as long as it may be is measured once a
second, or more rarely where that takes long. While all queues together are shorter than that, one number is asked for,
and only when tasks were queued since.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from dagnats.errors import RefusedError, UnavailableError
from dagnats.model.instant import rfc3339
from dagnats.model.ops import QueueMeasured, encode_fact, queue_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.core.gate.fold import Gates
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.engine")

MOST_QUEUED = 100_000
"""How many tasks a queue takes before others wait in line: some hundred megabytes at a kilobyte or two each."""

FULL = 0.8
"""So much of what the server lets the queues take may be taken before every queue that has tasks takes no more."""

EVERY_S = 1.0
_AT_ONCE = 10_000  # of those who wait in line: each is let go by an event of its own
_SLOWLY = 10  # times as long as measuring took is waited before the next


class Gauge:
    """Measures while its engine leads.

    Args:
        gates: What there is room for now, as the log says.
        check: Raises LeaseLost when the engine may not lead any more.
        newest: The queue's sequence of the newest task.
        decided: The last event that is decided, and stored as such.
        most: How many tasks a queue takes.
    """

    def __init__(
        self,
        ports: Ports,
        gates: Gates,
        *,
        check: Callable[[], None],
        newest: Callable[[], int],
        decided: Callable[[], int],
        most: int = MOST_QUEUED,
        every_s: float = EVERY_S,
    ) -> None:
        self._ports = ports
        self._gates = gates
        self._check = check
        self._newest = newest
        self._decided = decided
        self._most = most
        self._every_s = every_s

    async def keep(self) -> None:
        """Measure, until cancelled. Raises LeaseLost."""
        loop, seen = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            newest = self._newest()
            if newest != seen or self._gates.rooms:
                try:
                    await self._measure()
                    seen = newest
                except (UnavailableError, RefusedError) as error:
                    log.warning("the queues could not be measured: %s", error)
            await asyncio.sleep(max(self._every_s, _SLOWLY * (loop.time() - began)))

    async def _measure(self) -> None:
        tasks, rooms = self._ports.tasks, self._gates.rooms
        fill = await tasks.fill()
        is_full = fill.share >= FULL
        if not (rooms or is_full or fill.tasks * 2 >= self._most):
            return
        lengths = dict.fromkeys(rooms, 0)
        lengths |= {queue.name: queue.waiting + queue.in_flight for queue in await tasks.overview()}
        rooms, lines = self._gates.rooms, self._gates.lines
        for name, length in lengths.items():
            before = rooms.get(name, -1)
            room = self._room(length, is_full=is_full, is_waited_for=before == 0 and name in lines)
            if room != before:
                await self._say(name, room)

    def _room(self, length: int, *, is_full: bool, is_waited_for: bool) -> int:
        """How many more tasks a queue of this length takes; -1 for any number."""
        if is_full and length:
            return 0
        if length * 2 < self._most and not is_waited_for:
            return -1
        room = max(self._most - length, 0)
        return min(room, _AT_ONCE) if is_waited_for else room

    async def _say(self, queue: str, room: int) -> None:
        self._check()
        history, stamp = queue_history(queue), rfc3339(self._ports.clock.now_ns())
        data = encode_fact(QueueMeasured(queue=queue, room=room, timestamp=stamp))
        # Nothing was queued since the same was said last: then nothing is lost when it is taken for a repetition.
        said = await self._ports.log.append(history, data, id=f"{history}.{self._newest()}.{room}")
        await self._ports.log.remove(history, upto=min(said.seq - 1, self._decided()))
