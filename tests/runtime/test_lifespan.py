"""What a worker opens for its handlers."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import SyncTaskContext, TaskContext, Workflow
from dagnats.testing import Harness

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

said: list[str] = []


class Pool:
    def __init__(self) -> None:
        self.is_open = True


@asynccontextmanager
async def asynchronous() -> AsyncGenerator[Pool]:
    pool = Pool()
    said.append("opened")
    try:
        yield pool
    finally:
        pool.is_open = False
        said.append("closed")


@contextmanager
def synchronous() -> Generator[Pool]:
    said.append("opened")
    try:
        yield Pool()
    finally:
        said.append("closed")


pooled = Workflow("pooled")


@pooled.step
async def first(ctx: TaskContext[Pool]) -> bool:
    return ctx.resources.is_open


@pooled.step(after=first)
def second(is_open: bool, ctx: SyncTaskContext[Pool]) -> bool:
    return is_open and ctx.resources.is_open


@pytest.mark.parametrize("lifespan", [asynchronous, synchronous])
async def test_what_a_lifespan_gives_is_there_for_every_handler_while_the_worker_runs(lifespan: Any) -> None:
    said.clear()
    async with Harness([pooled], lifespan=lifespan) as harness:
        assert (await harness.run("pooled")).output is True
        assert said == ["opened"]
    assert said == ["opened", "closed"]


async def test_without_a_lifespan_there_are_no_resources() -> None:
    workflow = Workflow("bare")

    @workflow.step
    async def act(ctx: TaskContext) -> bool:
        return ctx.resources is None

    async with Harness([workflow]) as harness:
        assert (await harness.run("bare")).output is True


async def test_what_is_no_context_manager_ends_the_worker_and_says_why() -> None:
    async def forgotten() -> AsyncGenerator[int]:
        yield 1

    with pytest.raises(TypeError, match="async_generator, which is no context manager: is @asynccontextmanager"):
        async with Harness([pooled], lifespan=forgotten) as harness:  # pyright: ignore[reportArgumentType]
            await harness.run("pooled")
