"""A real server for a test: what `dagnats serve` runs, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagnats.runtime.serve import Serving, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path


@contextmanager
def serving(folder: Path) -> Generator[Serving]:
    """A server that keeps its data in `folder`, on any free port, until this is left.

    Raises:
        DagnatsError: It cannot be started; the message says why.
    """
    up: Future[tuple[Serving, Callable[[], None]]] = Future()
    thread = threading.Thread(target=_run, args=(folder, up), name="dagnats-server")
    thread.start()
    try:
        server, stop = up.result()
        try:
            yield server
        finally:
            stop()
    finally:
        thread.join()


def _run(folder: Path, up: Future[tuple[Serving, Callable[[], None]]]) -> None:
    try:
        asyncio.run(_serve(folder, up))
    except Exception as error:
        if up.done():
            raise
        up.set_exception(error)


async def _serve(folder: Path, up: Future[tuple[Serving, Callable[[], None]]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.call_soon_threadsafe(stop.set)

    async def ready(server: Serving) -> None:
        up.set_result((server, end))

    await serve(folder=folder, port=0, ready=ready, stop=stop)
