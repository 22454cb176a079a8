"""An event loop whose time is virtual: it never waits, it goes to the next thing that is due.

Callbacks run in the order in which they became ready, so the same program does the same every time. Only threads are
real: while one works for the loop, time passes as it really does.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from dagnats.runtime.memory.process import CURRENT, current_process, process_of

if TYPE_CHECKING:
    import selectors
    from collections import deque
    from collections.abc import Callable, Iterable

    from dagnats.runtime.memory.process import Process

_IO_PATIENCE_S = 0.01  # how long sockets that somebody opened may keep us from going on in time
_MANY_CANCELLED = 100

_new = object.__new__


class Deadlock(Exception):
    """Everything waits, and nothing is due: no time that passes would change that."""


class _Handle(asyncio.Handle):
    """A callback that remembers nothing for a debugger: most of what a loop does is to make these.

    The loop fills them in itself: a call of `__init__` would cost as much as all the rest. What is the same for all of
    them is said here, once.
    """

    __slots__ = ()
    _repr: Any = None
    _source_traceback: Any = None

    def cancel(self) -> None:
        self._cancelled = True
        self._callback, self._args = None, ()


class _TimerHandle(asyncio.TimerHandle):
    """The same of a timer."""

    __slots__ = ()
    _repr: Any = None
    _source_traceback: Any = None

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._callback, self._args = None, ()
            self._loop._cancelled += self._scheduled


class VirtualLoop(asyncio.SelectorEventLoop):
    """A deterministic event loop.

    Attributes:
        steps: How many callbacks have run.
        on_step: Called before each callback, with its number. It may kill a process: the callback does not run then.
        choose: Given the callbacks that are ready, the place of the one to run next. None: the first.
    """

    # What `BaseEventLoop` keeps; the same from Python 3.11 to 3.14.
    _closed: bool
    _stopping: bool
    _ready: deque[asyncio.Handle]
    _selector: selectors.BaseSelector
    _process_events: Callable[[list[tuple[selectors.SelectorKey, int]]], None]

    def __init__(self) -> None:
        self._now = 0.0
        self._working = 0  # threads that work for us
        self._since: float | None = None  # up to when their time has been counted, by the real clock
        self._processes: dict[Process, None] = {}
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []  # a heap; of two due at once, the elder first
        self._ages = count()
        self._cancelled = 0  # timers that are still in there
        self.steps = 0
        self.on_step: Callable[[int], None] | None = None
        self.choose: Callable[[deque[asyncio.Handle]], int] | None = None
        super().__init__()
        # What `get_map` wraps: to ask that for its length is a call, once in every turn.
        self._files: dict[int, selectors.SelectorKey] = vars(self._selector)["_fd_to_key"]
        self._own_files = len(self._files)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def set_debug(self, enabled: bool) -> None:
        super().set_debug(enabled)
        self.get_debug = enabled.__bool__  # every future and every task asks

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **settings: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **settings)
        context: Context | None = settings.get("context")
        process = process_of(context) if context is not None else current_process()
        if process is not None:
            self._processes[process] = None
            process.adopt(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        if self._closed:
            raise RuntimeError("the event loop is closed")
        handle: Any = _new(_Handle)
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._callback = callback
        handle._args = args
        handle._cancelled = False
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        if self._closed:
            raise RuntimeError("the event loop is closed")
        handle: Any = _new(_TimerHandle)
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._callback = callback
        handle._args = args
        handle._cancelled = False
        handle._when = when
        handle._scheduled = True
        heappush(self._timers, (when, next(self._ages), handle))
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

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
        # What cleans up now asks for its loop. Where none runs, asyncio makes another one, which nobody would close.
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            for process in self._processes:
                process.kill()
                process.bury()
        finally:
            asyncio._set_running_loop(before)
        self._processes.clear()
        super().close()

    # -- one turn --------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """What `BaseEventLoop` calls: wait for something to be ready, and run what is, until it is to stop."""
        ready, timers = self._ready, self._timers
        while True:
            if self._cancelled and (timers[0][2]._cancelled or self._cancelled > _MANY_CANCELLED):
                self._forget_cancelled()
            if self._working or self._since is not None:
                self._pass_really()
            if not ready:
                self._go_on()
            elif self._working or len(self._files) > self._own_files:
                self._look(0)
            now = self._now
            while timers and timers[0][0] <= now:
                ready.append(self._next_timer())
            choose, on_step = self.choose, self.on_step
            for _ in range(len(ready)):
                handle = ready.popleft() if choose is None else self._chosen(choose)
                if handle._cancelled:
                    continue
                self.steps += 1
                if on_step is not None:
                    on_step(self.steps)
                context = handle._context
                process = context.get(CURRENT)
                if process is None or (process.alive and process.held is None):
                    try:  # what `Handle._run` does: most of what a simulation costs is calls as small as this one
                        context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001  # whatever a callback raises
                        self._failed(handle, error)
                elif process.held is not None:
                    process.held.append(handle)
            if self._stopping:
                return

    def _chosen(self, choose: Callable[[deque[asyncio.Handle]], int]) -> asyncio.Handle:
        at = choose(self._ready)
        handle = self._ready[at]
        del self._ready[at]
        return handle

    def _failed(self, handle: asyncio.Handle, error: BaseException) -> None:
        """A callback has raised: that ends nothing, and is told."""
        what = getattr(handle._callback, "__qualname__", repr(handle._callback))
        self.call_exception_handler(
            {"message": f"Exception in callback {what}()", "exception": error, "handle": handle}
        )

    def _go_on(self) -> None:
        """Nothing is ready: let time pass until something is."""
        due = self._timers[0][0] if self._timers else None
        if self._working:
            self._look(None if due is None else max(due - self._now, 0))
            self._pass_really()
            return
        if len(self._files) > self._own_files:
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

    def _next_timer(self) -> asyncio.TimerHandle:
        """Take the timer that is due first."""
        _, _, handle = heappop(self._timers)
        handle._scheduled = False
        self._cancelled -= handle._cancelled
        return handle

    def _forget_cancelled(self) -> None:
        """The first timer is one that will run; and not most of them are none."""
        while self._timers and self._timers[0][2]._cancelled:
            self._next_timer()
        if self._cancelled > max(_MANY_CANCELLED, len(self._timers) // 2):
            for _, _, handle in self._timers:
                handle._scheduled = not handle._cancelled
            self._timers[:] = [timer for timer in self._timers if not timer[2]._cancelled]
            heapify(self._timers)
            self._cancelled = 0


def virtual_loop() -> VirtualLoop:
    """The loop that runs, which has to be a virtual one."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "started with `asyncio.Runner(loop_factory=VirtualLoop)`"
    return loop
