"""Task queues: each task to one worker at a time, until it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import RefusedError
from dagnats.runtime.jetstream.adapter import JetStream
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.ports import TaskDelivery, TaskFeed
    from tests.conformance.backend import Backend, Connected

SHORT_S = 0.4


@asynccontextmanager
async def pulling(
    connection: Connected, task_type: str = "a", *, ack_wait_s: float = 30.0, most: int = 8
) -> AsyncGenerator[TaskFeed]:
    feed = await connection.feeds.tasks(task_type, ack_wait_s=ack_wait_s, most=most)
    try:
        yield feed
    finally:
        await feed.close()


async def put(connection: Connected, *numbers: int) -> None:
    for n in numbers:
        await connection.ports.tasks.put("a", f"r{n}", b"%d" % n, id=str(n))


async def take(feed: TaskFeed, count: int = 1) -> list[TaskDelivery]:
    taken: list[TaskDelivery] = []
    async with asyncio.timeout(20):
        while len(taken) < count:
            taken += await feed.take(count - len(taken))
    return taken


async def emptied(connection: Connected, run_id: str) -> None:
    async def none_waits() -> bool:
        return not await connection.ports.tasks.waiting("a", run_id)

    await until(none_waits)


def moved(address: str, seq: int) -> str:
    """A held task's address, had it lain in another place."""
    between, at = (" ", -2) if " " in address else (".", -4)
    parts = address.split(between)
    parts[at] = str(seq)
    return between.join(parts)


