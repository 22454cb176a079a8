"""Sees from another thread that a handler blocks the event loop, and says which one, and where.

While it does, no other handler goes on, no result is sent, no cancellation is heard, and no heartbeat.
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.runtime.clock import monotonic
from dagnats.runtime.ports import LOOK_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from dagnats.handling.handler import Handler

log = logging.getLogger("dagnats.worker")

BLOCKED_S = 1.0
_MORE = 5  # said again when it is blocked so many times as long
_SAME_PLACE_S = 60.0


class Watchman:
    """Watches the event loop it is made on.

    Args:
        handler_of: The handler that an asyncio task runs, if it does; called from the other thread.
    """

    def __init__(self, handler_of: Callable[[asyncio.Task[Any]], Handler[..., Any] | None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._handler_of = handler_of
        self._asked = self._answered = 0
        # Looks, not seconds: a process that was stopped, or a laptop that slept, has blocked nothing.
        self._silent = 0
        self._say_at = BLOCKED_S
        self._said: dict[str, float] = {}

    def look(self) -> None:
        """Look whether the loop has gone round since the last look. Called every `LOOK_S`."""
        if self._answered == self._asked:
            self._silent, self._say_at = 0, BLOCKED_S
            self._asked += 1
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answer)
            return
        self._silent += 1
        if self._silent * LOOK_S >= self._say_at:
            self._say(self._silent * LOOK_S)
            self._say_at *= _MORE

    def _answer(self) -> None:
        self._answered = self._asked

    def _say(self, blocked_s: float) -> None:
        task = asyncio.current_task(self._loop)
        # There is no other way to another thread's stack.
        frame = sys._current_frames().get(self._thread)  # pyright: ignore[reportPrivateUsage]  # documented
        if task is None or frame is None:  # it is not the loop's work that takes so long, but the machine
            return
        handler = self._handler_of(task)
        place = _place_of(frame, handler.function.__code__ if handler is not None else None)
        if blocked_s < BLOCKED_S * _MORE and monotonic() < self._said.get(place.where, -_SAME_PLACE_S) + _SAME_PLACE_S:
            return
        self._said[place.where] = monotonic()
        log.warning(
            "%s blocks the event loop for %g s, and with it everything else this worker does: %s; "
            "such work belongs into a plain `def` handler, or one with process=True",
            f"handler {handler.__name__} of {handler.task}" if handler is not None else f"task {task.get_name()!r}",
            blocked_s,
            place,
        )


class _Place(NamedTuple):
    """Where a thread is."""

    where: str
    line: str
    inside: str

    def __str__(self) -> str:
        line = f" ({self.line})" if self.line else ""
        return f"at {self.where}{line}" + (f", inside {self.inside}" if self.inside else "")


def _place_of(frame: FrameType, code: CodeType | None) -> _Place:
    """The line of a handler's code that a thread is at, or the innermost line of all."""
    innermost = frame
    own = next((each for each in _outwards(frame) if each.f_code is code), frame)
    line = linecache.getline(own.f_code.co_filename, own.f_lineno).strip()
    return _Place(_said(own), line, _said(innermost) if innermost is not own else "")


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _said(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
