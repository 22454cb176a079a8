"""Coroutines that live and die together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

T = TypeVar("T")


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Run all of `work` until the first one ends or raises; the others are cancelled then."""
    tasks = [asyncio.create_task(each, name=each.__qualname__) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:  # of several that ended at once, the first in line
            if task in done:
                task.result()
    finally:
        await cancelled(tasks)


async def gathered(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of `work` gives, done at once. One alone, as it mostly is, needs no task of its own."""
    work = list(work)
    return [await work[0]] if len(work) == 1 else await asyncio.gather(*work)


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are gone."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    if tasks:  # without any, `gather` asks for a loop: after the end of ours it makes one that nobody closes
        await asyncio.gather(*tasks, return_exceptions=True)


class Aside:
    """Small work on the side that nobody waits for. When some of it fails, so does `watch`: no mistake is silent."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[object], None] = {}
        self._failed: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(work, name=work.__qualname__)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # whether anybody watches or not

    async def watch(self) -> None:
        """Raise what the first work that failed raised."""
        await asyncio.shield(self._failed)

    async def close(self) -> None:
        await cancelled(self._tasks)


class Errands:
    """Work under way that somebody waits for, unless they have ended before: then nobody asks what became of it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=work.__qualname__)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def close(self) -> None:
        await cancelled(self._tasks)
