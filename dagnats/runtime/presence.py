"""A worker in the directory: shown while it lives. Nothing but people's eyes depends on it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import DagnatsError
from dagnats.model.instant import rfc3339
from dagnats.model.worker import encode_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.worker")

_PATIENCE_S = 2.0  # of a worker that ends


class Presence:
    """Renews a worker's entry, and takes it back."""

    def __init__(self, ports: Ports, entry: WorkerEntry) -> None:
        self._directory = ports.directory
        self._clock = ports.clock
        self._entry = entry

    async def show(self) -> None:
        """Be shown, for as long as nobody cancels this."""
        renew_s = self._directory.renew_s
        while True:
            entry = msgspec.structs.replace(self._entry, last_seen=rfc3339(self._clock.now_ns()))
            await self._try(self._directory.put(entry.worker_id, encode_worker(entry)))
            await (asyncio.sleep(renew_s) if renew_s else asyncio.get_running_loop().create_future())

    async def leave(self) -> None:
        """Be shown no longer."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._try(self._directory.remove(self._entry.worker_id))
        except TimeoutError:
            log.debug("worker %s stays in the directory for a minute: nobody answers", self._entry.worker_id)

    async def _try(self, said: Awaitable[None]) -> None:
        try:
            await said
        except DagnatsError as error:
            log.debug("the directory does not show worker %s as it is: %s", self._entry.worker_id, error)
