"""Repeating what NATS did not answer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from dagnats.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger("dagnats.nats")

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` gives, asked again for as long as NATS does not answer. For calls that may be repeated."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except UnavailableError as error:
            log.warning("asking again in %g s: %s", pause, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)
