"""Calls that wait: what the asynchronous clients do, for programs without an event loop of their own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
ParamsT = ParamSpec("ParamsT")

_END: Final = object()


class Loop:
    """An event loop on a thread of its own. Any thread may have it do something, and waits for that."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._doing: set[Future[Any]] = set()
        self._closed = False
        self._pid = os.getpid()
        # A daemon: a program that forgets to close its client ends all the same.
        self._thread = threading.Thread(target=self._loop.run_forever, name="dagnats client", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of `work`. Whoever is interrupted meanwhile gives it up.

        Raises:
            DagnatsError: The client is closed, or another process's; or an event loop runs here, and would stand still.
        """
        doing = self._begun(work)
        try:
            return doing.result()
        except CancelledError:
            raise DagnatsError("the client was closed meanwhile", hint="close it when all threads are done") from None
        except BaseException:
            doing.cancel()
            raise
        finally:
            with self._lock:
                self._doing.discard(doing)

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """`items`, one at a time; whoever stops early ends them."""
        try:
            while (item := self.do(_next(items))) is not _END:
                yield item  # pyright: ignore[reportReturnType]  # an identity check narrows no type variable
        finally:
            if isinstance(items, AsyncGenerator) and not self._closed:
                self.do(items.aclose())

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Give up what is under way, do `last`, and end the thread. May be called again."""
        with self._lock:
            if self._closed or os.getpid() != self._pid:
                last.close()
                return
            self._closed = True
            for doing in self._doing:
                doing.cancel()
        asyncio.run_coroutine_threadsafe(_ended(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begun(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            try:
                self._expect_possible()
            except DagnatsError:
                work.close()
                raise
            doing = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._doing.add(doing)
            return doing

    def _expect_possible(self) -> None:
        if self._closed:
            raise DagnatsError("the client is closed", hint="open another one")
        if os.getpid() != self._pid:  # a fork has no thread but the one that forked
            raise DagnatsError(
                "the client was opened by another process", hint="open one in each process, after it began"
            )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise DagnatsError(
            "dagnats.Client waits, and would stop the event loop that runs here",
            hint="in `async` code use dagnats.connect or dagnats.connect_http",
        )


class Blocking(Protocol):
    """Whose calls wait: what they are made of, and the loop that this lives in."""

    @property
    def inner(self) -> Any: ...
    @property
    def loop(self) -> Loop: ...


def waits(
    call: Callable[Concatenate[Any, ParamsT], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Blocking, ParamsT], T]:
    """A call of an asynchronous client as one that waits; its arguments, its result and its errors are the same."""

    @wraps(call)
    def waiting(self: Blocking, *args: ParamsT.args, **kwargs: ParamsT.kwargs) -> T:
        return self.loop.do(getattr(self.inner, call.__name__)(*args, **kwargs))

    return waiting


def told_by(source: type[Any]) -> Callable[[type[T]], type[T]]:
    """Give a class's calls without a text of their own that of the call of the same name of `source`."""

    def tell(kind: type[T]) -> type[T]:
        for name, call in vars(kind).items():
            if callable(call) and not call.__doc__:
                call.__doc__ = getattr(getattr(source, name, None), "__doc__", None)
        return kind

    return tell


async def _next(items: AsyncIterator[T]) -> T | object:
    return await anext(items, _END)


async def _ended(last: Coroutine[Any, Any, None]) -> None:
    try:
        await last
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()
