"""Step types that workers serve, each as a run that ends: loops, maps, planners, groups. On a real NATS server."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Abort, ConflictError, Continue, Fixed, RunFailed, SyncTaskContext, TaskContext, Workflow, handler
from dagnats.model.event import WorkflowReopened, encode_event
from dagnats.runtime.jetstream.queue import durable_name
from dagnats.runtime.worker import Worker
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer


async def ran(system: System, workflow: Workflow, input: Any = None) -> Any:
    """A run's output, served by a worker."""
    await system.client.register(workflow)
    system.start_worker([workflow])
    run = await system.client.start(workflow, input)
    return await run.result(timeout="30s")


# -- loops -------------------------------------------------------------------------------------------------


async def test_a_loop_hands_its_value_from_turn_to_turn(nats_server: EmbeddedServer) -> None:
    seen: list[tuple[int, int, Any]] = []
    wf = Workflow("loop")

    @wf.agent_loop(max_iterations=9)
    async def think(count: int, ctx: TaskContext) -> str | Continue[int]:
        seen.append((ctx.iteration, count, ctx.previous))
        return Continue(count * 2) if count < 40 else f"{count}"

    async with running(nats_server) as system:
        assert await ran(system, wf, 5) == "40"
        assert seen == [(0, 5, None), (1, 10, 10), (2, 20, 20), (3, 40, 40)]


async def test_a_loop_may_keep_its_input_and_a_retry_is_no_turn(nats_server: EmbeddedServer) -> None:
    seen: list[tuple[int, int]] = []
    wf = Workflow("loop")

    def think(name: str, ctx: SyncTaskContext) -> str | Continue[str]:
        seen.append((ctx.iteration, ctx.attempt))
        if seen[-1] == (1, 1):
            raise RuntimeError("busy")
        return Continue() if ctx.iteration < 2 else name

    wf.agent_loop("think", handler("loop.think")(think)).with_max_iterations(3).with_loop_delay("5ms").with_retry(
        Fixed(max_attempts=1, initial_delay="1ms")
    )
    async with running(nats_server) as system:
        assert await ran(system, wf, "x") == "x"
        assert seen == [(0, 1), (1, 1), (1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Continue(1), r"agent loop exceeded max iterations \(2\)"),
        (Continue("no number"), "what Continue gives to the next turn does not fit int"),
    ],
)
async def test_a_loop_that_cannot_go_on_fails(nats_server: EmbeddedServer, given: Any, said: str) -> None:
    wf = Workflow("loop")

    @wf.agent_loop(max_iterations=2)
    async def think(count: int) -> str | Continue[int]:
        return given

    async with running(nats_server) as system:
        with pytest.raises(RunFailed, match=said):
            await ran(system, wf, 5)


async def test_a_step_that_is_no_loop_cannot_ask_for_another_turn(nats_server: EmbeddedServer) -> None:
    wf = Workflow("flat")

    async def once(value: Any) -> Any:
        return Continue({"a": 1})

    wf.task("once", handler("flat.once")(once))
    async with running(nats_server) as system:
        with pytest.raises(RunFailed, match="asked for another turn, which only an agent_loop has"):
            await ran(system, wf, 5)


# -- maps and planners -------------------------------------------------------------------------------------


async def test_a_map_of_300_items_keeps_their_order(nats_server: EmbeddedServer) -> None:
    wf = Workflow("squares")
    at_once: list[int] = [0, 0]

    @wf.step
    async def numbers(count: int) -> list[int]:
        return list(range(count))

    async def square(number: int) -> int:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0)
        at_once[0] -= 1
        if number == 13:
            raise Abort("unlucky")
        return number * number

    squares = wf.map("squares", handler("map.square")(square), over=numbers)
    squares.with_max_parallel(40).with_on_item_failure("collect")
    async with running(nats_server) as system:
        output = await ran(system, wf, 300)
        failed = output.pop(13)
        assert "unlucky" in failed["error"]
        assert output == [number * number for number in range(300) if number != 13]
        assert at_once[1] <= 40


async def test_an_empty_map_completes(nats_server: EmbeddedServer) -> None:
    wf = Workflow("none")
    numbers = wf.task("numbers", handler("none.numbers")(_nothing))
    wf.map("each", handler("none.each")(_never), over=numbers)
    async with running(nats_server) as system:
        assert await ran(system, wf) == []


async def _nothing() -> list[int]:
    return []


async def _never(number: int) -> int:
    raise AssertionError("never called")


async def test_a_planners_steps_run_before_what_comes_after_it(nats_server: EmbeddedServer) -> None:
    wf = Workflow("plan")

    @wf.planner(max_steps=3)
    async def plan(topic: str) -> dict[str, Any]:
        steps = [{"id": "read", "task": "plan.read"}, {"id": "write", "task": "plan.write", "depends_on": ["read"]}]
        return {"steps": steps}

    @wf.step(after=[plan])
    async def publish(planned: Any) -> Any:
        return planned

    async def read(value: Any) -> str:
        return "read"

    async def write(value: Any) -> str:
        return f"written after {value}"

    async with running(nats_server) as system:
        system.start_worker([handler("plan.read")(read), handler("plan.write")(write)])
        assert "written after read" in str(await ran(system, wf, "x"))


# -- groups ------------------------------------------------------------------------------------------------


async def where(value: str, ctx: TaskContext) -> str:
    return ctx.worker_id


placed = handler("group.place")(where)


def grouped() -> Workflow:
    wf = Workflow("grouped")
    wf.task("gpu", placed).with_worker_group("gpu")
    wf.task("any", placed)
    return wf