async def test_tasks_of_one_type_come_in_order_each_once(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed:
        await put(connection, 1, 2, 3)
        await connection.ports.tasks.put("b", "r4", b"other", id="4")
        duplicate = await connection.ports.tasks.put("a", "r1", b"1", id="1")
        assert duplicate.duplicate
        taken = await take(feed, 3)
        assert [(task.run_id, task.data, task.deliveries) for task in taken] == [
            ("r1", b"1", 1),
            ("r2", b"2", 1),
            ("r3", b"3", 1),
        ]
        for task in taken:
            task.acknowledge()
        await emptied(connection, "r3")
        await put(connection, 5)
        assert [task.data for task in await take(feed)] == [b"5"]


async def test_no_more_tasks_are_taken_than_there_is_room_for(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed, pulling(connection) as other:
        await put(connection, *range(10))
        first = await feed.take(3)
        assert 1 <= len(first) <= 3
        rest = await take(other, 10 - 3)
        assert len({task.run_id for task in [*first, *rest]}) == len(first) + len(rest)


async def test_a_task_whose_worker_is_silent_for_the_ack_wait_comes_again(backend: Backend) -> None:
    async with (
        backend.connected() as one,
        backend.connected() as other,
        pulling(one, ack_wait_s=SHORT_S) as silent,
        pulling(other, ack_wait_s=SHORT_S) as heir,
    ):
        await put(one, 1)
        (task,) = await take(silent)
        (again,) = await take(heir)
        assert (task.deliveries, again.deliveries, again.data) == (1, 2, b"1")
        task.acknowledge()  # late, and still an answer
        await emptied(one, "r1")


async def test_a_held_task_is_answered_over_any_connection_that_knows_its_address(backend: Backend) -> None:
    async with backend.connected() as one, pulling(one) as feed, backend.connected() as other:
        await put(one, 1, 2)
        first, second = await take(feed, 2)
        other.ports.tasks.held(first.address).hand_back()
        (again,) = await take(feed)
        assert (again.run_id, again.deliveries) == ("r1", 2)
        assert again.address != first.address
        other.ports.tasks.held(again.address).acknowledge()
        other.ports.tasks.held(second.address).keep()
        await emptied(one, "r1")
        assert await one.ports.tasks.waiting("a", "r2")


async def test_a_task_of_another_type_is_not_acknowledged_by_who_has_none_there(backend: Backend) -> None:
    """What the server does when it is told, whoever has looked before: it goes by what its consumer has handed out."""
    async with backend.connected() as connection, pulling(connection) as feed, pulling(connection, "b"):
        tasks = connection.ports.tasks
        another = await tasks.put("b", "r2", b"2", id="2")
        await put(connection, 1)
        (task,) = await take(feed)
        address = moved(task.address, another.seq)
        if isinstance(connection, JetStream):
            connection.link.send(address, b"+ACK")  # we would look, and say nothing
        else:
            tasks.held(address).acknowledge()
        task.acknowledge()
        await emptied(connection, "r1")  # they are heard in order
        assert await tasks.waiting("b", "r2") == [b"2"]


async def test_a_task_that_has_the_place_of_the_one_that_was_meant_is_not_acknowledged(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed:
        tasks = connection.ports.tasks
        unserved = await tasks.put("b", "r2", b"2", id="2")
        mine = await tasks.put("a", "r3", b"3", id="3")
        await asyncio.sleep(0.001)  # they would all have come at one instant, where time is virtual
        await put(connection, 1)
        other, task = await take(feed, 2)
        assert other.run_id == "r3"
        for another in (unserved, mine):
            tasks.held(moved(task.address, another.seq)).acknowledge()
        tasks.held(task.address).acknowledge()
        await emptied(connection, "r1")
        assert (await tasks.waiting("b", "r2"), await tasks.waiting("a", "r3")) == ([b"2"], [b"3"])
        other.acknowledge()
        await emptied(connection, "r3")


async def test_a_task_that_is_kept_does_not_come_again(backend: Backend) -> None:
    async with (
        backend.connected() as connection,
        pulling(connection, ack_wait_s=SHORT_S) as feed,
        pulling(connection) as other,
    ):
        await put(connection, 1)
        (task,) = await take(feed)
        waiting = asyncio.create_task(take(other))
        for _ in range(6):
            task.keep()
            done, _ = await asyncio.wait([waiting], timeout=SHORT_S / 3)
            assert not done
        (again,) = await waiting  # nobody keeps it any more
        assert again.deliveries == 2


async def test_a_task_that_is_handed_back_comes_at_once_or_after_the_delay(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed:
        loop = asyncio.get_running_loop()
        await put(connection, 1)
        (task,) = await take(feed)
        begun = loop.time()
        task.hand_back()
        (again,) = await take(feed)
        assert loop.time() - begun < 5
        begun = loop.time()
        again.hand_back(SHORT_S)
        (third,) = await take(feed)
        assert SHORT_S <= loop.time() - begun < SHORT_S + 5
        assert [each.deliveries for each in (task, again, third)] == [1, 2, 3]


async def test_what_was_pulled_and_not_taken_goes_back_when_a_feed_closes(backend: Backend) -> None:
    async with backend.connected() as connection:
        feed = await connection.feeds.tasks("a", ack_wait_s=30.0, most=8)
        waiting = asyncio.create_task(feed.take(8))
        await put(connection, *range(8))
        taken = await waiting
        await feed.close()
        async with pulling(connection) as other:
            rest = await take(other, 8 - len(taken))
        assert sorted(task.run_id for task in [*taken, *rest]) == [f"r{n}" for n in range(8)]


@pytest.mark.parametrize("where", ["at the server", "in the socket"])
async def test_what_is_on_its_way_when_a_feed_closes_goes_back_too(backend: Backend, where: str) -> None:
    """Else it would wait for the ack wait, which is longer here than `take` has patience."""
    async with backend.connected() as one, backend.connected() as other:
        feed = await one.feeds.tasks("a", ack_wait_s=60.0, most=500)
        waiting = asyncio.create_task(feed.take(500))
        await put(other, 0)
        (first,) = await waiting  # the rest of the 500 is asked for
        first.acknowledge()
        putting = [other.ports.tasks.put("a", f"r{n}", b"%d" % n, id=str(n)) for n in range(1, 401)]
        if where == "in the socket":
            await putting[0]
            time.sleep(0.1)  # noqa: ASYNC251  # nothing that arrives meanwhile is read
        await feed.close()
        await asyncio.gather(*putting[1:])
        async with pulling(other, most=500) as heir:
            rest = await take(heir, 400)
        assert {task.run_id for task in rest} == {f"r{n}" for n in range(1, 401)}


async def test_a_runs_tasks_wait_until_they_are_acknowledged(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        assert (await tasks.waiting("a", "r1"), await tasks.last()) == ([], 0)
        for n in (1, 2):
            await tasks.put("a", "r1", b"%d" % n, id=f"r1.{n}")
        await tasks.put("a", "r2", b"other", id="r2")
        await tasks.put("a.b", "r1", b"other", id="r1.b")
        assert await tasks.waiting("a", "r1") == [b"1", b"2"]
        assert await tasks.last() == 4
        async with pulling(connection) as feed:
            (delivery,) = await feed.take(1)
            assert await tasks.waiting("a", "r1") == [b"1", b"2"]  # in a worker's hands
            delivery.acknowledge()

            async def acknowledged() -> bool:
                return await tasks.waiting("a", "r1") == [b"2"]

            await until(acknowledged)
            await tasks.drop("a", "r1", upto=4)
            assert (await tasks.waiting("a", "r1"), await tasks.waiting("a", "r2")) == ([], [b"other"])
            assert await tasks.last() == 4


async def test_a_dropped_task_is_not_handed_out(backend: Backend) -> None:
    async with backend.connected() as connection:
        await put(connection, 1, 2)
        await connection.ports.tasks.drop("a", "r1", upto=2)
        await connection.ports.tasks.drop("a", "nobody", upto=2)
        async with pulling(connection) as feed:
            assert [task.run_id for task in await take(feed)] == ["r2"]


async def test_tasks_behind_the_last_one_that_is_to_be_dropped_stay(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        for n in (1, 2, 3):
            await tasks.put("a", "r1", b"%d" % n, id=f"r1.{n}")
            await tasks.put("a", "r1", b"of g %d" % n, id=f"r1.g.{n}", group="g")
        await tasks.drop("a", "r1", upto=0)  # none was known
        assert await tasks.waiting("a", "r1") == [b"1", b"2", b"3"]
        await tasks.drop("a", "r1", upto=3)
        assert await tasks.waiting("a", "r1") == [b"3"]
        assert await tasks.waiting("a", "r1", group="g") == [b"of g 2", b"of g 3"]


async def test_a_second_worker_takes_over_the_queues_ack_wait(backend: Backend) -> None:
    async with backend.connected() as connection:
        async with pulling(connection, ack_wait_s=2.0) as first:
            assert first.ack_wait_s == 2.0
        async with pulling(connection, ack_wait_s=60.0) as second:
            assert second.ack_wait_s == 2.0


async def test_a_task_that_is_too_large_is_refused(backend: Backend) -> None:
    async with backend.connected() as connection:
        with pytest.raises(RefusedError, match="has 9000000 bytes"):
            await connection.ports.tasks.put("a", "r1", b"x" * 9_000_000, id="1")
        assert await connection.ports.tasks.last() == 0


async def test_every_worker_that_listens_hears_of_a_cancellation(backend: Backend) -> None:
    async with backend.connected() as engine, backend.connected() as one, backend.connected() as other:
        heard: dict[Connected, list[tuple[str, bytes]]] = {one: [], other: []}
        ends = {
            worker: worker.feeds.cancellations(lambda run_id, data, worker=worker: heard[worker].append((run_id, data)))
            for worker in heard
        }
        for worker in heard:
            await worker.ports.log.last()  # the server knows of the subscription
        engine.ports.tasks.cancel("r1", b"why")

        async def told() -> bool:
            return all(heard.values())

        await until(told)
        ends[other]()
        await other.ports.log.last()
        engine.ports.tasks.cancel("r2", b"why")

        async def one_more() -> bool:
            return len(heard[one]) == 2

        await until(one_more)
        await other.ports.log.last()
        assert heard[other] == [("r1", b"why")]


async def test_a_worker_goes_on_after_a_restart_of_the_server(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed:
        await put(connection, 1)
        (task,) = await take(feed)
        waiting = asyncio.create_task(take(feed))
        await backend.restart()
        await put(connection, 2)
        assert [each.data for each in await waiting] == [b"2"]
        task.acknowledge()
        await emptied(connection, "r1")


async def test_queues_tell_what_waits_who_has_what_and_which_nobody_serves(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        assert await tasks.overview() == []
        feed = await connection.feeds.tasks("served.type", ack_wait_s=30.0, most=10)
        for at in range(3):
            await tasks.put("served.type", f"r{at}", b"{}", id=f"s{at}")
            await tasks.put("lonely", f"r{at}", b"{}", id=f"l{at}")
        (delivery,) = await feed.take(1)
        await feed.close()
        async with asyncio.timeout(5):
            while (found := await tasks.overview())[1].waiting != 2:
                pass  # what was pulled and not taken is on its way back
        lonely, served = found
        assert (lonely.name, lonely.waiting, lonely.in_flight, lonely.ack_wait_s) == ("lonely", 3, 0, 0.0)
        assert (served.name, served.waiting, served.in_flight, served.ack_wait_s) == ("served.type", 2, 1, 30.0)
        assert 0 < served.oldest_ns < lonely.oldest_ns + 1_000_000_000
        delivery.acknowledge()


async def test_how_full_the_queues_are_counts_what_workers_have_too(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed:
        tasks = connection.ports.tasks
        assert await tasks.fill() == (0, 0.0)
        await put(connection, 1, 2)
        await tasks.put("b", "r3", b"3", id="3", group="g")
        await take(feed, 1)
        assert await tasks.fill() == (3, 0.0), "a server without bounds has no share that is taken"


async def test_a_queue_that_nobody_needs_is_forgotten_and_no_other_one(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        for name in ("once", "once.more"):
            feed = await connection.feeds.tasks(name, ack_wait_s=30.0, most=10)
            await feed.close()
        await tasks.forget("once")
        await tasks.forget("once")
        assert [queue.name for queue in await tasks.overview()] == ["once.more"]


async def test_tasks_are_listed_with_their_places_and_removed_by_them(backend: Backend) -> None:
    async with backend.connected() as connection, pulling(connection) as feed:
        tasks = connection.ports.tasks
        before_ns = backend.now_ns()
        await put(connection, 1, 2)
        third = await tasks.put("b", "r3", b"3", id="3", group="g")
        await take(feed, 1)  # one that a worker has is there as well
        first = await tasks.page(after=0, count=2)
        assert [(each.run_id, each.data) for each in first] == [("r1", b"1"), ("r2", b"2")]
        (other,) = await tasks.page(after=first[-1].seq, count=2)
        assert (other.seq, other.run_id, other.data) == (third.seq, "r3", b"3")
        assert before_ns <= first[0].time_ns <= other.time_ns <= backend.now_ns()
        await tasks.remove(first[1].seq, first[1].time_ns)
        await tasks.remove(first[1].seq, first[1].time_ns)  # one that is not there is fine
        assert [each.seq for each in await tasks.page(after=0, count=9)] == [first[0].seq, third.seq]
        assert await tasks.page(after=third.seq, count=9) == []


async def test_a_task_that_has_the_place_of_the_one_that_was_meant_is_not_removed(backend: Backend) -> None:
    async with backend.connected() as connection:
        tasks = connection.ports.tasks
        await put(connection, 1)
        await asyncio.sleep(0.001)  # they would both have come at one instant, where time is virtual
        await put(connection, 2)
        before = await tasks.page(after=0, count=9)
        first, second = before
        await tasks.remove(second.seq, first.time_ns)
        assert await tasks.page(after=0, count=9) == before
