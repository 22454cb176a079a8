"""Says how far an attempt is: at once, then once a second at most, and the last word at its end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import DagnatsError, RefusedError
from dagnats.model.instant import rfc3339
from dagnats.model.pulse import Pulse, decode_pulse, encode_pulse
from dagnats.runtime.blob import INLINE_BYTES, refuse
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.model.task import Task
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.worker")

EVERY_S = 1.0
_PATIENCE_S = 5.0  # for the last word, which nothing depends on


def refuse_details(details: bytes) -> None:
    """Raise RefusedError for what is too large to be said with a heartbeat, or is no JSON that can be carried."""
    refuse(details, what="what is given to heartbeat")
    if len(details) > INLINE_BYTES:
        raise RefusedError(
            f"what is given to heartbeat has {len(details)} bytes; at most {INLINE_BYTES} are taken",
            hint="a checkpoint may be larger",
        )


async def newest_pulse(ports: Ports, task: Task) -> Pulse:
    """What the step has said last, in this attempt or an earlier one."""
    data = await persist(lambda: ports.pulses.newest(task.run_id, task.step_id))
    return (decode_pulse(data) if data is not None else None) or Pulse()


async def say_details(ports: Ports, task: Task, details: bytes) -> None:
    """Say how far an attempt is, for a worker of whom nothing is in memory here.

    Raises:
        RefusedError: They cannot be carried.
    """
    refuse_details(details)
    before = await newest_pulse(ports, task)
    if before.attempt > task.attempt:  # ours is over, and nobody listens
        return
    own = before if before.attempt == task.attempt else Pulse(attempt=task.attempt)
    pulse = msgspec.structs.replace(own, at=rfc3339(ports.clock.now_ns()), details=msgspec.Raw(details))
    await ports.pulses.put(task.run_id, task.step_id, encode_pulse(pulse))


class Pulsing:
    """The pulse of one attempt."""

    def __init__(self, ports: Ports, task: Task) -> None:
        self._ports = ports
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._before: Pulse | None = None
        self._pulse = Pulse(attempt=task.attempt)
        self._first = asyncio.Lock()
        self._is_stale = False  # whether there is something to store
        self._writing: asyncio.Task[None] | None = None

    async def before(self) -> Pulse:
        """What was said before this attempt said anything."""
        async with self._first:
            if self._before is None:
                self._before = await newest_pulse(self._ports, self._task)
                self._pulse = msgspec.structs.replace(self._pulse, details=self._before.details)
        return self._before

    async def say(self, **change: Any) -> None:
        """Change some of it. Stored now, or when the second is over."""
        before = await self.before()
        if before.attempt > self._task.attempt:  # ours is over, and nobody listens
            return
        at = rfc3339(self._ports.clock.now_ns())
        self._pulse = msgspec.structs.replace(self._pulse, at=at, **change)
        self._is_stale = True
        if self._writing is None:
            self._writing = self._loop.create_task(self._write(), name="pulse")
            await asyncio.sleep(0)  # it is on its way

    async def close(self) -> None:
        """Store the last word. Nothing is said after that."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.cancel()
            await asyncio.wait([writing])
        if self._is_stale:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._store()
            except TimeoutError:
                log.warning("the last pulse of step %s of run %s is lost", self._task.step_id, self._task.run_id)

    def leave(self) -> None:
        """Say nothing more: nobody waits for it."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self) -> None:
        while self._is_stale:
            await self._store()
            await asyncio.sleep(EVERY_S)
        self._writing = None

    async def _store(self) -> None:
        data, self._is_stale = encode_pulse(self._pulse), False
        try:
            await self._ports.pulses.put(self._task.run_id, self._task.step_id, data)
        except asyncio.CancelledError:
            self._is_stale = True
            raise
        except DagnatsError as error:
            log.warning("a pulse of step %s of run %s is lost: %s", self._task.step_id, self._task.run_id, error)
