"""Running one event loop from inside another, in the same thread.

asyncio refuses that, because the outer loop stands still meanwhile. For a harness that is what is wanted: its loop
never waits, so the outer one stands still for the time of a computation, as in any other call.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def outside_of_loops() -> Generator[None]:
    """Here no event loop seems to run, and no task: another one may be run to its end.

    These are the functions that asyncio documents for those who write event loops and tasks of their own.
    """
    loop = asyncio._get_running_loop()
    if loop is None:
        yield
        return
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        if task is not None:
            asyncio.tasks._enter_task(loop, task)
