"""An event loop whose time is virtual: it never waits, it goes to the next thing that is due.

Callbacks run in the order in which they became ready, so the same program does the same every time. Only threads are
real: while one works for the loop, time passes as it really does.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

from dagnats.runtime.memory.process import current_process, process_of

if TYPE_CHECKING:
    import selectors
    from collections import deque
    from collections.abc import Callable, Iterable

    from dagnats.runtime.memory.process import Process

_IO_PATIENCE_S = 0.01  # how long sockets that somebody opened may keep us from going on in time
_MANY_CANCELLED = 100


class Deadlock(Exception):
    """Everything waits, and nothing is due: no time that passes would change that."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A deterministic event loop.

    Attributes:
        steps: How many callbacks have run.
        on_step: Called before each callback, with its number. It may kill a process: the callback does not run then.
        choose: Given the callbacks that are ready, the place of the one to run next. None: the first.
    """

    # What `BaseEventLoop` keeps; the same from Python 3.11 to 3.14.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _selector: selectors.BaseSelector
    _timer_cancelled_count: int
    _process_events: Callable[[list[tuple[selectors.SelectorKey, int]]], None]

    def __init__(self) -> None:
        self._now = 0.0
        self._working = 0  # threads that work for us
        self._since: float | None = None  # up to when their time has been counted, by the real clock
        self._processes: list[Process] = []
        self.steps = 0
        self.on_step: Callable[[int], None] | None = None
        self.choose: Callable[[deque[asyncio.Handle]], int] | None = None
        super().__init__()
        self._own_files = len(self._selector.get_map())

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def create_task(self, coro: Any, **settings: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **settings)
        context: Context | None = settings.get("context")
        process = process_of(context) if context is not None else current_process()
        if process is not None:
            if process not in self._processes:
                self._processes.append(process)
            process.adopt(task)
        return task

    def run_later(self, handles: Iterable[asyncio.Handle]) -> None:
        """Run callbacks that were held back, in the next turn."""
        self._ready.extend(handles)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        if self._since is None:  # before the thread begins
            self._since = time.monotonic()
        future = super().run_in_executor(executor, func, *args)
        self._working += 1
        future.add_done_callback(self._worked, context=Context())  # whoever asked may be dead by then
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._working += 1  # a thread waits for the others to end
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._working -= 1

    def _worked(self, _: asyncio.Future[Any]) -> None:
        self._working -= 1

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.bury()
        self._processes.clear()
        super().close()

    # -- one turn --------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """What `BaseEventLoop` calls again and again: wait for something to be ready, and run what is."""
        self._forget_cancelled()
        self._pass_really()
        if not self._ready:
            self._go_on()
        elif self._working or len(self._selector.get_map()) > self._own_files:
            self._look(0)
        while self._scheduled and self._scheduled[0].when() <= self._now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)
        for _ in range(len(self._ready)):
            self._step(self._next())

    def _next(self) -> asyncio.Handle:
        if self.choose is None:
            return self._ready.popleft()
        at = self.choose(self._ready)
        handle = self._ready[at]
        del self._ready[at]
        return handle

    def _step(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        self.steps += 1
        if self.on_step is not None:
            self.on_step(self.steps)
        process = process_of(handle._context)
        if process is None:
            handle._run()
        elif process.held is not None:
            process.held.append(handle)
        elif process.alive:
            handle._run()

    def _go_on(self) -> None:
        """Nothing is ready: let time pass until something is."""
        due = self._scheduled[0].when() if self._scheduled else None
        if self._working:
            self._look(None if due is None else max(due - self._now, 0))
            self._pass_really()
            return
        if len(self._selector.get_map()) > self._own_files:
            self._look(_IO_PATIENCE_S if due is not None else None)
        if self._ready:
            return
        if due is None:
            raise Deadlock("everything waits for something else, and no timer is set")
        self._now = max(self._now, due)

    def _pass_really(self) -> None:
        """While threads work, time is what it is."""
        since, self._since = self._since, time.monotonic() if self._working else None
        if since is not None:
            self._now += time.monotonic() - since

    def _look(self, most_s: float | None) -> None:
        """See which files are ready, after so many real seconds at most."""
        self._process_events(self._selector.select(most_s))

    def _forget_cancelled(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            self._timer_cancelled_count -= 1
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
        if self._timer_cancelled_count > max(_MANY_CANCELLED, len(self._scheduled) // 2):
            for handle in self._scheduled:
                if handle.cancelled():
                    handle._scheduled = False
            self._scheduled[:] = [handle for handle in self._scheduled if not handle.cancelled()]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
