"""A connection within a namespace: what the server hears, and what we hear of it."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Worker, Workflow, connect
from dagnats.runtime.jetstream.channel import Message
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.namespace import Names, NamespacedChannel
from dagnats.runtime.jetstream.publish import header_block
from dagnats.runtime.jetstream.read import streams_of, subjects_of
from dagnats.runtime.jetstream.resources import stream_configs, stream_names
from dagnats.runtime.local import LocalServer, write_server_file
from dagnats.runtime.serve import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from dagnats import AsyncClient
    from dagnats.runtime.embedded import EmbeddedServer

NAMES = Names("staging")


class Plain:
    """A connection that keeps what it is given."""

    connected = True
    max_payload_bytes = 1024 * 1024

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.on_up: Callable[[], None] = lambda: None
        self.sent: list[tuple[str, bytes, str, bytes]] = []
        self.heard: dict[str, Callable[[Message], None]] = {}

    def publish(
        self, subject: str, data: bytes, reply: str = "", headers: bytes = b"", *, lazily: bool = False
    ) -> None:
        self.sent.append((subject, data, reply, headers))

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        self.heard[subject] = callback
        return len(self.heard)

    async def up(self) -> None: ...
    async def drain(self) -> None: ...
    async def close(self) -> None: ...
    def retire(self, sid: int) -> None: ...
    def unsubscribe(self, sid: int) -> None: ...


@pytest.fixture
def plain() -> Plain:
    return Plain()


@pytest.fixture
def channel(plain: Plain) -> NamespacedChannel:
    return NamespacedChannel(plain, "staging")


def heard(plain: Plain, channel: NamespacedChannel, subject: str, message: Message) -> Message:
    """What comes of a message that the server sends to a subscription."""
    found: list[Message] = []
    channel.subscribe(subject, found.append)
    plain.heard[NAMES.subject(subject)](message)
    return found[0]


@pytest.mark.parametrize(
    ("bare", "full"),
    [
        ("history.r1", "staging.history.r1"),
        ("dagnats.cancel.*", "staging.dagnats.cancel.*"),
        (">", "staging.>"),
        ("$KV.workers.w1", "$KV.staging_workers.w1"),
        ("$JS.ACK.staging_TASK_QUEUES.c.1.1.1.1.0", "$JS.ACK.staging_TASK_QUEUES.c.1.1.1.1.0"),
        ("_INBOX.a.1", "_INBOX.a.1"),
        ("$SYS.REQ.USER.INFO", "$SYS.REQ.USER.INFO"),
    ],
)
def test_subjects_of_ours_have_the_namespace_before_them(bare: str, full: str) -> None:
    assert NAMES.subject(bare) == full
    assert NAMES.bare_subject(full) == bare


@pytest.mark.parametrize("name", sorted(stream_names()))
def test_every_stream_has_a_name_of_its_own_in_a_namespace(name: str) -> None:
    full = NAMES.stream(name)
    assert full == (f"KV_staging_{name[3:]}" if name.startswith("KV_") else f"staging_{name}")
    assert NAMES.bare_stream(full) == name
    assert NAMES.bare_stream(name) == ""
    assert NAMES.bare_stream(Names("other").stream(name)) == ""


def test_two_namespaces_of_which_one_begins_like_the_other_share_no_stream() -> None:
    # `a` and `a_b` would share one only if what `a` calls `b_X` were a name, and `X` were one.
    plain = [name.removeprefix("KV_") for name in stream_names()]
    assert not [(one, other) for one in plain for other in plain if one.endswith(f"_{other}")]


@pytest.mark.parametrize(
    ("bare", "full"),
    [
        ("INFO", "INFO"),
        ("STREAM.NAMES", "STREAM.NAMES"),
        ("STREAM.CREATE.KV_workers", "STREAM.CREATE.KV_staging_workers"),
        ("STREAM.MSG.DELETE.EVENTS", "STREAM.MSG.DELETE.staging_EVENTS"),
        ("DIRECT.GET.EVENTS", "DIRECT.GET.staging_EVENTS"),
        ("DIRECT.GET.EVENTS.event.a.b", "DIRECT.GET.staging_EVENTS.staging.event.a.b"),
        ("DIRECT.GET.KV_workers.$KV.workers.w", "DIRECT.GET.KV_staging_workers.$KV.staging_workers.w"),
        ("CONSUMER.LIST.EVENTS", "CONSUMER.LIST.staging_EVENTS"),
        ("CONSUMER.MSG.NEXT.EVENTS.c", "CONSUMER.MSG.NEXT.staging_EVENTS.c"),
        ("CONSUMER.INFO.EVENTS.c", "CONSUMER.INFO.staging_EVENTS.c"),
        ("CONSUMER.CREATE.EVENTS.c", "CONSUMER.CREATE.staging_EVENTS.c"),
        ("CONSUMER.CREATE.TASK_QUEUES.c.task.a.*", "CONSUMER.CREATE.staging_TASK_QUEUES.c.staging.task.a.*"),
    ],
)
def test_a_request_to_jetstream_names_the_full_stream(
    plain: Plain, channel: NamespacedChannel, bare: str, full: str
) -> None:
    channel.publish(f"$JS.API.{bare}", b"", "_INBOX.a.1")
    assert plain.sent == [(f"$JS.API.{full}", b"", "_INBOX.a.1", b"")]


@pytest.mark.parametrize("config", list(stream_configs()), ids=lambda config: config["name"])
def test_a_stream_s_configuration_goes_and_comes_back(
    plain: Plain, channel: NamespacedChannel, config: dict[str, Any]
) -> None:
    channel.publish(f"$JS.API.STREAM.CREATE.{config['name']}", json.dumps(config).encode())
    sent = json.loads(plain.sent[0][1])
    assert sent["name"] == NAMES.stream(config["name"])
    assert all(each.startswith(("staging.", "$KV.staging_")) for each in sent["subjects"])
    assert all(each.startswith("staging.") for each in sent.get("republish", {}).values())
    told = json.dumps({"type": "io.nats.jetstream.api.v1.stream_info_response", "config": sent}, separators=(",", ":"))
    answer = heard(plain, channel, "_INBOX.a.*", Message("_INBOX.a.1", "", b"", told.encode()))
    assert json.loads(answer.data)["config"] == config


def test_a_consumer_keeps_its_name(plain: Plain, channel: NamespacedChannel) -> None:
    body = {"stream_name": "EVENTS", "config": {"name": "c", "durable_name": "c", "filter_subject": "event.>"}}
    channel.publish("$JS.API.CONSUMER.CREATE.EVENTS.c", json.dumps(body).encode())
    assert json.loads(plain.sent[0][1]) == {
        "stream_name": "staging_EVENTS",
        "config": {"name": "c", "durable_name": "c", "filter_subject": "staging.event.>"},
    }


def test_headers_that_hold_a_subject_have_the_namespace(plain: Plain, channel: NamespacedChannel) -> None:
    headers = {
        "Nats-Msg-Id": "sleep.r1",
        "Nats-Schedule": "@at 2026-01-01T00:00:00Z",
        "Nats-Schedule-Target": "due.r1.1",
        "Nats-Scheduler": "sleep.r1.0",
        "Nats-Expected-Last-Subject-Sequence-Subject": "history.r2",
        "Dagnats-Dlq-Subject": "due.r1.1",
    }
    channel.publish("sleep.r1.1", b"1", headers=header_block(headers))
    assert plain.sent[0][3] == header_block(
        {
            **headers,
            "Nats-Schedule-Target": "staging.due.r1.1",
            "Nats-Scheduler": "staging.sleep.r1.0",
            "Nats-Expected-Last-Subject-Sequence-Subject": "staging.history.r2",
        }
    )


@pytest.mark.parametrize("full", ["staging.history.r1", "$KV.staging_workers.w1"])
def test_a_stored_message_is_read_under_its_bare_subject(plain: Plain, channel: NamespacedChannel, full: str) -> None:
    stored = Message("_INBOX.a", "", header_block({"Nats-Subject": full, "Nats-Sequence": "7"}), b"x")
    read = heard(plain, channel, "_INBOX.a", stored)
    assert read.headers == {"Nats-Subject": NAMES.bare_subject(full), "Nats-Sequence": "7"}


def test_a_payload_that_looks_like_an_answer_of_jetstream_s_is_left_alone(
    plain: Plain, channel: NamespacedChannel
) -> None:
    data = b'{"type":"io.nats.jetstream.api.v1.x","subject":"staging.a"}'
    task = heard(plain, channel, "_INBOX.a", Message("staging.task.a.r1", "$JS.ACK.x", b"", data))
    assert (task.subject, task.data) == ("task.a.r1", data)


def test_a_loss_is_told_on(plain: Plain, channel: NamespacedChannel) -> None:
    told: list[str] = []
    channel.on_lost, channel.on_up = lambda: told.append("lost"), lambda: told.append("up")
    plain.on_lost()
    plain.on_up()
    assert told == ["lost", "up"]


# -- on a server -----------------------------------------------------------------------------------------------

GREETING = Workflow("greeting")


@GREETING.step
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@asynccontextmanager
async def installation(server: EmbeddedServer, folder: Path, namespace: str) -> AsyncGenerator[AsyncClient]:
    """All of DagNats on a server of somebody else's, and a client."""
    up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def ready(_: object) -> None:
        up.set_result(None)

    serving = asyncio.create_task(
        serve(folder=folder, url=server.url, token=server.token, namespace=namespace, ready=ready, stop=stop)
    )
    await asyncio.wait([up, serving], return_when=asyncio.FIRST_COMPLETED)
    async with connect(server.url, token=server.token, namespace=namespace) as client:
        await client.register(GREETING)
        worker = Worker(client, [GREETING])
        working = asyncio.create_task(worker.run())
        yield client
        worker.stop()
        await working
    stop.set()
    await serving


