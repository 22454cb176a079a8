"""Keeps shut the queues that operators have paused: the gates hold what is to come, this what lies in them already."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from dagnats.runtime.core.gate.fold import Gates
    from dagnats.runtime.ports import TaskQueue

log = logging.getLogger("dagnats.engine")

_EVERY_S = 30.0  # a type's first worker may have come since


class Porter:
    """Tells the task queue which types are paused."""

    def __init__(self, tasks: TaskQueue, gates: Gates) -> None:
        self._tasks = tasks
        self._gates = gates
        self._shut: list[str] | None = None  # as we said last; an engine before us may have said something else
        self._called = asyncio.Event()

    def look(self) -> None:
        """See whether something was paused, or goes on."""
        if self._gates.paused != (self._shut or []):
            self._called.set()

    async def keep(self) -> None:
        """Shut and open."""
        while True:
            paused = self._gates.paused
            if paused or self._shut != []:
                try:
                    await self._tasks.shut(paused)
                except DagnatsError as error:
                    log.warning("paused queues could not be shut: %s", error)
                else:
                    self._shut = paused
            self._called.clear()
            again_s = None if self._shut == [] else _EVERY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await self._called.wait()
