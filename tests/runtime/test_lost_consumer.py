"""What is read through a consumer that the server does not have any more: it had lost it, or somebody removed it."""

from __future__ import annotations

import asyncio

from dagnats import Workflow, handler
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.queue import durable_name
from dagnats.runtime.jetstream.resources import TIMERS, WAKEUPS
from tests.support.system import running


@handler("consumer.work")
async def work(value: int) -> int:
    return value


one = Workflow("one")
one.task("work", work)


async def test_a_worker_whose_queue_has_lost_its_consumer_makes_it_again(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(one)
        system.start_worker([one])
        assert await system.client.run(one, 1) == 1
        await system.jetstream.link.api(f"CONSUMER.DELETE.TASK_QUEUES.{durable_name('consumer.work')}")
        assert await (await system.client.start(one, 2)).result(timeout="10s") == 2


async def test_wake_ups_come_though_their_consumer_was_lost(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        wakeups = await system.jetstream.feeds.wakeups()
        coming = asyncio.create_task(wakeups.batch())
        await system.jetstream.link.api(f"CONSUMER.DELETE.{TIMERS}.{WAKEUPS}")
        await system.jetstream.ports.timers.set("r", due_ns=1, seq=1, replaces=0, id="r.1")
        async with asyncio.timeout(10):
            assert [wakeup.run_id for wakeup in await coming] == ["r"]
        await wakeups.close()
