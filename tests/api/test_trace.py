"""The trace of a run goes through workers that speak HTTP."""

from __future__ import annotations

from dagnats import Fixed
from dagnats.model.trace import step_span
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
        span = step_span(run.run_id, "work", 1)
        assert task["traceparent"] == f"00-{of_the_run.trace_parent.split('-')[1]}-{span}-01"
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
        assert completed.trace_parent == (await run.history())[0].trace_parent


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


@in_virtual_time
async def test_a_run_that_is_started_within_a_trace_belongs_to_it() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        started = await web.post("/v1/runs", {"workflow": "solo"}, traceparent=OWN, tracestate="vendor=1")
        alone = await web.post("/v1/runs", {"workflow": "solo"}, traceparent="00-zz-1")
        (event,) = await here.ports.log.read(started.json["run_id"])
        assert f'"trace_parent":"{OWN}","trace_state":"vendor=1"'.encode() in event.data
        document = (await web.get(f"/v1/runs/{started.json['run_id']}")).json
        assert document["trace_id"] == "a" * 32
        assert (await web.get(f"/v1/runs/{alone.json['run_id']}")).json["trace_id"] not in ("", "a" * 32)


@in_virtual_time
async def test_every_event_of_a_run_belongs_to_its_trace() -> None:
    async with site(one_step("solo", retry=Fixed(max_attempts=2, initial_delay="1s"))) as here:
        web = await here.api()
        run = await here.client.start("solo")
        for action, said in (("fail", {"error": "busy"}), ("complete", {"output": 1})):
            (task,) = await web.poll(WORK)
            await web.resolve(task, action, **said)
        await run.result()
        history = await run.history()
        assert "timer.fired" in [event.type for event in history]
        assert {event.trace_parent.split("-")[1] for event in history} == {history[0].trace_parent.split("-")[1]}


@in_virtual_time
async def test_what_one_caller_says_twice_within_one_span_is_said_twice() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        run = await here.client.start("solo")
        for value in (1, 2):
            path = f"/v1/runs/{run.run_id}/signal/go"
            assert (await web.post(path, value, traceparent=OWN)).status == 200
        for order in ("pause", "resume", "pause"):
            assert (await web.post(f"/v1/runs/{run.run_id}/{order}", {}, traceparent=OWN)).status == 200
        types = await here.types(run)
        assert (types.count("signal.received"), types.count("workflow.paused")) == (2, 2)