async def test_a_group_gets_its_own_tasks_and_no_others(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(grouped())
        system.start_worker([placed], worker_id="in-group", group="gpu")
        system.start_worker([placed], worker_id="outside")
        runs = [await system.client.start("grouped", "x") for _ in range(20)]
        for run in runs:
            assert await run.result(timeout="10s") == {"gpu": "in-group", "any": "outside"}


async def test_the_retry_of_a_grouped_step_reaches_its_group(nats_server: EmbeddedServer) -> None:
    wf = Workflow("regrouped")

    async def flaky(ctx: TaskContext) -> str:
        if ctx.attempt == 1:
            raise RuntimeError("busy")
        return ctx.worker_id

    step = wf.task("gpu", handler("group.flaky")(flaky)).with_worker_group("gpu")
    step.with_retry(Fixed(max_attempts=1, initial_delay="10ms"))
    async with running(nats_server) as system:
        await system.client.register(wf)
        system.start_worker([wf], worker_id="outside")
        system.start_worker([wf], worker_id="in-group", group="gpu")
        assert await (await system.client.start(wf)).result(timeout="10s") == "in-group"


async def test_tasks_of_a_group_are_taken_out_of_their_queue_with_the_others(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(grouped())
        run = await system.client.start("grouped", "x")
        tasks = system.jetstream.ports.tasks

        async def queued(count: int) -> bool:
            found = [await tasks.waiting("group.place", run.run_id, group=group) for group in ("gpu", "")]
            return [len(each) for each in found] == [count, count]

        await until(lambda: queued(1))
        await run.cancel()
        await until(lambda: queued(0))


async def test_a_dead_letter_says_where_its_task_came_from(nats_server: EmbeddedServer) -> None:
    wf = Workflow("fails")

    async def fails(value: str) -> None:
        raise Abort("no")

    wf.task("work", handler("fails.work")(fails)).with_worker_group("gpu")
    async with running(nats_server) as system:
        await system.client.register(wf)
        system.start_worker([wf], group="gpu")
        run = await system.client.start("fails", "x")
        await run.wait(timeout="10s")
        ((subject, headers, _),) = await system.dead_letters()
        assert subject == f"dead.fails.work.{run.run_id}.work"
        said = {name: value for name, value in headers.items() if name.startswith("Dagnats-Dlq-")}
        assert said == {
            "Dagnats-Dlq-Run-Id": run.run_id,
            "Dagnats-Dlq-Step-Id": "work",
            "Dagnats-Dlq-Task": "fails.work",
            "Dagnats-Dlq-Error": "no",
            "Dagnats-Dlq-Attempts": "1",
            "Dagnats-Dlq-Delivery-Count": "1",
            "Dagnats-Dlq-Consumer": "TASK_QUEUES",
            "Dagnats-Dlq-Task-Subject": f"task.fails.work.gpu.{run.run_id}",
        }


async def test_a_dead_letter_goes_when_its_step_succeeds_after_all(nats_server: EmbeddedServer) -> None:
    calls: list[str] = []

    async def second_time(value: str) -> str:
        calls.append(value)
        if len(calls) == 1:
            raise Abort("not yet")
        return value

    wf = Workflow("fails")
    wf.task("work", handler("fails.work")(second_time))
    async with running(nats_server) as system:
        await system.client.register(wf)
        system.start_worker([wf])
        run = await system.client.start("fails", "x")
        assert (await run.wait(timeout="10s")).status == "failed"
        letters = system.jetstream.ports.dead_letters
        assert len(await letters.find(f"fails.work.{run.run_id}.work")) == 1
        await system.jetstream.ports.log.append(
            run.run_id, encode_event(WorkflowReopened(run_id=run.run_id)), id=f"{run.run_id}.again"
        )

        async def completed() -> bool:
            return (await run.view()).status == "completed" and not await letters.find(">")

        await until(completed)


def test_the_consumers_of_types_and_groups_have_names_of_their_own() -> None:
    assert durable_name("a") == "workers-a"
    assert durable_name("a", "b") == "workers-a-b"
    names = Counter(durable_name(*one) for one in [("a.b", ""), ("a-b", ""), ("a.b", "c"), ("a.b.c", ""), ("a-b", "c")])
    assert set(names.values()) == {1}


async def test_a_group_whose_tasks_another_types_workers_would_get_is_refused(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        feeds = system.jetstream.feeds
        feed = await feeds.tasks("a.b", ack_wait_s=1, most=1)
        with pytest.raises(ConflictError, match="task type 'a' in group 'b' shares its subjects with another one"):
            await feeds.tasks("a", ack_wait_s=1, most=1, group="b")
        await feed.close()
        feed = await feeds.tasks("a-b", ack_wait_s=1, most=1)
        with pytest.raises(ConflictError, match="consumer workers-a-b serves"):
            await feeds.tasks("a", ack_wait_s=1, most=1, group="b")
        await feed.close()
        with pytest.raises(ValueError, match="group 'a b' is not valid"):
            Worker(system.client, [placed], group="a b", ack_wait=timedelta(seconds=1))


async def test_a_fan_of_every_kind_joins(nats_server: EmbeddedServer) -> None:
    wf = Workflow("fan")
    left, right = wf.task("left", placed), wf.sleep("right", "1ms")
    last = wf.respond("last").after(left, right)
    wf.sleep("nap", "1ms").after(last)
    async with running(nats_server) as system:
        system.start_worker([placed], worker_id="w")
        await ran(system, wf, "x")
