"""Coroutines that live and die together."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from dagnats.runtime.together import cancelled, gathered


def test_where_there_is_nothing_to_cancel_no_loop_is_asked_for() -> None:
    def step() -> None:
        with pytest.raises(StopIteration):
            cancelled([]).send(None)

    with ThreadPoolExecutor(1) as thread:  # a main thread would be given a loop that nobody closes
        thread.submit(step).result()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_work_gives_comes_in_its_order_and_one_alone_is_no_task(count: int) -> None:
    async def number(at: int) -> tuple[int, bool]:
        await asyncio.sleep(0)
        return at, asyncio.current_task() is asked_by

    async def ask() -> list[tuple[int, bool]]:
        nonlocal asked_by
        asked_by = asyncio.current_task()
        return await gathered(number(at) for at in range(count))

    asked_by: asyncio.Task[object] | None = None
    assert asyncio.run(ask()) == [(at, count == 1) for at in range(count)]
