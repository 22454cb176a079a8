"""Processes that run handlers: kept for the next call, killed one by one, replaced when they die.

`concurrent.futures` and `multiprocessing.Pool` cannot end one call: killing a process breaks the whole pool, or leaves
its caller waiting without end.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, TypeVar

from dagnats.runtime.errand import read_answer, serve
from dagnats.runtime.invocation import AttemptFailed, said

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess

    from dagnats.handling.handler import Handler
    from dagnats.runtime.invocation import Again

T = TypeVar("T")

_END_S = 5.0  # how long a process that closed its pipe may take to end
_STARTING = threading.Lock()  # `multiprocessing` reaps its children whenever one is started, and not from two threads


class ProcessPool:
    """As many processes as calls are under way, made when they are first needed.

    Args:
        most: How many calls the asker makes at a time.
    """

    def __init__(self, most: int) -> None:
        # Each call blocks a thread of its own, so that no event loop has to know how to read these pipes.
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="dagnats-process")
        self._all: set[PoolProcess] = set()
        self._idle: list[PoolProcess] = []
        # Python waits for all processes when it ends, and would wait for a busy one as long as that takes.
        self._finalize = Finalize(self, _kill_all, args=(self._all,), exitpriority=10)

    async def take(self) -> PoolProcess:
        """A process to call handlers in, which `give` takes back. Raises AttemptFailed when it cannot be started.

        Starting it takes longer than some steps have time: it is there before theirs begins.
        """
        while self._idle:
            process = self._idle.pop()
            if not process.is_gone:
                return process
            self._discard(process)
        process = PoolProcess()
        self._all.add(process)
        await self._in_thread(process, process.start)
        return process

    async def call(self, process: PoolProcess, handler: Handler[..., Any], data: bytes) -> bytes | Again:
        """A handler's output for an input, both as JSON. Cancelled, it kills the process.

        Raises:
            AttemptFailed: The handler failed, or its process died.
        """
        return read_answer(await self._in_thread(process, partial(process.do, handler, data)))

    def give(self, process: PoolProcess) -> None:
        """Have a process for the next call."""
        if process.is_gone:
            self._discard(process)
        else:
            self._idle.append(process)

    async def _in_thread(self, process: PoolProcess, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            self._discard(process)
            raise

    def _discard(self, process: PoolProcess) -> None:
        process.kill()
        self._all.discard(process)

    def close(self) -> None:
        """End all processes; what they do now comes to nothing. May be called again."""
        self._finalize()
        self._idle.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _context() -> ForkServerContext | SpawnContext:
    """How processes are made. Never `fork`: a copy of a process with threads and an event loop holds locks that nobody
    will release."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "dagnats.runtime.errand"])  # once for all, in place of half a second
    return context


def _kill_all(processes: set[PoolProcess]) -> None:
    for process in processes:
        process.kill()
    processes.clear()


class PoolProcess:
    """One of them. `start` and `do` are called in a thread, everything else by whoever wants."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._killed = False

    @property
    def is_gone(self) -> bool:
        """Whether it has ended, or was killed. Between two calls it says nothing: what can be read is the end."""
        try:
            return self._killed or self._pipe is None or self._pipe.poll()
        except OSError:
            return True

    def start(self) -> None:
        """Start it, and wait until it is ready. Raises AttemptFailed."""
        context = _context()
        ours, theirs = context.Pipe()
        # Not as a daemon: those may have no processes of their own.
        process = context.Process(target=serve, args=(theirs,), name="dagnats-handler", daemon=False)
        try:
            with _STARTING:
                process.start()
        except Exception as error:
            ours.close()
            raise AttemptFailed(f"no process could be started for the handler: {said(error)}") from error
        finally:
            theirs.close()
        self._process, self._pipe = process, ours
        if self._killed:  # while it was being started
            process.kill()
        try:
            self._received(ours)
        except (EOFError, OSError):
            raise AttemptFailed(
                f"the process for the handler {self._ending()} before it began; what it printed says why, and a program"
                ' that starts a worker does that under `if __name__ == "__main__":`'
            ) from None

    def do(self, handler: Handler[..., Any], data: bytes) -> bytes:
        """Call a handler there; gives the answer's bytes. Raises AttemptFailed when the process dies."""
        pipe = self._pipe
        try:
            if pipe is None:
                raise EOFError
            pipe.send_bytes(pickle.dumps(handler))
            pipe.send_bytes(data)
            return self._received(pipe)
        except (EOFError, OSError):
            raise AttemptFailed(f"the process of handler {handler.__name__!r} {self._ending()}") from None

    def kill(self) -> None:
        """kill -9: a busy one hears nothing else. May be called again, and before there is a process."""
        self._killed = True
        process = self._process
        if process is not None:
            with suppress(ValueError, OSError):  # it has ended
                process.kill()

    def _received(self, pipe: Connection) -> bytes:
        """Its next message. Raises EOFError when it has ended, even where a child of its own holds the pipe open."""
        assert self._process is not None, "it was started"
        if pipe not in wait([pipe, self._process.sentinel]):
            raise EOFError
        return pipe.recv_bytes()

    def _ending(self) -> str:
        """How it ended, which it has."""
        assert self._process is not None, "it was started"
        with _STARTING:
            self._process.join(_END_S)
            code = self._process.exitcode
        if self._pipe is not None:
            self._pipe.close()
        self._pipe = None
        return said_of(code)


def said_of(code: int | None) -> str:
    """An exit code as people read it."""
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (there may not have been enough memory)" if name == "SIGKILL" else "")
