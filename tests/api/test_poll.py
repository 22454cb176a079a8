"""Polling for tasks over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dagnats import Fixed
from dagnats.model.task import Task, encode_task
from tests.api.site import WORK, in_virtual_time, one_step, site


@in_virtual_time
async def test_a_run_completes_over_http() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run = await here.client.start("solo", {"customer": "acme"})
        (task,) = await web.poll(WORK, worker_id="curl-1")
        assert (task["run_id"], task["step_id"], task["attempt"]) == (run.run_id, "work", 1)
        assert (task["input"], task["task_type"], task["workflow_name"]) == ({"customer": "acme"}, WORK, "solo")
        assert task["ack_wait_ms"] == 60_000
        assert (await web.resolve(task, "complete", output={"sent": True})).status == 200
        assert await run.result() == {"sent": True}
        started, completed = [event for event in await run.history() if event.type.startswith("step.")]
        assert (started.type, completed.type) == ("step.started", "step.completed")
        assert {started.worker_id, completed.worker_id} == {"curl-1"}
        assert await here.waiting(WORK, run) == 0


@in_virtual_time
async def test_a_poll_without_tasks_gives_an_empty_array_when_its_time_is_over() -> None:
    async with site() as here:
        web = await here.api()
        begun = asyncio.get_running_loop().time()
        assert await web.poll(WORK, timeout_ms=3_000) == []
        assert 3 <= asyncio.get_running_loop().time() - begun < 3.5
        assert await web.poll(WORK, timeout_ms=3_600_000) == []  # a minute is the most
        assert asyncio.get_running_loop().time() - begun < 64


@in_virtual_time
async def test_a_poll_returns_as_soon_as_there_is_a_task_of_any_of_its_types() -> None:
    async with site(one_step("a", "a.work"), one_step("b", "b.work")) as here:
        web = await here.api()
        polling = asyncio.create_task(web.poll("a.work", "b.work", timeout_ms=30_000, max_tasks=5))
        await asyncio.sleep(10)
        begun = asyncio.get_running_loop().time()
        run = await here.client.start("b")
        (task,) = await polling
        assert task["run_id"] == run.run_id
        assert asyncio.get_running_loop().time() - begun < 1


@in_virtual_time
async def test_one_poll_gives_tasks_of_several_types_up_to_what_it_asked_for() -> None:
    async with site(one_step("a", "a.work"), one_step("b", "b.work")) as here:
        web = await here.api()
        runs = [await here.client.start(name) for name in "aabb"]
        await asyncio.sleep(1)
        got = await web.poll("a.work", "b.work", max_tasks=3)
        assert len(got) <= 3
        while len(got) < len(runs):
            more = await web.poll("a.work", "b.work", max_tasks=3)
            assert 1 <= len(more) <= 3
            got += more
        assert {task["run_id"] for task in got} == {run.run_id for run in runs}, "each once, and none is lost"


@in_virtual_time
async def test_polls_one_after_the_other_get_one_task_each() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        runs = [await here.client.start("solo") for _ in range(3)]
        got = [task for _ in runs for task in await web.poll(WORK)]
        assert {task["run_id"] for task in got} == {run.run_id for run in runs}
        assert await web.poll(WORK, timeout_ms=0) == []


@in_virtual_time
async def test_polls_side_by_side_share_the_tasks() -> None:
    async with site(one_step()) as here:
        webs = [await here.api(), await here.api()]
        polls = [asyncio.create_task(web.poll(WORK, timeout_ms=30_000)) for web in [*webs, *webs]]
        await asyncio.sleep(1)
        runs = [await here.client.start("solo") for _ in polls]
        got = [task["run_id"] for poll in polls for task in await poll]
        assert sorted(got) == sorted(run.run_id for run in runs)


@in_virtual_time
async def test_what_comes_for_a_poll_that_has_gone_goes_to_the_next_one() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        assert await web.poll(WORK, timeout_ms=500) == []
        run = await here.client.start("solo")  # the queue was asked, and nobody is there any more
        await asyncio.sleep(5)
        assert [task["run_id"] for task in await web.poll(WORK)] == [run.run_id]
        assert (await here.types(run)).count("step.started") == 1


@in_virtual_time
async def test_a_client_that_hangs_up_while_it_waits_leaves_its_place_to_others() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        begun = asyncio.get_running_loop().time()
        asked = {"task_types": [WORK], "timeout_ms": 60_000}
        await web.ask_and_leave("/v1/tasks/poll", asked, after_s=5)
        assert asyncio.get_running_loop().time() - begun < 6
        run = await here.client.start("solo")
        assert [task["run_id"] for task in await web.poll(WORK)] == [run.run_id]
        assert (await here.types(run)).count("step.started") == 1


@in_virtual_time
async def test_who_polls_for_a_group_gets_its_tasks_and_no_others() -> None:
    async with site(one_step("gpu", worker_group="gpu")) as here:
        web = await here.api()
        run = await here.client.start("gpu")
        (task,) = await web.poll(WORK, group="gpu")
        assert (await web.resolve(task, "complete", output=1)).status == 200
        assert await run.result() == 1


@in_virtual_time
async def test_a_poll_whose_queue_shares_subjects_with_another_is_refused_and_says_so() -> None:
    async with site() as here:
        web = await here.api()
        assert await web.poll("a", group="b", timeout_ms=0) == []
        refused = await web.post("/v1/tasks/poll", {"task_types": ["a.b"]})
        assert (refused.status, refused.json["type"]) == (409, "urn:dagnats:conflict")
        assert "shares its subjects" in refused.json["detail"]


@in_virtual_time
async def test_a_poll_of_several_types_works_for_those_that_work_and_names_the_others() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        assert await web.poll("a", group="b", timeout_ms=0) == []
        run = await here.client.start("solo")
        answer = await web.post("/v1/tasks/poll", {"task_types": ["a.b", WORK]})
        assert [task["run_id"] for task in answer.json] == [run.run_id]
        assert "shares its subjects" in answer.headers["dagnats-problems"]


@in_virtual_time
async def test_the_queue_of_other_workers_is_used_as_it_is() -> None:
    async with site(one_step()) as here:
        feed = await here.memory.feeds.tasks(WORK, ack_wait_s=7, most=1)
        web = await here.api()
        await here.client.start("solo")
        (task,) = await web.poll(WORK)
        assert task["ack_wait_ms"] == 7_000
        await feed.close()


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({}, {"$.task_types"}),
        ({"task_types": []}, {"$.task_types"}),
        ({"task_types": ["a b", "x" * 129], "max_tasks": 0}, {"$.task_types[0]", "$.task_types[1]", "$.max_tasks"}),
        ({"task_types": ["a.>"]}, {"$.task_types[0]"}),
        ({"task_types": ["a"], "timeout_ms": -1, "group": "a.b"}, {"$.timeout_ms", "$.group"}),
        ({"task_types": ["a"], "max_tasks": True, "worker_id": "a b"}, {"$.max_tasks", "$.worker_id"}),
        ({"task_types": "a", "timeout_ms": 1.5}, {"$.task_types", "$.timeout_ms"}),
    ],
)
def test_a_poll_that_is_not_right_is_refused_with_everything_that_is_wrong(body: Any, paths: set[str]) -> None:
    async def ask() -> None:
        async with site() as here:
            answer = await (await here.api()).post("/v1/tasks/poll", body)
            assert (answer.status, answer.paths) == (400, paths)
            assert answer.headers["content-type"] == "application/problem+json"

    in_virtual_time(ask)()


# -- what is not handed out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("heard", [True, False])
def test_tasks_of_a_cancelled_run_are_not_handed_out(heard: bool) -> None:
    async def cancel() -> None:
        async with site(one_step()) as here:
            before = await here.api()
            run = await here.client.start("solo")
            await asyncio.sleep(1)
            (stale,) = await here.ports.tasks.waiting(WORK, run.run_id)
            await run.cancel()
            await asyncio.sleep(30)
            web = before if heard else await here.api()  # cancellations are said once
            await here.ports.tasks.put(WORK, run.run_id, stale, id="again")
            assert await web.poll(WORK, timeout_ms=2_000) == []
            assert await here.waiting(WORK, run) == 0
            assert "step.started" not in await here.types(run)

    in_virtual_time(cancel)()


@in_virtual_time
async def test_a_task_that_comes_later_than_it_may_is_not_handed_out() -> None:
    async with site() as here:
        web = await here.api()
        late = Task(run_id="r1", step_id="work", attempt=1, expires=1)
        await here.ports.tasks.put(WORK, "r1", encode_task(late), id="r1")
        assert await web.poll(WORK, timeout_ms=1_000) == []
        assert await here.ports.tasks.waiting(WORK, "r1") == []


@in_virtual_time
async def test_a_task_that_nobody_can_read_goes_to_the_dead_letters() -> None:
    async with site() as here:
        web = await here.api()
        await here.ports.tasks.put(WORK, "r1", b"\xff not a task", id="r1")
        await here.ports.tasks.put(WORK, "r2", encode_task(Task(run_id="r2", step_id="work")), id="r2")
        assert [task["run_id"] for task in await web.poll(WORK, timeout_ms=1_000)] == ["r2"]
        (letter,) = await here.ports.dead_letters.find(f"{WORK}.r1.>")
        assert letter.data == b"\xff not a task"


@in_virtual_time
async def test_an_attempt_whose_pollers_never_answer_is_given_up_at_its_fourth_delivery() -> None:
    async with site(one_step(retry=Fixed(max_attempts=1, initial_delay="1s"))) as here:
        web = await here.api()
        run = await here.client.start("solo")
        for _ in range(3):
            (task,) = await web.poll(WORK, timeout_ms=60_000)
            assert task["attempt"] == 1
            await asyncio.sleep(task["ack_wait_ms"] / 1_000)
        (task,) = await web.poll(WORK, timeout_ms=60_000)
        assert task["attempt"] == 2, "the first attempt was not handed out a fourth time"
        (failed,) = [event for event in await run.history() if event.type == "step.failed"]
        assert "3 workers were lost" in failed.payload["error"]


@in_virtual_time
async def test_a_large_input_comes_whole() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        large = "x" * 400_000
        run = await here.client.start("solo", {"text": large})
        (task,) = await web.poll(WORK)
        assert task["input"] == {"text": large}
        assert (await web.resolve(task, "complete", output=large)).status == 200
        assert await run.result() == large
