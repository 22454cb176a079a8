"""`handling.Fire`: a run for each time that a trigger fires, with the trigger's envelope as its input."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from typing import TYPE_CHECKING, Any

from dagnats.errors import ConflictError
from dagnats.handling.codec import codec_for
from dagnats.model.envelope import enveloped
from dagnats.model.instant import rfc3339
from dagnats.model.json import carriable
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.model.trigger_type import TriggerEntry
    from dagnats.runtime.desk import Caller
    from dagnats.runtime.ports import Ports

KIND = "external"


class Firing:
    """Fires one trigger.

    Args:
        caller: Who starts runs.
        trigger: What fires.
        check: Raises LeaseLost when this worker cannot prove that firing is its business.
    """

    def __init__(self, ports: Ports, caller: Caller, trigger: TriggerEntry, check: Callable[[], None]) -> None:
        self._ports = ports
        self._caller = caller
        self._trigger = trigger
        self._check = check
        self._is_closed = False

    @property
    def trigger_id(self) -> str:
        return self._trigger.id

    @property
    def workflow(self) -> str:
        return self._trigger.workflow_id

    def close(self) -> None:
        """Fire no more: somebody else may."""
        self._is_closed = True

    async def __call__(self, data: Any = None, *, key: str | None = None) -> str:
        run_id = secrets.token_hex(16) if key is None else self._run_id(key)
        envelope = self._enveloped(data)
        definition = await persist(lambda: self._caller.workflow(self.workflow))
        await self._allowed()
        try:
            by = f"trigger {self.trigger_id}"
            started = await persist(lambda: self._caller.start_json(definition, envelope, run_id=run_id, by=by))
        except ConflictError:  # fired before, at another time
            if key is None or not await persist(lambda: self._ports.log.first(run_id)):
                raise
            return run_id
        return started.run_id

    def _run_id(self, key: str) -> str:
        """The same for a key, whoever fires."""
        if not key:
            raise ValueError("an empty key is no key; leave it out for news that cannot be seen twice")
        said = f"{self.workflow}.{self.trigger_id}.{carriable(key)}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def _enveloped(self, data: Any) -> bytes:
        return enveloped(
            codec_for(type(data)).encode(data),
            trigger=KIND,
            source=self.trigger_id,
            workflow=self.workflow,
            timestamp=rfc3339(self._ports.clock.now_ns()),
        )

    async def _allowed(self) -> None:
        """Return when it is our turn. When it is not, the trigger is about to be stopped here: wait for that."""
        if self._is_closed:
            raise ConflictError(f"trigger {self.trigger_id!r} is not active here any more")
        try:
            self._check()
        except LeaseLost:
            await asyncio.Event().wait()
