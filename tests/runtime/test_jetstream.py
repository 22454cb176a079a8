"""The JetStream adapter against a real server: conflicts, refusals, restarts, set-up."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow, handler
from dagnats.errors import ConflictError, DagnatsError, RefusedError, UnavailableError
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.ear import MANY, Ears, Rumour
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.publish import StreamFull, Undecided, error_of
from dagnats.runtime.jetstream.queue import durable_name
from dagnats.runtime.jetstream.resources import prepare
from dagnats.runtime.ports import Entry, JetStreamOff, Receipt, StoreFull
from tests.support.nats import prepared, restarted
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.channel import Channel, Message


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
            listening = {run_id: stack.enter_context(ears.listen(run_id)) for run_id in runs}
            twice = stack.enter_context(ears.listen(runs[-1]))
            assert sorted(link.subjects.values()) == sorted(
                ["dagnats.end.*", *(f"dagnats.end.{run_id}" for run_id in runs[:MANY])]
            )
            await link.request("$JS.API.INFO")  # the server has all subscriptions
            for seq, run_id in enumerate(runs, 1):
                jetstream.ports.notices.end(Entry(seq, 10 * seq, run_id, f"end of {run_id}".encode()))
            for run_id, ear in [*listening.items(), (runs[-1], twice)]:
                seq = runs.index(run_id) + 1
                assert await ear.hear(10) == Entry(seq, 10 * seq, run_id, f"end of {run_id}".encode())
                assert await ear.hear(0) is None
        assert not link.subjects
        await link.close()


async def test_an_end_that_was_told_before_anybody_listened_for_it_is_heard_where_many_wait(
    nats_server: EmbeddedServer,
) -> None:
    async with prepared(nats_server) as jetstream:
        link = await CountingLink.connect(nats_server.url, token=nats_server.token)
        ears = Ears(link)
        with ExitStack() as stack:
            *_, last = [stack.enter_context(ears.listen(f"r{n}")) for n in range(MANY + 1)]
            await link.request("$JS.API.INFO")  # the server has all subscriptions
            early = Entry(1, 10, "early", b"end")
            for entry in (early, Entry(2, 20, "large", b"x" * 5_000), Entry(3, 30, last.run_id, b"end")):
                jetstream.ports.notices.end(entry)
            assert await last.hear(10) is not None
            with ears.listen("early") as ear:
                assert await ear.hear(0) == early
            for run_id in ("early", "large"):
                with ears.listen(run_id) as ear:
                    assert await ear.hear(0) is None
        await link.close()


async def test_who_follows_a_run_looks_again_until_what_was_sent_is_there_or_is_given_up(
    nats_server: EmbeddedServer,
) -> None:
    link = await Link.connect(nats_server.url, token=nats_server.token)
    with Rumour(link, "anything") as rumour:
        async with asyncio.timeout(20):
            link.send("anything", b"1")
            await rumour.hear((), 60)
            await rumour.hear((), 60)  # it is not there: soon again
            seen = [Entry(1, 1, "r1", b"1")]
            waiting = asyncio.create_task(rumour.hear(seen, 60))
            assert await asyncio.wait([waiting], timeout=0.1) == (set(), {waiting})
            link.send("anything", b"2")
            await waiting
            for _ in range(3):  # within 5, 10, and 20 ms: then nobody waits for it
                await rumour.hear((), 0.02)
            waiting = asyncio.create_task(rumour.hear((), 60))
            assert await asyncio.wait([waiting], timeout=0.1) == (set(), {waiting})
            waiting.cancel()
    await link.close()


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
        server = jetstream.ports.server
        await server.prepare()
        assert (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]["max_bytes"] == 1_000_000
        await jetstream.ports.log.append("r", b" " * 500_000, id="large")
        holding = await server.holding()
        assert (round(holding.used, -5), holding.limit, holding.cap) == (500_000, 1_000_000, "log")


async def test_how_much_the_server_stores_counts_as_long_as_it_is_the_one_of_which_that_was_said(
    nats_server: EmbeddedServer,
) -> None:
    async with prepared(nats_server) as jetstream:
        server = jetstream.ports.server
        assert (await server.holding()).limit == 0
        await server.prepare(sync="interval", most_bytes=5_000_000)
        async with prepared(nats_server) as other:
            assert (await other.ports.server.holding())[1:] == (5_000_000, "server")
        again = await restarted(nats_server)

        async def is_forgotten() -> bool:
            try:
                return (await server.holding()).limit == 0
            except UnavailableError:
                return False

        await until(is_forgotten)
        await again.stop()


async def test_queues_that_an_operator_has_sized_tell_how_much_of_that_is_taken(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        tasks, link = jetstream.ports.tasks, jetstream.link
        found = (await link.api("STREAM.INFO.TASK_QUEUES"))["config"]
        await link.api("STREAM.UPDATE.TASK_QUEUES", {**found, "max_msgs": 4, "max_bytes": 1_000_000})
        await tasks.put("a", "r1", b"{}", id="1")
        assert await tasks.fill() == (1, 0.25)
        await link.api("STREAM.UPDATE.TASK_QUEUES", {**found, "max_bytes": 1_000_000})
        await tasks.put("a", "r2", b" " * 500_000, id="2")
        tasks_there, share = await tasks.fill()
        assert (tasks_there, round(share, 1)) == (2, 0.5)


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


@pytest.mark.parametrize(
    ("dest", "stays"), [("stored.history.>", False), ("mirrored.history.>", True)], ids=["ours", "an operator's"]
)
async def test_a_history_is_no_longer_repeated_as_an_earlier_version_had_it(
    nats_server: EmbeddedServer, dest: str, stays: bool
) -> None:
    async with prepared(nats_server) as jetstream:
        link = jetstream.link
        found = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"]
        repeated = {"src": "history.>", "dest": dest}
        await link.api("STREAM.UPDATE.WORKFLOW_HISTORY", {**found, "republish": repeated})
        assert {each.kind for each in await jetstream.ports.server.defects()} == {"no-consumer"}  # no engine was here
        await jetstream.ports.server.prepare()
        kept = (await link.api("STREAM.INFO.WORKFLOW_HISTORY"))["config"].get("republish")
        assert kept == (repeated if stays else None)


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
        (10002, 400, StoreFull),
        (10023, 503, StoreFull),
        (10047, 500, StoreFull),
        (10008, 503, UnavailableError),
        (10158, 409, Undecided),
        (10039, 503, JetStreamOff),
        (10054, 400, RefusedError),
        (10100, 400, RefusedError),
    ],
)
def test_errors_of_jetstream_become_ours(code: int, status: int, kind: type[Exception]) -> None:
    assert type(error_of(code, status, "text")) is kind


async def test_a_message_whose_like_a_cluster_has_not_agreed_on_is_sent_until_it_has(
    nats_server: EmbeddedServer,
) -> None:
    undecided = b'{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}'
    answers = iter([undecided, undecided, b'{"stream":"S","seq":7,"duplicate":true}'])
    async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
        link = jetstream.link

        def answer(message: Message) -> None:
            link.send(message.reply, next(answers))

        link.subscribe("cluster", answer)
        assert await link.publish("cluster", b"") == Receipt(7, duplicate=True)


async def test_everything_is_kept_in_files_and_may_have_many_consumers(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        names = (await jetstream.link.api("STREAM.NAMES"))["streams"]
        assert {"WORKFLOW_HISTORY", "TASK_QUEUES", "SLEEP_TIMERS", "DEAD_LETTERS"} < set(names)
        for name in names:
            config = (await jetstream.link.api(f"STREAM.INFO.{name}"))["config"]
            assert (config["storage"], config["max_consumers"]) == ("file", 100_000), name


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
