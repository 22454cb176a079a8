"""The engine is killed and another one goes on, with nothing new happening meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from dagnats import Continue, Fixed, TaskContext, Workflow
from dagnats.testing import Harness

HOUR_NS = 3600 * 10**9


async def test_sleeps_retries_waits_and_approvals_go_on_after_a_restart_with_nothing_new() -> None:
    wf = Workflow("all")
    wf.sleep("nap", "1h")
    wf.task("retry", "all.retry").with_retry(Fixed(max_attempts=1, initial_delay="2h"))
    wf.wait_for_event("wait", "never", match=wf.event["n"] == 1, timeout="3h")
    wf.approval("ask", subject="asked", timeout="4h").with_on_failure("unasked")
    wf.task("unasked", "all.unasked")
    async with Harness([wf]) as h:
        h.stub("all.retry", returns=1)
        h.stub("all.retry", raises=RuntimeError("busy"), times=1)
        h.stub("all.unasked", returns=1)
        run = await h.start(wf)
        await h.advance(minutes=1)
        await h.crash_engine()
        view = await run.wait()
        assert view.status == "completed"
        ended = {step.id: (step.status, (step.ended_ns - view.created_ns) // HOUR_NS) for step in view.steps}
        assert ended == {
            "nap": ("completed", 1),
            "retry": ("completed", 2),
            "wait": ("completed", 3),
            "ask": ("recovered", 4),
            "unasked": ("completed", 4),
        }
        assert h.calls("all.retry") == 2


async def test_an_event_and_an_answer_after_a_restart_find_who_waits_for_them() -> None:
    wf = Workflow("both")
    wf.wait_for_event("wait", "paid.in.full", match=wf.event["order"] == wf.input["order"], timeout="3h")
    wf.approval("ask", subject="asked", timeout="3h")
    async with Harness([wf]) as h:
        run = await h.start(wf, {"order": 1})
        await h.advance(minutes=1)
        await h.crash_engine()
        h.drive(h.client.publish_event("paid.in.full", {"order": 2}))
        h.drive(h.client.publish_event("paid.in.full", {"order": 1}))
        h.drive(h.client.handle(run.run_id).approve("ask"))
        assert await run.result() == {"wait": {"order": 1}, "ask": {"approved": True}}
        assert h.clock.elapsed < timedelta(minutes=2)


async def test_the_pause_between_two_turns_of_a_loop_survives_a_restart_of_the_engine() -> None:
    wf = Workflow("slow-loop")
    turns: list[timedelta] = []

    @wf.agent_loop(max_iterations=3, loop_delay="1h")
    async def look(value: Any, ctx: TaskContext) -> str | Continue[int]:
        turns.append(h.clock.elapsed)
        return Continue(1) if ctx.iteration == 0 else "seen"

    async with Harness([wf]) as h:
        run = await h.start(wf)
        await h.advance(minutes=30)
        await h.crash_engine()
        assert await run.result() == "seen"
    first, second = turns
    assert timedelta(hours=1) <= second - first < timedelta(hours=1, minutes=1)


async def test_a_scheduled_run_begins_under_an_engine_that_started_later() -> None:
    wf = Workflow("planned")
    wf.task("work", "planned.work")
    async with Harness([wf]) as h:
        h.stub("planned.work", returns="done")
        run = h.drive(h.client.start(wf, at=timedelta(days=3)))
        await h.advance(days=1)
        await h.crash_engine()
        await h.advance(days=1)
        assert h.calls("planned.work") == 0
        assert h.drive(run.result()) == "done"
        assert timedelta(days=3) <= h.clock.elapsed < timedelta(days=3, minutes=1)


async def test_a_run_that_goes_on_keeps_its_definition_through_a_restart() -> None:
    def asking_for(task: str, name: str = "changing") -> Workflow[Any, Any]:
        wf = Workflow(name)
        wf.task("work", task).after(wf.sleep("nap", "1h"))
        return wf

    async with Harness([asking_for("old.work"), asking_for("new.work", "another")]) as h:
        h.stub("old.work", returns="old")
        h.stub("new.work", returns="new")
        run = await h.start("changing")
        await h.advance(minutes=1)
        h.drive(h.client.register(asking_for("new.work")))
        await h.crash_engine()
        assert await run.result() == "old"
        assert (await h.run("changing")).output == "new"


async def test_thousands_of_runs_sleep_at_a_time_and_all_wake_on_time() -> None:
    count = 2_000
    wf = Workflow("sleepers")
    wf.sleep("nap", until_input_path="until")
    async with Harness([wf]) as h:
        runs = h.drive(_all(*(h.client.start(wf, {"until": (3600 + at % 60) * 1000}) for at in range(count))))
        await h.advance(minutes=30)
        await h.crash_engine()
        await h.advance(hours=1)
        for at, run in enumerate(runs):
            view = h.drive(run.view())
            assert view.status == "completed"
            late_s = (view.ended_ns - view.created_ns) / 1e9 - (3600 + at % 60)
            assert 0 <= late_s < 1.0, f"run {at} woke {late_s:.3f} s late"


async def _all(*work: Any) -> list[Any]:
    return list(await asyncio.gather(*work))


async def test_a_repetition_of_a_run_with_an_idempotency_key_is_a_new_run() -> None:
    wf = Workflow("once").with_idempotency_key("order")
    wf.task("work", "once.work")
    async with Harness([wf]) as h:
        h.stub("once.work", returns=1)
        run = h.drive(h.client.start(wf, {"order": 7}))
        h.drive(run.result())
        same = h.drive(h.client.start(wf, {"order": 7}))
        again = h.drive(run.retry())
        assert h.drive(again.result()) == 1
        assert (same.run_id == run.run_id, again.run_id == run.run_id, h.calls("once.work")) == (True, False, 2)


async def test_runs_that_waited_for_a_place_begin_under_the_next_engine_too() -> None:
    wf = Workflow("narrow").with_concurrency(max_runs=1)
    wf.sleep("nap", "1h")
    async with Harness([wf]) as h:
        first, second, third = [await h.start(wf) for _ in range(3)]
        await h.advance(minutes=1)
        await first.cancel()
        await h.crash_engine()
        await h.advance(minutes=1)
        assert ((await second.view()).status, (await third.view()).status) == ("running", "pending")
        assert (await third.wait()).status == "completed"
        assert timedelta(hours=2) <= h.clock.elapsed < timedelta(hours=2, minutes=3)
