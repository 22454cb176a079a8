"""Processes that can be killed, all in one event loop: every callback knows which one it runs for.

A killed process ends as `kill -9` ends a real one: between two callbacks, with no `finally` and no farewell.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from dagnats.runtime.memory.loop import VirtualLoop

T = TypeVar("T")

_MANY = 64

CURRENT: ContextVar[Process | None] = ContextVar("dagnats_process", default=None)


def current_process() -> Process | None:
    """The process that the running code belongs to; None outside of all."""
    return CURRENT.get()


def process_of(context: Context) -> Process | None:
    """The process that a callback with this context belongs to."""
    return context.get(CURRENT)


class Process:
    """What belongs together and dies together: tasks, timers, callbacks, connections. Needs a `VirtualLoop`.

    Attributes:
        name: For people.
        alive: Whether its callbacks still run.
        held: While it is frozen, what it would have run since; None when it is not.
    """

    def __init__(self, loop: VirtualLoop, name: str = "process") -> None:
        self.name = name
        self.alive = True
        self.held: list[asyncio.Handle] | None = None
        self._loop = loop
        self._context = copy_context()
        self._context.run(CURRENT.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._many = _MANY  # when there are more, those that are done are forgotten
        self._at_end: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<process {self.name}{'' if self.alive else ', dead'}>"

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function as this process: what it opens, and starts, is the process's."""
        return self._context.copy().run(function, *arguments)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine as this process."""
        return self._loop.create_task(work, name=name, context=self._context.copy())

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this when it is killed."""
        self._at_end.append(call)

    def freeze(self) -> None:
        """Stop it where it is, as SIGSTOP does: what comes for it, its own timers among it, waits until `thaw`."""
        if self.held is None:
            self.held = []

    def thaw(self) -> None:
        """Let it go on, late by as long as it was frozen. May be called again."""
        held, self.held = self.held or [], None
        self._loop.run_later(held)

    def kill(self) -> None:
        """End it now. Nothing of it runs again, and what awaits its tasks waits for ever. May be called again."""
        if self.alive:
            self.alive = False
            self.held = None
            for task in self._tasks:
                _hide(task)
            for call in self._at_end:
                call()

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Keep a task of this process: a dead one must not be collected, which would run its `finally` blocks."""
        self._tasks.append(task)
        if not self.alive:  # its last callback goes on to its end
            _hide(task)
        if len(self._tasks) > self._many:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._many = max(_MANY, 2 * len(self._tasks))

    def bury(self) -> None:
        """Dispose of what a dead process has left, when the loop is closed: now its `finally` blocks may run."""
        self._context.copy().run(self._bury)

    def _bury(self) -> None:
        while self._tasks:  # a `finally` block may begin others, which end here, too
            task = self._tasks.pop()
            task._log_destroy_pending = False  # pyright: ignore[reportAttributeAccessIssue]  # it says nothing by being collected
            with suppress(BaseException):
                task.get_coro().close()


def _hide(task: asyncio.Task[Any]) -> None:
    """Whoever ends a loop cancels all tasks and waits for them: for the dead ones, in vain."""
    asyncio.tasks._unregister_task(task)  # documented for those who write tasks of their own
