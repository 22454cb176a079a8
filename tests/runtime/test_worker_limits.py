"""How much a worker takes: of each task type, and of all. And how it is shown."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

import dagnats
from dagnats import TaskContext, Workflow, handler
from dagnats.runtime.presence import Presence
from dagnats.runtime.slots import Share, Slots
from dagnats.runtime.worker import Worker
from tests.support.processes import until
from tests.support.yard import memory_yard


class Crowd:
    """Handlers that stay until they are let go, and how many there were at a time."""

    def __init__(self) -> None:
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.leave = asyncio.Semaphore(0)

    def handler(self, task_type: str) -> Any:
        @handler(task_type)
        async def stay(ctx: TaskContext) -> None:
            self.inside[task_type] += 1
            self.most[task_type] = max(self.most[task_type], self.inside[task_type])
            self.most["all"] = max(self.most["all"], self.inside.total())
            await self.leave.acquire()
            self.inside[task_type] -= 1

        return stay

    async def has(self, **counts: int) -> None:
        async def there() -> bool:
            return all(self.inside[name] == count for name, count in counts.items())

        await until(there, what=lambda: f"{counts}; there are {self.inside}")


async def test_a_limited_task_type_takes_no_more_and_the_others_get_the_rest() -> None:
    crowd = Crowd()
    async with memory_yard() as yard:
        yard.start([crowd.handler("few"), crowd.handler("many")], concurrency=6, limits={"few": 2})
        for at in range(10):
            await yard.put("few", f"few-{at}")
        await crowd.has(few=2)
        (queue,) = [each for each in await yard.ports.tasks.overview() if each.name == "few"]
        assert (queue.waiting, queue.in_flight) == (8, 2), "what there is no room for stays in the queue"
        for at in range(10):
            await yard.put("many", f"many-{at}")
        await crowd.has(few=2, many=4)
        for _ in range(20):
            crowd.leave.release()
        await yard.is_empty()
        assert crowd.most["few"] == 2
        assert crowd.most["all"] == 6


async def test_a_task_that_is_cancelled_in_the_line_leaves_its_share() -> None:
    crowd = Crowd()
    async with memory_yard() as yard:
        yard.start([crowd.handler("few"), crowd.handler("many")], concurrency=1, limits={"few": 1})
        await yard.put("many", "r0")
        await crowd.has(many=1)
        await yard.put("few", "r1")

        async def pulled() -> bool:  # it was asked for before the only place was taken
            return any(queue.name == "few" and queue.in_flight for queue in await yard.ports.tasks.overview())

        await until(pulled)
        yard.cancel("r1")
        crowd.leave.release()
        await yard.is_empty()
        await yard.put("few", "r2")
        await crowd.has(few=1)


def test_a_share_is_free_where_both_are() -> None:
    all_of_them = Slots(3)
    share = Share(2, all_of_them)
    assert share.free == 2
    assert [share.claim(), share.claim()] == [None, None]
    assert (share.free, all_of_them.free) == (0, 1)
    assert all_of_them.claim() is None
    share.release()
    assert share.free == 1
    assert all_of_them.claim() is None
    assert share.free == 0, "the others have all places"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"concurrency": 0}, "concurrency is 0; it is at least 1"),
        ({"processes": 0}, "processes is 0; it is at least 1"),
        ({"limits": {"few": 0}}, "the limit of 'few' is 0; it is at least 1"),
        ({"limits": {"fow": 1}}, "a limit for 'fow', which this worker does not serve; did you mean 'few'?"),
        ({"limits": {"other.one": 1}}, "a limit for 'other.one', which this worker does not serve: few"),
        ({"worker_id": "a b"}, "worker_id 'a b' is not valid: letters"),
        ({"worker_id": "a..b"}, "worker_id 'a..b' is not valid: letters"),
        ({"group": "a b"}, "group 'a b' is not valid: letters"),
        ({"ack_wait": timedelta(0)}, "ack_wait is 0:00:00; it is at least 0.1 s"),
        ({"grace": timedelta(seconds=-1)}, "grace is -1 day, 23:59:59; it is at least 0 s"),
    ],
)
async def test_a_worker_refuses_what_it_cannot_keep(settings: dict[str, Any], said: str) -> None:
    async with memory_yard() as yard:
        with pytest.raises(ValueError, match=said.replace("?", r"\?")):
            Worker(yard.client, [Crowd().handler("few")], **settings)


def bare() -> None: ...


@pytest.mark.parametrize(
    ("serves", "settings", "said"),
    [
        ([bare], {}, """a worker serves workflows and handlers, not bare; decorate it with @handler("…")"""),
        (["order"], {}, "a worker serves workflows and handlers, not 'order'; give it those"),
        (Workflow("order"), {}, "a list of workflows and handlers, not one of them: write [order]"),
        (handler("few")(bare), {}, "a list of workflows and handlers, not one of them: write [bare]"),
        ([], {"grace": "30s"}, "grace is '30s'; it is a timedelta, such as timedelta(seconds=30)"),
        ([], {"ack_wait": 30}, "ack_wait is 30; it is a timedelta, such as timedelta(seconds=30)"),
    ],
)
async def test_a_worker_says_what_it_takes_instead(serves: Any, settings: dict[str, Any], said: str) -> None:
    async with memory_yard() as yard:
        with pytest.raises(TypeError, match=re.escape(said)):
            Worker(yard.client, serves, **settings)


async def test_a_worker_is_in_the_directory_while_it_runs() -> None:
    crowd = Crowd()
    async with memory_yard() as yard:
        await yard.ports.directory.put("odd", b"no entry at all")
        worker = yard.start(
            [crowd.handler("few"), crowd.handler("many")],
            concurrency=5,
            worker_id="host-7.example.org",
            group="gpu",
            metadata={"zone": "b"},
        )

        async def shown() -> bool:
            return bool(await yard.client.workers())

        await until(shown)
        (entry,) = await yard.client.workers()
        assert (entry.worker_id, entry.task_types, entry.groups) == ("host-7.example.org", ("few", "many"), ("gpu",))
        assert (entry.language, entry.transport, entry.max_tasks) == ("python", "nats", 5)
        assert (entry.pid, entry.hostname, entry.version) == (os.getpid(), socket.gethostname(), dagnats.__version__)
        assert (entry.metadata, entry.last_seen[:4]) == ({"zone": "b"}, "2026")
        worker.stop()

        async def left() -> bool:
            return not await yard.client.workers()

        await until(left)


async def test_a_worker_renews_its_entry_as_often_as_it_has_to() -> None:
    class Forgetful:
        """A directory that has to be told again and again."""

        renew_s = 0.001
        puts = 0

        async def put(self, worker_id: str, data: bytes) -> None:
            self.puts += 1
            if self.puts == 2:
                raise dagnats.DagnatsError("nobody answers")

    async with memory_yard() as yard:
        directory = Forgetful()
        ports: Any = type("Ports", (), {"directory": directory, "clock": yard.ports.clock})
        showing = asyncio.create_task(Presence(ports, dagnats_entry()).show())

        async def renewed() -> bool:
            return directory.puts >= 4

        await until(renewed)
        showing.cancel()


def dagnats_entry() -> Any:
    from dagnats.model.worker import WorkerEntry

    return WorkerEntry(worker_id="w")
