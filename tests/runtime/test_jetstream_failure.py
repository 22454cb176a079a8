"""The adapter under servers that restart, die, freeze and refuse: what was accepted is stored once, and goes on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import RefusedError, UnavailableError
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.ports import Receipt
from tests.support.nats import frozen, port_of, prepared, restarted, through_proxy
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.jetstream.adapter import JetStream
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.ports import Entry, Sync


async def collect(jetstream: JetStream, into: list[Entry]) -> None:
    feed = await jetstream.feeds.history(0)
    try:
        while True:
            into += await feed.batch()
    finally:
        await feed.close()


async def lost(jetstream: JetStream) -> None:
    """Wait until the connection is known to be lost."""

    async def noticed() -> bool:
        return not jetstream.link.send("anything")

    await until(noticed)


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("sync", ["interval", "always"])
async def test_writes_reads_and_wake_ups_go_on_through_four_failures_of_the_server(
    nats_server: EmbeddedServer, kill: bool, sync: Sync
) -> None:
    """Writers keep a few hundred writes pending, a feed and a task feed are open, wake-ups are on their way."""
    async with prepared(nats_server) as jetstream:
        await jetstream.ports.server.prepare(sync=sync)
        ports, accepted, taken = jetstream.ports, set[str](), set[str]()
        entries: list[Entry] = []
        woken: set[str] = set()
        done = asyncio.Event()

        async def write(writer: int) -> None:
            n = 0
            while not done.is_set():
                run_id = f"r{writer}-{n}"
                due_ns = time.time_ns() + 200_000_000
                await ports.log.append(run_id, b"", id=run_id)
                await ports.tasks.put("a", run_id, b"", id=run_id)
                if n % 20 == 0:
                    await ports.timers.set(run_id, due_ns=due_ns, seq=1, replaces=0, id=f"{run_id}.1")
                accepted.add(run_id)
                n += 1

        async def work() -> None:
            feed = await jetstream.feeds.tasks("a", ack_wait_s=1, most=64)
            while True:
                for delivery in await feed.take(64):
                    taken.add(delivery.run_id)
                    delivery.acknowledge()

        async def wake() -> None:
            feed = await jetstream.feeds.wakeups()
            while True:
                for wakeup in await feed.batch():
                    woken.add(wakeup.run_id)
                    wakeup.acknowledge()

        readers = [asyncio.create_task(each) for each in (collect(jetstream, entries), work(), wake())]
        writers = [asyncio.create_task(write(n)) for n in range(200)]
        for _ in range(4):
            before = len(accepted)

            async def going(before: int = before) -> bool:
                return len(accepted) >= before + 500

            await until(going)
            nats_server = await restarted(nats_server, kill=kill)
        done.set()
        await asyncio.gather(*writers)
        last = await ports.log.last()

        async def all_read() -> bool:
            everything = len(entries) == last and accepted <= taken
            return everything and woken == {run_id for run_id in accepted if int(run_id.partition("-")[2]) % 20 == 0}

        def missing() -> str:
            return f"{last - len(entries)} events, {len(accepted - taken)} tasks, {len(woken)} wake-ups came"

        await until(all_read, within_s=30, what=missing)
        assert [entry.seq for entry in entries] == list(range(1, last + 1))
        assert sorted(entry.run_id for entry in entries) == sorted(accepted)
        for reader in readers:
            reader.cancel()
    await nats_server.stop()


async def test_a_frozen_server_is_given_up_within_five_seconds_and_nothing_is_stored_twice(
    nats_server: EmbeddedServer,
) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        async with frozen(nats_server):
            begun = time.monotonic()
            going = [log.append(f"r{n}", b"", id=f"r{n}") for n in range(100)]
            with pytest.raises(UnavailableError):
                await log.last()
            await lost(jetstream)
            assert time.monotonic() - begun < 5.5
        for each in going:
            await each
        assert await log.last() == 100


async def test_answers_that_are_lost_are_asked_for_again(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as direct, through_proxy(nats_server) as (proxy, jetstream):
        proxy.silent = True
        going = [jetstream.ports.log.append(f"r{n}", b"", id=f"r{n}") for n in range(50)]

        async def stored() -> bool:
            return await direct.ports.log.last() == 50

        await until(stored)
        proxy.hang_up()
        receipts = [await each for each in going]
        assert receipts == [Receipt(n, duplicate=True) for n in range(1, 51)]


async def test_a_read_under_way_fails_with_the_connection_and_not_later(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as direct, through_proxy(nats_server) as (proxy, jetstream):
        await direct.ports.log.append("r", b"", id="1")
        proxy.silent = True
        before = proxy.passed
        reading = asyncio.create_task(jetstream.ports.log.read("r"))

        async def asked() -> bool:
            return proxy.passed > before

        await until(asked)
        proxy.hang_up()
        async with asyncio.timeout(1):
            with pytest.raises(UnavailableError, match="lost before the answer came"):
                await reading


async def test_refusals_in_mid_flight_concern_only_what_is_refused(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log, link = jetstream.ports.log, jetstream.link
        found = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "max_msg_size": 1_000})
        going = [log.append(f"r{n}", b"x" * (2_000 if n % 10 == 0 else 10), id=f"r{n}") for n in range(500)]
        results = await asyncio.gather(*going, return_exceptions=True)
        assert {n for n, result in enumerate(results) if isinstance(result, RefusedError)} == set(range(0, 500, 10))
        assert sum(isinstance(result, Receipt) for result in results) == 450
        assert await log.last() == 450


async def test_a_full_stream_refuses_until_there_is_room_and_then_takes_everything(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log, link = jetstream.ports.log, jetstream.link
        found = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "max_msgs": 10})
        going = asyncio.gather(*(log.append(f"r{n}", b"", id=f"r{n}") for n in range(20)))

        async def full() -> bool:
            return await log.last() == 10

        await until(full)
        done, _ = await asyncio.wait([going], timeout=0.3)
        assert not done
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "max_msgs": -1})
        assert sorted(receipt.seq for receipt in await going) == list(range(1, 21))


async def test_what_is_no_answer_of_a_stream_is_not_taken_for_one(nats_server: EmbeddedServer) -> None:
    """Whoever listens on a subject can answer, and be quicker than the stream."""
    answers = iter([b"thanks", b"{}", b'{"seq": "7"}', b'{"stream": "S", "seq": 7}'])
    async with prepared(nats_server) as jetstream, prepared(nats_server) as meddler:

        def meddle(message: Message) -> None:
            meddler.link.send(message.reply, next(answers))

        meddler.link.subscribe("elsewhere", meddle)
        await meddler.link.api("INFO")  # the server knows of the subscription
        assert await jetstream.link.publish_surely("elsewhere", b"", {}) == Receipt(7, duplicate=False)
        assert next(answers, None) is None


@pytest.mark.alone
async def test_a_write_whose_time_is_up_says_that_nobody_knows(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        async with frozen(nats_server):
            begun = time.monotonic()
            going: list[Awaitable[Receipt]] = [
                jetstream.ports.log.append("r1", b"", id="1", within_s=0.5),
                jetstream.ports.tasks.put("a", "r1", b"", id="1", within_s=0.5),
            ]
            for each in going:
                with pytest.raises(UnavailableError, match=r"not answered within 0\.5 s; outcome unknown"):
                    await each
            assert 0.5 <= time.monotonic() - begun < 1.0
        assert (await jetstream.ports.log.append("r1", b"", id="1")).seq == 1  # it was stored, this time


async def test_an_id_is_not_sent_again_when_its_time_is_up(nats_server: EmbeddedServer) -> None:
    """The server would not know it any more, and store it twice."""
    async with prepared(nats_server) as direct, through_proxy(nats_server) as (proxy, jetstream):
        proxy.silent = True
        with pytest.raises(UnavailableError, match="outcome unknown"):
            await jetstream.ports.log.append("r1", b"", id="1", within_s=0.3)
        found = (await direct.link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
        await direct.link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "duplicate_window": 100_000_000})
        again = asyncio.Event()
        direct.link.subscribe("history.r1", lambda message: again.set())
        proxy.hang_up()
        await jetstream.ports.log.append("r2", b"", id="2")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):  # the first repetition would be 50 ms after the loss
                await again.wait()
        assert await direct.ports.log.last() == 2


async def test_a_repetition_that_is_planned_is_not_sent_when_time_is_up(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log, link = jetstream.ports.log, jetstream.link
        found = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "max_msgs": 1})
        await log.append("r1", b"", id="1")
        with pytest.raises(UnavailableError, match="outcome unknown"):  # full: sent at 0, 0.05, 0.15, 0.35, 0.75 s …
            await log.append("r2", b"", id="2", within_s=0.5)
        again = asyncio.Event()
        link.subscribe("history.r2", lambda message: again.set())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await again.wait()


async def test_time_does_not_run_for_what_could_not_leave(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        port = port_of(nats_server)
        await nats_server.stop()
        await lost(jetstream)
        going = asyncio.ensure_future(jetstream.ports.log.append("r1", b"", id="1", within_s=0.2))
        done, _ = await asyncio.wait([going], timeout=0.5)
        assert not done
        async with EmbeddedServer(nats_server.folder, port=port):
            assert await going == Receipt(1, duplicate=False)
            await jetstream.close()


async def test_a_burst_of_repetitions_is_one_line_a_second(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with prepared(nats_server) as jetstream:
        port = port_of(nats_server)
        await nats_server.stop()
        await lost(jetstream)
        going = [jetstream.ports.log.append(f"r{n}", b"", id=f"r{n}") for n in range(1_000)]
        async with EmbeddedServer(nats_server.folder, port=port):
            for each in going:
                await each
            lines = [record.getMessage() for record in caplog.records if "sending a message to" in record.getMessage()]
            assert 1 <= len(lines) <= 3
            await jetstream.close()


@pytest.mark.parametrize("sync", ["interval", "always"])
async def test_a_connection_that_closes_leaves_no_one_waiting(nats_server: EmbeddedServer, sync: Sync) -> None:
    async with prepared(nats_server) as jetstream:
        await jetstream.ports.server.prepare(sync=sync)
        async with frozen(nats_server):
            asking = asyncio.create_task(jetstream.ports.log.last())
            going = [jetstream.ports.log.append(f"r{n}", b"", id=str(n)) for n in range(20)]
            await asyncio.sleep(0)  # one turn of the loop: they have left
            await jetstream.close()
        for each in (asking, *going, jetstream.ports.log.append("late", b"", id="late")):
            with pytest.raises(UnavailableError):
                async with asyncio.timeout(1):
                    await each
