"""Tasks for one worker alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import RefusedError
from dagnats.runtime.ports import OwnTask
from tests.conformance.test_queue import take
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.ports import Receipt, TaskFeed
    from tests.conformance.backend import Backend, Connected


@asynccontextmanager
async def pulling(
    connection: Connected, worker_id: str, task_type: str = "a", *, ack_wait_s: float = 30.0
) -> AsyncGenerator[TaskFeed]:
    feed = await connection.feeds.tasks(task_type, ack_wait_s=ack_wait_s, most=8)
    await feed.open_own(worker_id)
    try:
        yield feed
    finally:
        await feed.close()


async def put(connection: Connected, n: int, worker_id: str = "w1", task_type: str = "a") -> Receipt:
    task = OwnTask(worker_id, task_type, f"r{n}", f"s.map.{n}", 1)
    return await connection.ports.tasks.put_own(task, b"%d" % n, id=f"own{n}")


async def put_for_all(connection: Connected, n: int) -> None:
    await connection.ports.tasks.put("a", f"r{n}", b"%d" % n, id=f"all{n}")


async def test_a_worker_gets_its_own_tasks_beside_those_for_all_each_once(backend: Backend) -> None:
    async with backend.connected() as connection:
        await put_for_all(connection, 1)
        assert not (await put(connection, 2)).duplicate
        assert (await put(connection, 2)).duplicate
        async with pulling(connection, "w1") as feed:
            own_first = await take(feed, 2)
            assert sorted((task.run_id, task.data, task.deliveries) for task in own_first) == [
                ("r1", b"1", 1),
                ("r2", b"2", 1),
            ]
            for task in own_first:
                task.acknowledge()
            await put(connection, 3)
            await put_for_all(connection, 4)
            assert sorted([task.data for task in await take(feed, 2)]) == [b"3", b"4"]


async def test_nobody_else_gets_a_workers_own_tasks(backend: Backend) -> None:
    async with (
        backend.connected() as connection,
        pulling(connection, "w1") as mine,
        pulling(connection, "w2") as other,
        pulling(connection, "w1", "b") as another_type,
    ):
        await put(connection, 1)
        waiting = [asyncio.create_task(take(feed)) for feed in (other, another_type)]
        assert [task.data for task in await take(mine)] == [b"1"]
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert not done
        await put(connection, 2, "w2")
        await put(connection, 3, "w1", "b")
        assert [[task.data for task in await each] for each in waiting] == [[b"2"], [b"3"]]


async def test_a_worker_that_begins_to_take_its_own_is_woken_by_the_first_one(backend: Backend) -> None:
    async with backend.connected() as connection:
        feed = await connection.feeds.tasks("a", ack_wait_s=30.0, most=8)
        waiting = asyncio.create_task(take(feed))
        await asyncio.sleep(0)
        await feed.open_own("w1")
        await put(connection, 1)
        assert [task.data for task in await waiting] == [b"1"]
        await feed.close()


async def test_a_worker_that_comes_back_under_its_name_finds_its_own_tasks(backend: Backend) -> None:
    async with backend.connected() as connection:
        async with pulling(connection, "my host.1", ack_wait_s=0.4) as feed:
            await put(connection, 1, "my host.1")
            await take(feed)  # and does not answer it
        await put(connection, 2, "my host.1")
        async with pulling(connection, "my host.1", ack_wait_s=0.4) as feed:
            found = await take(feed, 2)
            assert sorted((task.data, task.deliveries) for task in found) == [(b"1", 2), (b"2", 1)]


async def test_one_of_a_runs_own_tasks_is_dropped_and_the_others_stay(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        for item in (1, 2):
            await tasks.put_own(OwnTask("w1", "a.b", "r", f"m.map.{item}", 3), b"%d" % item, id=f"{item}")
        await tasks.put_own(OwnTask("w2", "a.b", "other", "m", 1), b"other", id="other")
        await tasks.put("a.b", "r", b"all", id="all")
        assert sorted(await tasks.waiting("a.b", "r")) == [b"1", b"2", b"all"]
        await tasks.drop_own(OwnTask("w1", "a.b", "r", "m.map.1", 3))
        await tasks.drop_own(OwnTask("w1", "a.b", "r", "m.map.1", 3))
        assert sorted(await tasks.waiting("a.b", "r")) == [b"2", b"all"]
        assert await tasks.waiting("a.b", "r", group="g") == []


async def test_all_of_a_runs_own_tasks_are_dropped_and_those_of_others_stay(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        for worker_id, run_id in (("w1", "r"), ("w2", "r"), ("w2", "other")):
            await tasks.put_own(OwnTask(worker_id, "a", run_id, "s", 1), b"1", id=f"{worker_id}.{run_id}")
        await tasks.drop_all_own("a", "r")
        assert await tasks.waiting("a", "r") == []
        assert await tasks.waiting("a", "other") == [b"1"]


async def test_own_tasks_are_listed_apart_from_all_others_and_removed_by_their_places(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        before_ns = backend.now_ns()
        await put_for_all(connection, 0)
        receipts = [await put(connection, n, worker_id) for n, worker_id in ((1, "w1"), (2, "w2"), (3, "w1"))]
        page = await tasks.page(after=0, count=2, own=True)
        assert [(each.run_id, each.data) for each in page] == [("", b"1"), ("", b"2")]
        assert before_ns <= page[0].time_ns <= page[1].time_ns <= backend.now_ns()
        assert [each.data for each in await tasks.page(after=page[-1].seq, count=2, own=True)] == [b"3"]
        await tasks.remove(receipts[0].seq, page[0].time_ns + 1, own=True)  # another one that was there before
        assert await tasks.page(after=0, count=2, own=True) == page
        await tasks.remove(receipts[0].seq, page[0].time_ns, own=True)
        await tasks.remove(receipts[0].seq, page[0].time_ns, own=True)
        assert [each.data for each in await tasks.page(after=0, count=9, own=True)] == [b"2", b"3"]
        assert [each.data for each in await tasks.page(after=0, count=9)] == [b"0"]


async def test_a_workers_own_tasks_are_there_after_a_restart_of_the_server(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection, "w1") as feed:
        await put(connection, 1)
        await take(feed)
        await backend.restart()
        await put(connection, 2)
        assert [task.data for task in await take(feed)] == [b"2"]
        assert await connection.ports.tasks.waiting("a", "r1") == [b"1"]


async def test_an_acknowledged_task_is_gone(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection, "w1") as feed:
        await put(connection, 1)
        (task,) = await take(feed)
        task.acknowledge()

        async def none_waits() -> bool:
            return not await connection.ports.tasks.waiting("a", "r1")

        await until(none_waits)


async def test_a_task_that_is_too_large_is_refused(backend: Backend) -> None:
    async with backend.connected() as connection:
        with pytest.raises(RefusedError):
            await connection.ports.tasks.put_own(OwnTask("w1", "a", "r", "s", 1), b"x" * (9 << 20), id="1")
