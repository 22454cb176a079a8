"""The entry of a trigger type, as the worker that provides it writes it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagnats.errors import ConflictError, DecodeError
from dagnats.model.instant import rfc3339
from dagnats.model.trigger_type import TriggerTypeEntry, decode, encode, expect_version
from dagnats.model.worker import decode_worker
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.patience import persist
from dagnats.runtime.triggers.book import entries_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.handling.trigger_type import TriggerType
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.trigger")

_LOOK_S = 5.0


class Claim:
    """Says in bucket `trigger_types` that a worker provides a type, and what is wrong with its triggers.

    Args:
        worker_id: How the owner is named.
    """

    def __init__(self, ports: Ports, trigger_type: TriggerType[Any], worker_id: str) -> None:
        self._ports = ports
        self._type = trigger_type
        self._worker_id = worker_id
        self._revision = 0
        self._since = ""
        self._told: Mapping[str, str] = {}

    async def check(self) -> None:
        """Raise ConflictError when triggers run with another version."""
        known = await self._known()
        if known is not None:
            expect_version(known, self._type.version, await persist(lambda: entries_of(self._ports)))

    async def outlast(self) -> None:
        """Wait until an owner that knows nothing of leases is gone from the directory."""
        told = False
        while (owner := await self._other()) and owner in await self._shown():
            if not told:
                log.warning("worker %s provides trigger type %s", owner, self._type.name)
                told = True
            await asyncio.sleep(_LOOK_S)

    async def _other(self) -> str:
        """The owner, if it holds no lease."""
        known = await self._known()
        return known.owner_worker_id if known is not None and not known.leased else ""

    async def _shown(self) -> set[str]:
        found: set[str] = set()
        for data in await persist(self._ports.directory.all):
            with suppress(DecodeError):  # anybody may write there
                found.add(decode_worker(data).worker_id)
        return found

    async def begin(self) -> None:
        """Say that the type is provided, from now on. Raises LeaseLost when somebody else has said so just now."""
        self._since = rfc3339(self._ports.clock.now_ns())
        await self._tell({})

    async def note(self, failing: Mapping[str, str]) -> None:
        """Say which triggers do not run, and why. Raises LeaseLost when somebody else provides the type."""
        if failing != self._told:
            await self._tell(failing)

    async def _tell(self, failing: Mapping[str, str]) -> None:
        self._told = dict(failing)
        name = self._type.name
        entry = TriggerTypeEntry(
            name=name,
            owner_worker_id=self._worker_id,
            version=self._type.version,
            config_schema=self._type.config_schema,
            registered_at=self._since,
            leased=True,
            failing=dict(sorted(failing.items())),
        )
        data = encode(entry)
        while True:
            try:
                self._revision = await persist(
                    lambda: self._ports.trigger_types.put(name, data, revision=self._revision)
                )
            except ConflictError:
                await self._recall()
            else:
                return

    async def _recall(self) -> None:
        """The entry is another one than we know: ours, when the answer to a write was lost, or somebody else's."""
        known = await self._known()
        if known is not None and known.owner_worker_id != self._worker_id:
            raise LeaseLost(f"worker {known.owner_worker_id} says that it provides it")

    async def _known(self) -> TriggerTypeEntry | None:
        """The entry as it is now, and its revision with it."""
        stored = await persist(lambda: self._ports.trigger_types.get(self._type.name))
        self._revision = stored.revision if stored is not None else 0
        try:
            return decode(stored.data, TriggerTypeEntry) if stored is not None else None
        except DecodeError:  # anybody may write there
            return None
