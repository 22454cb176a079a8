"""Following what a step streams, and seeing how far it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dagnats import Abort, NotFoundError, TaskContext, Workflow
from dagnats.client import Chunk
from dagnats.testing import Harness

talking = Workflow("talking")


@talking.step
async def talk(words: list[str], ctx: TaskContext) -> int:
    for word in words:
        await ctx.stream(word)
        await ctx.progress(0.5, f"said {word}")
        await ctx.heartbeat({"said": word})
        if word == "fail":
            raise Abort("as told")
        await asyncio.sleep(10)
    return len(words)


async def followed(harness: Harness, run_id: str, *, after: int = -1) -> list[tuple[int, bytes]]:
    async def all_of_it() -> list[Chunk]:
        return [chunk async for chunk in harness.client.handle(run_id).stream("talk", after=after)]

    return [(chunk.offset, chunk.data) for chunk in harness.drive(all_of_it())]


async def test_who_follows_a_step_gets_its_chunks_until_it_is_done() -> None:
    async with Harness([talking]) as harness:
        run = await harness.start(talking, ["a", "b", "c"])
        assert await followed(harness, run.run_id) == [(0, b"a"), (1, b"b"), (2, b"c")]
        assert harness.clock.elapsed.total_seconds() == pytest.approx(30, abs=1)
        assert await followed(harness, run.run_id, after=1) == [(2, b"c")]
        assert await followed(harness, run.run_id, after=5) == []


async def test_a_step_that_fails_or_is_cancelled_ends_what_follows_it() -> None:
    async with Harness([talking]) as harness:
        failing = await harness.start(talking, ["a", "fail"])
        assert await followed(harness, failing.run_id) == [(0, b"a"), (1, b"fail")]
        cancelled = await harness.start(talking, ["a", "b"])
        await harness.advance(seconds=1)
        await cancelled.cancel()
        assert await followed(harness, cancelled.run_id) == [(0, b"a")]


async def test_only_a_step_of_a_run_can_be_followed() -> None:
    async def first(harness: Harness, run_id: str, step: str) -> Any:
        return harness.drive(anext(harness.client.handle(run_id).stream(step)))

    async with Harness([talking]) as harness:
        run = await harness.start(talking, [])
        with pytest.raises(NotFoundError, match="no step 'tlak'") as unknown:
            await first(harness, run.run_id, "tlak")
        assert unknown.value.hint == "did you mean 'talk'?"
        with pytest.raises(NotFoundError, match="no step 'zebra'") as unknown:
            await first(harness, run.run_id, "zebra")
        assert unknown.value.hint == f"run {run.run_id} has talk"
        with pytest.raises(NotFoundError, match="no run 'nothing'"):
            await first(harness, "nothing", "talk")


async def test_a_view_shows_what_a_running_step_says_of_itself() -> None:
    async with Harness([talking]) as harness:
        run = await harness.start(talking, ["a", "b"])
        await harness.advance(seconds=5)
        (step,) = (await run.view()).steps
        assert (step.status, step.progress, step.message, step.details) == ("running", 0.5, "said a", {"said": "a"})
        (step,) = (await run.wait()).steps
        assert (step.progress, step.message, step.details) == (None, "", None)
