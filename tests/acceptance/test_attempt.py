"""Attempts, as workers make them and as people see them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest

from dagnats import Abort, Exponential, Fixed, Retry, TaskContext, Workflow, handler
from dagnats.testing import Harness

MINUTE_NS = 60 * 10**9


def solo(retry: Any = None, **settings: Any) -> Workflow[Any, Any]:
    """A workflow of one step, whose task type is `solo`."""
    wf = Workflow("solo")
    step = wf.task("work", "solo")
    if retry is not None:
        step.with_retry(retry)
    if "timeout" in settings:
        step.with_timeout(settings["timeout"])
    return wf


async def test_a_handler_that_fails_twice_succeeds_at_the_third_attempt_spaced_by_its_policy() -> None:
    begun: list[timedelta] = []
    async with Harness([solo(Exponential(max_attempts=5, initial_delay="10m", multiplier=3))]) as h:

        async def work(ctx: TaskContext) -> str:
            begun.append(h.clock.elapsed)
            if ctx.attempt < 3:
                raise RuntimeError("busy")
            return f"attempt {ctx.attempt}"

        h.stub("solo", work)
        assert (await h.run("solo")).output == "attempt 3"
    waits = [later - earlier for earlier, later in itertools.pairwise(begun)]
    for wait, wanted in zip(waits, (timedelta(minutes=10), timedelta(minutes=30)), strict=True):
        assert wanted <= wait < wanted + timedelta(seconds=5)


@pytest.mark.parametrize("retries", [1, 3])
async def test_there_is_one_attempt_and_one_more_for_each_retry_then_the_run_fails(retries: int) -> None:
    async with Harness([solo(Fixed(max_attempts=retries, initial_delay="1s"))]) as h:
        h.stub("solo", raises=RuntimeError("busy"))
        run = await h.run("solo")
        assert (run.status, h.calls("solo"), run.steps[0].attempts) == ("failed", retries + 1, retries + 1)


async def test_failures_of_every_kind_use_one_budget_and_abort_ends_it_early() -> None:
    async with Harness([solo(Fixed(max_attempts=3, initial_delay="1s"))]) as h:

        async def mixed(ctx: TaskContext) -> str:
            if ctx.attempt == 1:
                raise RuntimeError("busy")
            if ctx.attempt == 2:
                raise Retry(after=timedelta(minutes=7))
            return "done"

        h.stub("solo", mixed)
        run = await h.run("solo")
        assert (run.output, h.calls("solo")) == ("done", 3)
        assert run.ended_ns - run.created_ns >= 7 * MINUTE_NS
        h.stub("solo", raises=RuntimeError("busy"), times=1)
        h.stub("solo", raises=Abort("no"))
        assert (await h.run("solo")).status == "failed"
        assert h.calls("solo") == 4


async def test_the_number_of_attempts_is_seen_while_a_step_runs() -> None:
    async with Harness([solo(Fixed(max_attempts=1, initial_delay="1s"))]) as h:

        async def work(ctx: TaskContext) -> str:
            if ctx.attempt == 1:
                raise RuntimeError("busy")
            await asyncio.sleep(3600)
            return "done"

        h.stub("solo", work)
        run = await h.start("solo")
        await h.advance(minutes=30)
        (step,) = (await run.view()).steps
        assert (step.status, step.attempts) == ("running", 2)
        (begun,) = [event for event in await run.history() if event.type == "step.started"]
        assert (begun.step_id, begun.attempt) == ("work", 2)
        assert await run.result() == "done"


async def test_timeouts_use_up_the_retries() -> None:
    async with Harness([solo(Fixed(max_attempts=2, initial_delay="1s"), timeout="10m")]) as h:

        async def hangs() -> None:
            await asyncio.sleep(10**7)

        h.stub("solo", hangs)
        run = await h.run("solo")
        assert (run.status, h.calls("solo")) == ("failed", 3)
        assert "timeout" in run.error
        assert 30 * MINUTE_NS <= run.ended_ns - run.created_ns < 31 * MINUTE_NS


async def test_no_timeout_comes_after_a_step_has_completed() -> None:
    wf = solo(timeout="10m")
    wf.sleep("nap", "1h").after("work")
    async with Harness([wf]) as h:

        async def work() -> str:
            await asyncio.sleep(590)
            return "just in time"

        h.stub("solo", work)
        run = await h.run(wf)
        assert (run.status, h.calls("solo")) == ("completed", 1)
        assert run.steps[0].output == "just in time"


async def test_a_slow_task_type_does_not_hold_up_another_one() -> None:
    wf = Workflow("slow")
    wf.task("work", "slow.work")
    async with Harness([wf, solo()]) as h:

        async def slowly() -> None:
            await asyncio.sleep(3600)

        h.stub("slow.work", slowly)
        h.stub("solo", returns="quick")
        slow = [await h.start("slow") for _ in range(20)]
        await h.advance(seconds=1)
        assert (await h.run("solo")).output == "quick"
        assert h.clock.elapsed < timedelta(minutes=1)
        assert {(await run.view()).status for run in slow} == {"running"}


async def test_tasks_of_a_cancelled_run_are_not_run() -> None:
    wf = Workflow("two")
    wf.task("second", "two.second").after(wf.task("first", "two.first"))
    async with Harness([wf]) as h:

        async def slowly() -> None:
            await asyncio.sleep(3600)

        h.stub("two.first", slowly)
        run, other = await h.start(wf), await h.start(wf)
        await h.advance(minutes=10)
        await run.cancel()
        h.stub("two.second", returns=1)
        assert (await other.wait()).status == "completed"
        assert ((await run.view()).status, h.calls("two.second")) == ("cancelled", 1)


async def test_a_handler_without_input_gets_null() -> None:
    wf = Workflow("bare")

    async def look(value: Any) -> list[Any]:
        return [value]

    wf.task("look", handler("bare.look")(look))
    async with Harness([wf]) as h:
        assert (await h.run(wf)).output == [None]
