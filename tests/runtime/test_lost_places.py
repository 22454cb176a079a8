"""A stream that lost its end in a power cut gives its places again, while somebody has what lay there before."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import UnavailableError
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.channel import Message
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.namespace import NamespacedChannel
from dagnats.runtime.jetstream.natspy import NatsPy
from dagnats.runtime.jetstream.policy import Policy
from dagnats.runtime.jetstream.pull import deliveries_of, place_of, stored_at
from dagnats.runtime.jetstream.queue import durable_name
from dagnats.runtime.jetstream.resources import OWN_TASKS, TASKS, TIMERS
from dagnats.runtime.jetstream.wire import Wire
from dagnats.runtime.ports import OwnTask
from tests.support.nats import port_of
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from dagnats.runtime.jetstream.channel import Channel
    from dagnats.runtime.ports import Queued, TaskDelivery, TaskFeed

KINDS = pytest.mark.parametrize("kind", [Wire, NatsPy], ids=["own", "nats-py"])


class Stand:
    """A server whose streams can lose their ends, and a connection that outlives it."""

    def __init__(self, server: EmbeddedServer, jetstream: JetStream) -> None:
        self.server = server
        self.jetstream = jetstream
        self.ports = jetstream.ports

    async def feed(self, task_type: str = "a", ack_wait_s: float = 30) -> TaskFeed:
        return await self.jetstream.feeds.tasks(task_type, ack_wait_s=ack_wait_s, most=8)

    async def restart(self, *, keep: str = "", lose: str = "") -> None:
        """Stop the server and start it again.

        Args:
            keep: The stream of which to remember what it has.
            lose: The stream that has no more than what it had then.
        """
        await self.server.stop()
        kept = self.server.folder / "kept"
        if keep:
            shutil.copytree(self._messages(keep), kept)
        if lose:
            shutil.rmtree(self._messages(lose))
            shutil.copytree(kept, self._messages(lose))
        self.server = EmbeddedServer(self.server.folder, port=port_of(self.server))
        await self.server.start()

        async def reached() -> bool:
            try:
                return bool(await self.jetstream.link.api("INFO"))
            except UnavailableError:
                return False

        await until(reached)

    def _messages(self, stream: str) -> Path:
        return next((self.server.folder / "jetstream").rglob(stream)) / "msgs"

    async def places(self, *, own: bool = False) -> list[int]:
        """The places that tasks have."""
        return [queued.seq for queued in await self.ports.tasks.page(after=0, count=100, own=own)]

    async def emptied(self, place: int, *, own: bool = False) -> None:
        """Wait until a place is free."""

        async def free() -> bool:
            return place not in await self.places(own=own)

        await until(free)


@asynccontextmanager
async def standing(kind: type[Wire | NatsPy], server: EmbeddedServer, namespace: str = "") -> AsyncGenerator[Stand]:
    async def dial() -> Link:
        channel: Channel = await kind.connect(server.url, token=server.token)
        return Link(NamespacedChannel(channel, namespace) if namespace else channel)

    link = await dial()
    async with JetStream(link, Policy(link), dial) as jetstream:
        await jetstream.ports.server.prepare()
        stand = Stand(server, jetstream)
        try:
            yield stand
        finally:
            await stand.server.stop()


async def taken(feed: TaskFeed, run_id: str) -> TaskDelivery:
    [task] = await feed.take(1)
    assert task.run_id == run_id
    return task


@KINDS
async def test_a_task_that_was_lost_is_not_acknowledged_in_the_place_of_another(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    async with standing(kind, nats_server) as stand:
        tasks, feed = stand.ports.tasks, await stand.feed()
        first = await tasks.put("a", "first", b"", id="first")
        (await taken(feed, "first")).acknowledge()
        await stand.emptied(first.seq)
        await stand.restart(keep=TASKS)
        lost = [await tasks.put("a", f"lost-{n}", b"", id=f"lost-{n}") for n in range(2)]
        held = [await taken(feed, f"lost-{n}") for n in range(2)]
        await stand.restart(lose=TASKS)
        unserved = await tasks.put("b", "unserved", b"", id="unserved")
        other = await tasks.put("a", "other", b"", id="other")
        assert [unserved.seq, other.seq] == [task.seq for task in lost], "they have the places of those that were lost"
        others = await taken(feed, "other")
        last = await tasks.put("a", "last", b"", id="last")
        lasts = await taken(feed, "last")
        for task in held:
            task.acknowledge()
        stand.ports.tasks.held(lasts.address).acknowledge()  # looked at behind those
        await stand.emptied(last.seq)
        assert await stand.places() == [unserved.seq, other.seq]
        others.acknowledge()
        await stand.emptied(other.seq)
        await feed.close()


@pytest.mark.parametrize(("task_type", "group"), [("b", ""), ("a.b", ""), ("a", "g")])
async def test_a_worker_gets_no_task_of_another_type_from_a_queue_that_lost_everything(
    task_type: str, group: str, nats_server: EmbeddedServer
) -> None:
    async with standing(Wire, nats_server) as stand:
        tasks, feed = stand.ports.tasks, await stand.feed(ack_wait_s=1)
        await stand.restart(keep=TASKS)
        await tasks.put("a", "lost", b"", id="lost")
        await taken(feed, "lost")
        await stand.restart(lose=TASKS)
        await tasks.put(task_type, "others", b"", id="others", group=group)
        taking = asyncio.create_task(taken(feed, "mine"))

        async def delivered_again() -> bool:
            consumer = await stand.jetstream.link.api(f"CONSUMER.INFO.{TASKS}.{durable_name('a')}")
            return bool(consumer["num_redelivered"])

        await until(delivered_again)
        await tasks.put("a", "mine", b"", id="mine")
        await taking
        assert await stand.places() == [1, 2], "nothing was acknowledged"
        await feed.close()


async def test_a_task_for_one_worker_that_was_lost_is_not_acknowledged_in_the_place_of_another(
    nats_server: EmbeddedServer,
) -> None:
    def own(step_id: str) -> OwnTask:
        return OwnTask("w", "a", "r", step_id, 1)

    async with standing(Wire, nats_server) as stand:
        tasks, feed = stand.ports.tasks, await stand.feed()
        await feed.open_own("w")
        first = await tasks.put_own(own("first"), b"", id="first")
        (await taken(feed, "r")).acknowledge()
        await stand.emptied(first.seq, own=True)
        await stand.restart(keep=OWN_TASKS)
        await tasks.put_own(own("lost"), b"", id="lost")
        lost = await taken(feed, "r")
        await stand.restart(lose=OWN_TASKS)
        other = await tasks.put_own(own("other"), b"", id="other")
        await taken(feed, "r")
        last = await tasks.put_own(own("last"), b"", id="last")
        lasts = await taken(feed, "r")
        lost.acknowledge()
        stand.ports.tasks.held(lasts.address).acknowledge()
        await stand.emptied(last.seq, own=True)
        assert await stand.places(own=True) == [other.seq]
        await feed.close()


async def test_a_wake_up_that_was_lost_is_not_acknowledged_in_the_place_of_another(nats_server: EmbeddedServer) -> None:
    async with standing(Wire, nats_server) as stand:
        timers, feed = stand.ports.timers, await stand.jetstream.feeds.wakeups()
        await stand.restart(keep=TIMERS)
        await timers.set("lost", due_ns=1, seq=1, replaces=0, id="lost")
        [lost] = await feed.batch()
        await stand.restart(lose=TIMERS)
        later_ns = time.time_ns() + 3600 * 10**9
        for n in range(2):  # one for the schedule's place, one for that of what came due
            await timers.set(f"r{n}", due_ns=later_ns, seq=1, replaces=0, id=f"r{n}")
        await timers.set("last", due_ns=1, seq=1, replaces=0, id="last")
        [last] = await feed.batch()
        lost.acknowledge()
        await stand.jetstream.link.api("INFO")
        last.acknowledge()

        async def none_is_due() -> bool:
            return "last" not in {each.run_id for each in await timers.all()}

        await until(none_is_due)
        assert {each.run_id for each in await timers.all()} == {"r0", "r1"}
        await feed.close()


@pytest.mark.parametrize("own", [False, True], ids=["of all", "of one worker"])
async def test_a_task_that_was_lost_is_not_removed_in_the_place_of_another(
    own: bool, nats_server: EmbeddedServer
) -> None:
    async with standing(Wire, nats_server) as stand:
        tasks, stream = stand.ports.tasks, OWN_TASKS if own else TASKS

        async def queued(run_id: str) -> Queued:
            if own:
                await tasks.put_own(OwnTask("w", "a", run_id, "s", 1), b"", id=run_id)
            else:
                await tasks.put("a", run_id, b"", id=run_id)
            [found] = await tasks.page(after=0, count=9, own=own)
            return found

        await stand.restart(keep=stream)
        lost = await queued("lost")
        await stand.restart(lose=stream)
        other = await queued("other")
        assert other.seq == lost.seq, "it has the place of the one that was lost"
        await tasks.remove(lost.seq, lost.time_ns, own=own)
        assert await stand.places(own=own) == [other.seq]
        await tasks.remove(other.seq, other.time_ns, own=own)
        assert await stand.places(own=own) == []


@pytest.mark.parametrize("namespace", ["", "staging"])
@KINDS
async def test_what_was_taken_before_a_restart_is_acknowledged_after_it(
    kind: type[Wire | NatsPy], namespace: str, nats_server: EmbeddedServer
) -> None:
    async with standing(kind, nats_server, namespace) as stand:
        feed = await stand.feed()
        put = [await stand.ports.tasks.put("a", f"r{n}", b"", id=f"r{n}") for n in range(2)]
        mine, anyones = await taken(feed, "r0"), await taken(feed, "r1")
        await stand.restart()
        mine.acknowledge()
        await stand.emptied(put[0].seq)
        stand.ports.tasks.held(anyones.address).acknowledge()
        await stand.emptied(put[1].seq)
        await feed.close()


@pytest.mark.parametrize("before", ["", "_.szMpdrwD.", "hub.szMpdrwD."])
def test_a_delivered_message_says_where_it_is_stored(before: str) -> None:
    """The longer forms are those of a server with the flag `js_ack_fc_v2`."""
    message = Message("task.a.r1", f"$JS.ACK.{before}TASK_QUEUES.workers-a.3.17.21.1795349843569426133.4", b"", b"")
    assert stored_at(message.reply) == ("TASK_QUEUES", 17, 1795349843569426133)
    assert place_of(message) == (17, 21, 1795349843569426133)
    assert deliveries_of(message) == 3
