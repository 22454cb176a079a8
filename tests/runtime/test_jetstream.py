"""The JetStream adapter against a real server: conflicts, refusals, restarts, set-up."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow, handler
from dagnats.errors import ConflictError, DagnatsError, RefusedError, UnavailableError
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.ear import MANY, Ears
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.publish import StreamFull, error_of
from dagnats.runtime.jetstream.queue import durable_name
from dagnats.runtime.jetstream.resources import prepare
from dagnats.runtime.ports import Entry, Receipt
from tests.support.nats import prepared, restarted
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.channel import Channel, Message


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


async def test_the_end_of_the_log_and_each_place_in_it_can_be_read(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        assert (await log.last(), await log.at(1)) == (0, None)
        before_ns = time.time_ns()
        await log.append("r1", b"1", id="a")
        await log.append("r2", b"2", id="b")
        assert await log.last() == 2
        entry = await log.at(1)
        assert entry is not None
        assert entry == Entry(1, entry.time_ns, "r1", b"1")
        assert before_ns <= entry.time_ns <= time.time_ns()
        assert await log.at(3) is None
        await jetstream.link.api("STREAM.PURGE.WORKFLOW_HISTORY", {"filter": "history.r1"})
        assert (await log.last(), await log.at(1)) == (2, None)


async def test_a_watcher_sees_what_was_there_and_what_comes(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        log = jetstream.ports.log
        await log.append("r1", b"0", id="0")
        watching = log.watch("r1")
        assert (await anext(watching)).data == b"0"
        for n in range(1, 4):
            await log.append("r1", b"%d" % n, id=str(n))
            assert (await anext(watching)).data == b"%d" % n


class CountingLink(Link):
    """Knows what is subscribed to."""

    def __init__(self, channel: Channel) -> None:
        self.subjects: dict[int, str] = {}
        super().__init__(channel)

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        sid = super().subscribe(subject, callback)
        self.subjects[sid] = subject
        return sid

    def unsubscribe(self, sid: int) -> None:
        super().unsubscribe(sid)
        del self.subjects[sid]


async def test_those_who_wait_for_many_runs_share_a_subscription_and_hear_their_own(
    nats_server: EmbeddedServer,
) -> None:
    async with prepared(nats_server) as jetstream:
        link = await CountingLink.connect(nats_server.url, token=nats_server.token)
        ears, runs = Ears(link), [f"r{n}" for n in range(MANY + 10)]
        with ExitStack() as stack:
            listening = {run_id: stack.enter_context(ears.listen(run_id, (b"end",))) for run_id in runs}
            twice = stack.enter_context(ears.listen(runs[-1], (b"end",)))
            assert sorted(link.subjects.values()) == sorted(
                ["stored.history.*", *(f"stored.history.{run_id}" for run_id in runs[:MANY])]
            )
            await link.request("$JS.API.INFO")  # the server has all subscriptions
            for run_id in runs:
                await jetstream.ports.log.append(run_id, b"begin", id=f"{run_id}.begin")
                await jetstream.ports.log.append(run_id, f"end of {run_id}".encode(), id=f"{run_id}.end")
            for run_id, ear in [*listening.items(), (runs[-1], twice)]:
                heard = await ear.hear(10)
                assert heard is not None
                assert (heard.run_id, heard.data) == (run_id, f"end of {run_id}".encode())
                assert await ear.hear(0) is None
        assert not link.subjects
        await link.close()


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
        assert (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]["max_bytes"] == 1_000_000


SWITCHES = {
    "WORKFLOW_HISTORY": "allow_atomic",
    "KV_workflow_runs": "allow_atomic",
    "SLEEP_TIMERS": "allow_msg_schedules",
    "ENGINE": "allow_direct",
}


@pytest.mark.parametrize("stream", SWITCHES)
async def test_what_a_stream_of_an_earlier_version_lacks_is_switched_on(
    nats_server: EmbeddedServer, stream: str
) -> None:
    async with prepared(nats_server) as jetstream:
        link, switch = jetstream.link, SWITCHES[stream]
        found = (await link.api(f"STREAM.INFO.{stream}"))["config"]
        await link.api(f"STREAM.DELETE.{stream}")
        await link.api(f"STREAM.CREATE.{stream}", {**found, switch: False, "max_bytes": 1_000_000})
        await link.publish(found["subjects"][0].replace(">", "kept"), b"kept")
        await jetstream.ports.server.prepare()
        info = await link.api(f"STREAM.INFO.{stream}")
        assert info["config"][switch] is True
        assert (info["config"]["max_bytes"], info["state"]["messages"]) == (1_000_000, 1)


async def test_a_stream_that_differs_otherwise_too_is_left_as_it_is(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        link = jetstream.link
        found = (await link.api("STREAM.INFO.TASK_QUEUES"))["config"]
        await link.api("STREAM.DELETE.TASK_QUEUES")
        other = {**found, "allow_atomic": False, "retention": "limits"}
        await link.api("STREAM.CREATE.TASK_QUEUES", other)
        with pytest.raises(ConflictError, match="retention is 'limits', not 'workqueue'"):
            await jetstream.ports.server.prepare()
        assert not (await link.api("STREAM.INFO.TASK_QUEUES"))["config"].get("allow_atomic")


async def test_how_long_ids_are_remembered_is_the_streams_own_setting(nats_server: EmbeddedServer) -> None:
    async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
        await prepare(jetstream.link, window_s=2.5)
        await jetstream.ports.server.prepare()
        assert await jetstream.ports.log.id_window_s() == 2.5
        found = (await jetstream.link.api("STREAM.INFO.TASK_QUEUES"))["config"]
        await jetstream.link.api("STREAM.UPDATE.TASK_QUEUES", {**found, "duplicate_window": 500_000_000})
        assert await jetstream.ports.log.id_window_s() == 0.5


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


async def test_a_runs_tasks_wait_until_they_are_acknowledged(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        tasks = jetstream.ports.tasks
        assert (await tasks.waiting("a", "r1"), await tasks.last()) == ([], 0)
        for n in (1, 2):
            await tasks.put("a", "r1", b"%d" % n, id=f"r1.{n}")
        await tasks.put("a", "r2", b"other", id="r2")
        await tasks.put("a.b", "r1", b"other", id="r1.b")
        assert await tasks.waiting("a", "r1") == [b"1", b"2"]
        assert await tasks.last() == 4
        feed = await jetstream.feeds.tasks("a", ack_wait_s=30, most=1)
        (delivery,) = await feed.take(1)
        assert await tasks.waiting("a", "r1") == [b"1", b"2"]  # in a worker's hands
        delivery.acknowledge()

        async def acknowledged() -> bool:
            return await tasks.waiting("a", "r1") == [b"2"]

        await until(acknowledged)
        await tasks.drop("a", "r1")
        assert (await tasks.waiting("a", "r1"), await tasks.waiting("a", "r2")) == ([], [b"other"])
        assert await tasks.last() == 4
        await feed.close()


async def test_every_worker_that_listens_hears_of_a_cancellation(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as engine, prepared(nats_server) as one, prepared(nats_server) as other:
        heard: dict[JetStream, list[tuple[str, bytes]]] = {one: [], other: []}
        ends = {
            worker: worker.feeds.cancellations(lambda run_id, data, worker=worker: heard[worker].append((run_id, data)))
            for worker in heard
        }
        for worker in heard:
            await worker.link.api("INFO")  # the server knows of the subscription
        engine.ports.tasks.cancel("r1", b"why")

        async def both() -> bool:
            return list(heard.values()) == [[("r1", b"why")]] * 2

        await until(both)
        ends[other]()
        engine.ports.tasks.cancel("r2", b"")

        async def one_more() -> bool:
            return len(heard[one]) == 2

        await until(one_more)
        await other.link.api("INFO")
        assert heard[other] == [("r1", b"why")]


def test_task_types_that_look_alike_as_consumer_names_get_different_ones() -> None:
    names = {durable_name(task_type) for task_type in ("a.b", "a-b", "a_b")}
    assert len(names) == 3
    assert durable_name("plain") == "workers-plain"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (10071, 400, ConflictError),
        (10164, 400, ConflictError),
        (10077, 503, StreamFull),
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
        await definitions.add_version("a", "h2", b"2")
        await definitions.add_version("aa", "h3", b"3")
        versions = await definitions.versions("a")
        assert {identity: stored.data for identity, stored in versions.items()} == {"h1": b"1", "h2": b"2"}
        assert versions["h2"].revision > versions["h1"].revision
        assert versions["h2"].time_ns > versions["h1"].time_ns
        assert await definitions.versions("*") == {}
        await definitions.set_newest("a", b"1", revision=0)
        with pytest.raises(ConflictError):
            await definitions.set_newest("a", b"2", revision=0)
        stored = await definitions.newest("a")
        assert stored is not None
        await definitions.set_newest("a", b"2", revision=stored.revision)
        assert await definitions.names() == ["a"]


async def test_dead_letters_are_found_by_subject_and_removed(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        letters = jetstream.ports.dead_letters
        data = bytes(range(256))
        await letters.put("a.r1.s1", data, headers={"Why": "because\nof it", "Run": "r1"}, id="1")
        await letters.put("a.r2.s1", b"2", headers={}, id="2")
        await letters.put("b.r1.s1", b"3", headers={}, id="3")
        assert await letters.find("nothing.>") == []
        assert [letter.data for letter in await letters.find("a.*.s1")] == [data, b"2"]
        assert [letter.data for letter in await letters.find("*.r1.>")] == [data, b"3"]
        letter = (await letters.find("a.r1.s1"))[0]
        assert (letter.subject, letter.headers) == ("a.r1.s1", {"Why": "because of it", "Run": "r1"})
        await letters.remove(letter.seq)
        await letters.remove(letter.seq)
        await letters.remove(99)
        assert [letter.data for letter in await letters.find(">")] == [b"2", b"3"]


async def test_a_cell_has_one_winner_and_tells_the_others(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as one, prepared(nats_server) as other:
        assert await other.ports.lease.read() is None
        revision = await one.ports.lease.write(b"1", revision=0)
        for cell in (one.ports.lease, other.ports.lease):
            with pytest.raises(ConflictError):
                await cell.write(b"2", revision=0)
        await other.link.api("INFO")  # what was sent to it before is there
        async with asyncio.timeout(2):
            await other.ports.lease.changed(60)  # it was, since it was read
        stored = await other.ports.lease.read()
        assert stored is not None
        assert (stored.revision, stored.data) == (revision, b"1")
        assert abs(stored.time_ns - time.time_ns()) < 60_000_000_000
        assert await one.ports.position.read() is None  # another cell
        await other.ports.lease.changed(0)
        waiting = asyncio.create_task(other.ports.lease.changed(60))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        await one.ports.lease.write(b"2", revision=revision)
        async with asyncio.timeout(2):
            await waiting


async def test_a_cell_may_have_changed_when_the_connection_was_lost(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await jetstream.ports.lease.read()
        waiting = asyncio.create_task(jetstream.ports.lease.changed(60))
        again = await restarted(nats_server)
        async with asyncio.timeout(5):
            await waiting
        await jetstream.close()
        await again.stop()


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
