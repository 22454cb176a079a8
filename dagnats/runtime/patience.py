"""Repeating what NATS did not answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from dagnats.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

log = logging.getLogger("dagnats.nats")

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` gives, asked again for as long as NATS does not answer. For calls that may be repeated.

    Raises:
        UnavailableError: Only where somebody has set a `limit`.
    """
    pause, silence = _FIRST_PAUSE_S, _silence.get()
    while True:
        try:
            answer = await call()
        except UnavailableError as error:
            if silence is None:
                log.warning("asking again in %g s: %s", pause, error)
            else:
                silence.met(error)
        else:
            if silence is not None:
                silence.broken()
            return answer
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


@contextmanager
def limit(most_s: float) -> Generator[None]:
    """Let whoever persists in here give up once nobody was answered for so long: somebody waits for the end of it.

    However many ask, one line says that they ask again, and for how long.
    """
    token = _silence.set(_Silence(most_s))
    try:
        yield
    finally:
        _silence.reset(token)


class _Silence:
    """How long nobody was answered, of those who share a limit."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._since_s: float | None = None

    def met(self, error: UnavailableError) -> None:
        """Take note that there was no answer. Raises UnavailableError when it was so for too long."""
        now_s = asyncio.get_running_loop().time()
        if self._since_s is None:
            self._since_s = now_s
            log.warning("NATS does not answer; it is asked again for %g s: %s", self._most_s, error)
        elif now_s - self._since_s >= self._most_s:
            raise UnavailableError(f"NATS has not answered for {self._most_s:g} s: {error}", hint=error.hint) from None

    def broken(self) -> None:
        """Take note of an answer."""
        self._since_s = None


_silence: ContextVar[_Silence | None] = ContextVar("silence", default=None)
