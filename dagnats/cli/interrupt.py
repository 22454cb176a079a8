"""Ctrl-C and SIGTERM for commands that run until they are told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Interrupts:
    """Counts the signals: the first one asks to stop, the next one stops."""

    def __init__(self, stop: Callable[[], None], task: asyncio.Task[object]) -> None:
        self.count = 0
        self._stop = stop
        self._task = task

    @property
    def at_once(self) -> bool:
        """Whether somebody did not want to wait."""
        return self.count > 1

    def take(self) -> None:
        self.count += 1
        if self.count == 1:
            self._stop()
        else:
            self._task.cancel()


@contextmanager
def interrupts(stop: Callable[[], None]) -> Generator[Interrupts, None, None]:
    """Inside, the first SIGINT or SIGTERM calls `stop`, and the next one cancels the current task."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "called inside a coroutine"
    taken = Interrupts(stop, task)
    names = (signal.SIGINT, signal.SIGTERM)
    try:
        for name in names:
            loop.add_signal_handler(name, taken.take)
    except NotImplementedError:  # Windows
        for name in names:
            signal.signal(name, lambda _number, _frame: loop.call_soon_threadsafe(taken.take))
        yield taken
        return
    try:
        yield taken
    finally:
        for name in names:
            loop.remove_signal_handler(name)


@contextmanager
def hang_up(ask: Callable[[], None], stop: Callable[[], None]) -> Generator[None, None, None]:
    """Inside, SIGHUP calls `ask`; or `stop`, where it says that our terminal has been closed."""
    loop, had_terminal = asyncio.get_running_loop(), os.isatty(0)

    def take() -> None:
        (stop if had_terminal and not os.isatty(0) else ask)()

    if not hasattr(signal, "SIGHUP"):  # Windows
        yield
        return
    loop.add_signal_handler(signal.SIGHUP, take)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
