"""The JetStream adapter against a real server: conflicts, refusals, restarts, set-up."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow, handler
from dagnats.errors import ConflictError, DagnatsError, RefusedError, UnavailableError
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.link import error_of
from dagnats.runtime.jetstream.queue import durable_name
from dagnats.runtime.ports import Receipt
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def prepared(server: EmbeddedServer) -> AsyncGenerator[JetStream]:
    """A connection to a server with everything set up."""
    async with await JetStream.connect(server.url, token=server.token) as jetstream:
        await jetstream.ports.server.prepare()
        yield jetstream


async def restarted(server: EmbeddedServer) -> EmbeddedServer:
    """The same store on the same port, after a stop."""
    port = int(server.url.rpartition(":")[2])
    await server.stop()
    again = EmbeddedServer(server.folder, port=port)
    await again.start()
    return again


async def test_an_event_is_appended_once_however_often_its_id_is_sent(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        first = (await log.append("r1", b"1", id="a")).seq
        assert await log.append("r1", b"1", id="a") == Receipt(first, duplicate=True)
        second = (await log.append("r1", b"2", id="b")).seq
        assert [(entry.seq, entry.run_id, entry.data) for entry in await log.read("r1")] == [
            (first, "r1", b"1"),
            (second, "r1", b"2"),
        ]
        assert [entry.data for entry in await log.read("r1", after=first)] == [b"2"]
        assert (await log.first("r1"), await log.first("r2")) == (first, 0)


async def test_an_append_that_expects_another_last_event_is_a_conflict(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        seq = (await log.append_after("r1", b"1", id="a", last=0)).seq
        for wrong in (0, seq + 1):
            with pytest.raises(ConflictError):
                await log.append_after("r1", b"2", id="b", last=wrong)
        assert (await log.append_after("r1", b"2", id="b", last=seq)).seq == seq + 1


async def test_a_history_longer_than_a_page_is_read_whole_and_in_order(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await asyncio.gather(*(log.append("long", b"%d" % n, id=f"l{n}") for n in range(2_500)))
        await log.append("short", b"x", id="s")
        entries = await log.read("long")
        assert len(entries) == 2_500
        assert [entry.seq for entry in entries] == sorted(entry.seq for entry in entries)
        assert {entry.data for entry in entries} == {b"%d" % n for n in range(2_500)}
        tail = await log.tail(count=10)
        assert tail[-1].run_id == "short"
        assert len(tail) == 10
        assert [entry.seq for entry in await log.tail(before=tail[0].seq, count=3)][-1] == tail[0].seq - 1


async def test_a_watcher_sees_what_was_there_and_what_comes(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await log.append("r1", b"0", id="0")
        watching = log.watch("r1")
        assert (await anext(watching)).data == b"0"
        for n in range(1, 4):
            await log.append("r1", b"%d" % n, id=str(n))
            assert (await anext(watching)).data == b"%d" % n


async def test_a_message_that_is_too_large_is_refused_with_both_sizes(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        with pytest.raises(RefusedError, match=r"has 9000000 bytes; the server takes at most \d+, headers included"):
            await jetstream.ports.log.append("r1", b"x" * 9_000_000, id="big")


async def test_a_request_that_is_not_answered_is_unavailable_not_a_hang(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await nats_server.stop()
        async with asyncio.timeout(20):
            with pytest.raises(UnavailableError):
                await jetstream.ports.log.read("r1")


async def test_connecting_to_nothing_fails_at_once_and_names_the_address() -> None:
    async with asyncio.timeout(10):
        with pytest.raises(UnavailableError, match=r"cannot connect to NATS at nats://127\.0\.0\.1:1:"):
            await JetStream.connect("nats://127.0.0.1:1")


async def test_set_up_can_be_done_again_and_refuses_a_stream_of_another_shape(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await jetstream.ports.server.prepare()
        link = jetstream.link
        found = (await link.api("STREAM.INFO.SLEEP_TIMERS"))["config"]
        await link.api("STREAM.DELETE.SLEEP_TIMERS")
        await link.api("STREAM.CREATE.SLEEP_TIMERS", {**found, "allow_msg_schedules": False, "subjects": ["sleep.>"]})
        with pytest.raises(ConflictError) as refused:
            await jetstream.ports.server.prepare()
        assert "stream SLEEP_TIMERS" in str(refused.value)
        assert "subjects is ['sleep.>'], not ['sleep.>', 'due.>']" in str(refused.value)


async def test_operators_may_size_streams(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        link = jetstream.link
        found = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "max_bytes": 1_000_000})
        await jetstream.ports.server.prepare()


async def test_runs_go_on_after_a_restart_of_the_nats_server(nats_server: EmbeddedServer) -> None:
    inside = asyncio.Event()
    let_go = asyncio.Event()

    @handler("restart.first")
    async def first() -> int:
        inside.set()
        await let_go.wait()
        return 1

    @handler("restart.second")
    async def second(value: int) -> int:
        return value + 1

    workflow = Workflow("restart")
    workflow.task("second", second).after("first")
    workflow.task("first", first)
    server = nats_server
    async with running(server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow)
        await inside.wait()
        server = await restarted(server)
        try:
            let_go.set()
            assert await run.result(int, timeout="30s") == 2
            # And everything that comes later: nothing was left pulling from a dead inbox.
            assert await system.client.run(workflow) == 2
        finally:
            await system.close()
            await server.stop()


async def test_a_queue_that_shares_subjects_with_another_is_refused(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        link = jetstream.link
        config = {"name": "other", "durable_name": "other", "ack_policy": "explicit", "filter_subject": "task.a.>"}
        await link.api("CONSUMER.CREATE.TASK_QUEUES.other", {"stream_name": "TASK_QUEUES", "config": config})
        with pytest.raises(ConflictError, match=r"task type 'a\.b' shares its subjects"):
            await jetstream.feeds.tasks("a.b", ack_wait_s=2, most=1)


async def test_a_second_worker_takes_over_the_queues_ack_wait(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await (await jetstream.feeds.tasks("a", ack_wait_s=2, most=1)).close()
        second = await jetstream.feeds.tasks("a", ack_wait_s=60, most=1)
        assert second.ack_wait_s == 2
        await second.close()


def test_task_types_that_look_alike_as_consumer_names_get_different_ones() -> None:
    names = {durable_name(task_type) for task_type in ("a.b", "a-b", "a_b")}
    assert len(names) == 3
    assert durable_name("plain") == "workers-plain"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (10071, 400, ConflictError),
        (10164, 400, ConflictError),
        (10077, 503, UnavailableError),
        (10008, 503, UnavailableError),
        (10039, 503, UnavailableError),
        (10054, 400, RefusedError),
        (10100, 400, RefusedError),
    ],
)
def test_errors_of_jetstream_become_ours(code: int, status: int, kind: type[Exception]) -> None:
    assert type(error_of(code, status, "text")) is kind


async def test_everything_is_kept_in_files_and_may_have_many_consumers(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        names = (await jetstream.link.api("STREAM.NAMES"))["streams"]
        assert {"WORKFLOW_HISTORY", "TASK_QUEUES", "SLEEP_TIMERS", "DEAD_LETTERS"} < set(names)
        for name in names:
            config = (await jetstream.link.api(f"STREAM.INFO.{name}"))["config"]
            assert (config["storage"], config["max_consumers"]) == ("file", 100_000), name


async def test_the_store_is_found_again_by_name(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        definitions = jetstream.ports.definitions
        assert await definitions.newest("a") is None
        await definitions.add_version("a", "h1", b"1")
        await definitions.add_version("a", "h1", b"other")
        assert await definitions.version("a", "h1") == b"1"
        await definitions.set_newest("a", b"1", revision=0)
        with pytest.raises(ConflictError):
            await definitions.set_newest("a", b"2", revision=0)
        stored = await definitions.newest("a")
        assert stored is not None
        await definitions.set_newest("a", b"2", revision=stored.revision)
        assert await definitions.names() == ["a"]


@pytest.mark.parametrize("url", ["foo:bar", "localhost:4222", "http://127.0.0.1:4222", "nats://", "nats://host:port"])
async def test_what_is_no_address_is_told_as_such(url: str) -> None:
    with pytest.raises(DagnatsError) as refused:
        await JetStream.connect(url)
    assert f"{url!r} is not the address of a NATS server" in str(refused.value)
    assert "nats://host:4222" in refused.value.hint


async def test_a_consumer_that_is_deleted_under_a_worker_is_told(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with prepared(nats_server) as jetstream:
        feed = await jetstream.feeds.tasks("a", ack_wait_s=2, most=1)
        taking = asyncio.create_task(feed.take(1))

        async def asked() -> bool:
            return (await jetstream.link.api("CONSUMER.INFO.TASK_QUEUES.workers-a"))["num_waiting"] == 1

        await until(asked)
        await jetstream.link.api("CONSUMER.DELETE.TASK_QUEUES.workers-a")

        async def told() -> bool:
            return "nothing comes from consumer workers-a: Consumer Deleted" in caplog.text

        await until(told)
        taking.cancel()
        await feed.close()


async def test_the_newest_acknowledged_event_is_acknowledged_when_nothing_follows(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log, feed = jetstream.ports.log, await jetstream.feeds.history()
        for n in range(2):  # the second one within the time that acknowledgements are held back
            receipt = await log.append("r1", b"%d" % n, id=str(n))
            assert [entry.data for entry in await feed.batch()] == [b"%d" % n]
            feed.acknowledge(receipt.seq)

        async def position() -> int:
            info = await jetstream.link.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
            return info["ack_floor"]["stream_seq"]

        async def reached() -> bool:
            return await position() == 2

        await until(reached, within_s=5, what="the position")
        receipt = await log.append("r1", b"2", id="2")
        await feed.batch()
        feed.acknowledge(receipt.seq)
        await feed.close()  # what is held back goes out

        async def all_of_it() -> bool:
            return await position() == 3

        await until(all_of_it, within_s=5, what="the last position")
