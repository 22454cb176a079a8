"""Writes down what callers did, before they are answered; and those that were turned away, as far as there is room."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING

import msgspec

from dagnats.client.answer import BY
from dagnats.errors import DagnatsError
from dagnats.model.audit import encode_requested
from dagnats.model.instant import rfc3339

if TYPE_CHECKING:
    from dagnats.model.audit import Requested
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.http")

TURNED_AWAY = (401, 403, 429)
"""What those are answered who are not let in."""

_PATIENCE_S = 2.0  # with what is done, its caller need not wait for NATS to come back
_MOST_PENDING = 1_000
_BURST = 20
_EVERY_S = 10.0  # 90 days of nothing but refusals are fewer records than are kept


class Allowance:
    """How many refusals are written down: some at once, then one now and then.

    Attributes:
        skipped: How many were not, since the last one that was.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._room = float(_BURST)
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        """Whether there is room for one."""
        self._room = min(self._room + (now_s - self._at_s) / _EVERY_S, _BURST)
        self._at_s = now_s
        if self._room < 1:
            self.skipped += 1
            return False
        self._room -= 1
        return True


class Journal:
    """The audit, as one server writes it."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._allowance = Allowance()
        self._pending: set[asyncio.Task[None]] = set()

    async def enter(self, said: Requested) -> None:
        """Write down an order; returns when it is stored, or soon."""
        if _is_repeatable(said) and not self._allowance.take(asyncio.get_running_loop().time()):
            return
        skipped, self._allowance.skipped = self._allowance.skipped, 0
        now = rfc3339(self._ports.clock.now_ns())
        said = msgspec.structs.replace(said, timestamp=now, skipped=skipped)
        if len(self._pending) >= _MOST_PENDING:
            _lose(said, "too many others wait to be stored")
            return
        storing = asyncio.create_task(self._store(said), name="audit")
        self._pending.add(storing)
        storing.add_done_callback(self._pending.discard)
        await asyncio.wait([storing], timeout=_PATIENCE_S)

    async def _store(self, said: Requested) -> None:
        try:
            await self._ports.audit.append(encode_requested(said), id=f"{said.request_id}-{secrets.token_hex(4)}")
        except DagnatsError as error:
            _lose(said, str(error))
        except asyncio.CancelledError:
            _lose(said, "the server stopped before NATS had it")
            raise

    async def close(self) -> None:
        """Give up on what is not stored by now: the log has it."""
        for storing in list(self._pending):
            storing.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)


def _is_repeatable(said: Requested) -> bool:
    """Whether it is a refusal that a stranger can have as often as they like."""
    return said.status in TURNED_AWAY or (said.by == BY and said.status >= 400)


def _lose(said: Requested, why: str) -> None:
    log.error("the audit lacks %s: %s", encode_requested(said).decode(), why)
