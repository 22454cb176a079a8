"""The trace of a run goes through workers that speak HTTP."""

from __future__ import annotations

from tests.api.site import WORK, in_virtual_time, one_step, site

OWN = f"00-{'a' * 32}-{'b' * 16}-01"


@in_virtual_time
async def test_a_task_brings_the_trace_of_its_run_and_its_events_go_on_with_it() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run = await here.client.start("solo")
        (task,) = await web.poll(WORK)
        await web.resolve(task, "complete", output=1)
        of_the_run, *events = [
            event for event in await run.history() if not event.type.endswith("completed") or event.worker_id
        ]
        assert task["traceparent"] == of_the_run.trace_parent
        assert {(event.type, event.trace_parent) for event in events} == {
            ("step.started", of_the_run.trace_parent),
            ("step.completed", of_the_run.trace_parent),
        }


@in_virtual_time
async def test_a_worker_that_has_a_span_of_its_own_says_so_and_its_result_belongs_to_it() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run = await here.client.start("solo")
        (task,) = await web.poll(WORK)
        path = f"/v1/tasks/{task['task_id']}/resolve"
        await web.post(path, {"action": "complete"}, traceparent=OWN)
        (completed,) = [event for event in await run.history() if event.type == "step.completed"]
        assert completed.trace_parent == OWN


@in_virtual_time
async def test_a_trace_that_is_none_is_passed_over() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run = await here.client.start("solo")
        (task,) = await web.poll(WORK)
        await web.post(f"/v1/tasks/{task['task_id']}/resolve", {"action": "complete"}, traceparent="00-zz-1")
        (completed,) = [event for event in await run.history() if event.type == "step.completed"]
        assert completed.trace_parent == task["traceparent"]


@in_virtual_time
async def test_a_history_has_two_events_for_a_task_however_often_it_was_polled_for() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        for _ in range(3):
            assert await web.poll(WORK, timeout_ms=1_000) == []
        run = await here.client.start("solo")
        (task,) = await web.poll(WORK)
        await web.resolve(task, "complete", output=1)
        await run.result()
        steps = [kind for kind in await here.types(run) if kind.startswith("step.")]
        assert steps == ["step.started", "step.completed"]
