"""Runs that keep to one worker, on a real server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import TaskContext, Workflow, handler
from dagnats.errors import ConflictError
from dagnats.runtime.jetstream.resources import OWN_TASKS
from dagnats.runtime.ports import OwnTask
from tests.conformance.test_queue import take
from tests.support.nats import prepared
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.link import Link


async def test_all_tasks_of_a_run_go_to_the_worker_that_gave_its_first_result(nats_server: EmbeddedServer) -> None:
    wf = Workflow("own-runs").with_sticky("soft")

    async def work(ctx: TaskContext) -> str:
        return ctx.worker_id

    steps = [wf.task(name, handler(f"own.{name}")(work)) for name in ("first", "second", "third")]
    for before, after in pairwise(steps):
        after.after(before)
    async with running(nats_server) as system:
        await system.client.register(wf)
        for _ in range(2):
            system.start_worker([wf])
        runs = [await system.client.start(wf) for _ in range(8)]
        for run in runs:
            view = await run.wait(timeout="30s")
            assert view.status == "completed"
            assert len({step.worker_id for step in view.steps}) == 1
            assert {step.attempts for step in view.steps} == {1}


async def test_a_worker_whose_consumer_the_server_has_forgotten_makes_it_again(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        feed = await jetstream.feeds.tasks("own.forgotten", ack_wait_s=30.0, most=8)
        await feed.open_own("w1")
        (consumer,) = await _consumers(jetstream.link, "own.forgotten")
        assert consumer["config"]["inactive_threshold"] == 300_000_000_000
        waiting = asyncio.create_task(take(feed))
        await jetstream.link.api(f"CONSUMER.DELETE.{OWN_TASKS}.{consumer['name']}")
        task = OwnTask("w1", "own.forgotten", "r", "s", 1)
        await jetstream.ports.tasks.put_own(task, b"1", id="forgotten")
        (delivery,) = await waiting
        assert (delivery.run_id, delivery.data) == ("r", b"1")
        delivery.acknowledge()
        await feed.close()


async def test_a_worker_whose_subjects_another_task_type_has_is_refused(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        first = await jetstream.feeds.tasks("own.a", ack_wait_s=30.0, most=8)
        other = await jetstream.feeds.tasks("own.a.w.x", ack_wait_s=30.0, most=8)
        await first.open_own("w")
        with pytest.raises(ConflictError, match=r"'own.a.w.x' for worker 'v' shares its subjects with another one"):
            await other.open_own("v")
        await first.close()
        await other.close()


async def test_a_worker_that_no_sticky_run_has_met_makes_no_consumer(nats_server: EmbeddedServer) -> None:
    wf = Workflow("own-none")

    @wf.step
    async def own_none() -> int:
        return 1

    async with running(nats_server) as system:
        await system.client.register(wf)
        system.start_worker([wf], ack_wait=timedelta(seconds=5))
        assert (await (await system.client.start(wf)).wait(timeout="30s")).status == "completed"
        assert await _consumers(system.jetstream.link, own_none.task) == []
        system.start_worker([wf], worker_id="named")

        async def is_made() -> bool:
            return len(await _consumers(system.jetstream.link, own_none.task)) == 1

        await until(is_made)


async def _consumers(link: Link, task_type: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await link.api(f"CONSUMER.LIST.{OWN_TASKS}")).get("consumers") or []
    return [each for each in found if each["config"]["filter_subject"].startswith(f"sticky.{task_type}.")]