async def namespaces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the client of a local server is: by itself, with a variable, with an argument."""
    found: list[str] = []
    for variable, said in (("", None), ("off", None), ("staging", "")):
        monkeypatch.setenv("DAGNATS_NAMESPACE", variable)
        async with connect(data_dir=folder, namespace=said) as client:
            found.append((await client.status()).namespace)
    return found


async def test_two_installations_share_a_server_and_see_nothing_of_each_other(
    nats_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = await Link.connect(nats_server.url, token=nats_server.token)
    heard: set[str] = set()
    outside.subscribe(">", lambda message: heard.add(message.subject))
    streams = {config["name"] for config in stream_configs()}
    async with installation(nats_server, tmp_path, "staging") as staging:
        run = await staging.start("greeting", "Ada", run_id="r1")
        assert await run.result(timeout="20s") == "Hello, Ada!"
        await outside.request("$JS.API.INFO")  # what was sent before has come
        ours = ("staging.", "$KV.staging_", "$JS.", "$SYS.", "_INBOX.")
        assert [subject for subject in heard if not subject.startswith(ours)] == []
        assert {"staging.history.r1", "staging.task.greeting.greet.r1"} <= heard
        assert set(await streams_of(outside)) == {NAMES.stream(name) for name in streams}
        async with installation(nats_server, tmp_path, "") as bare:
            assert await bare.runs() == []
            run = await bare.start("greeting", "Bea", run_id="r1")
            assert await run.result(timeout="20s") == "Hello, Bea!"
            for client, name in ((staging, "Ada"), (bare, "Bea")):
                assert await client.handle("r1").result(timeout="20s") == f"Hello, {name}!"
                assert [each.run_id for each in await client.runs()] == ["r1"]
                assert len(await client.workers()) == 1
                status = await client.status()
                assert (status.runs, status.streams) == (1, len(streams))
            assert ((await staging.status()).namespace, (await bare.status()).namespace) == ("staging", "")
            assert await staging.dead_letters() == await bare.dead_letters() == []
            for name in streams:
                stored = await subjects_of(outside, NAMES.stream(name), ">")
                assert [subject for subject in stored if not subject.startswith(ours)] == []
                stored = await subjects_of(outside, name, ">")
                assert [subject for subject in stored if subject.startswith(ours[:2])] == []
            up = LocalServer(url=nats_server.url, token=nats_server.token, pid=os.getpid(), namespace="staging")
            write_server_file(tmp_path, up)
            assert await namespaces(tmp_path, monkeypatch) == ["staging", "", ""]
    await outside.close()
