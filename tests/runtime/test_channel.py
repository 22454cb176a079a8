"""Both kinds of connection, our own and nats-py's, do the same for what is built on them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import UnavailableError
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.jetstream.channel import Message
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.natspy import NatsPy
from dagnats.runtime.jetstream.policy import Policy
from dagnats.runtime.jetstream.publish import first_block, header_block
from dagnats.runtime.jetstream.wire import Refused, Wire
from tests.support.nats import frozen, restarted
from tests.support.processes import until

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.channel import Channel

KINDS = pytest.mark.parametrize("kind", [Wire, NatsPy], ids=["own", "nats-py"])


class Heard:
    """Collects messages, and waits for a number of them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)

    async def count(self, number: int) -> list[Message]:
        async def there() -> bool:
            return len(self.messages) >= number

        await until(there, what=lambda: f"{number} messages; {len(self.messages)} came")
        return self.messages


async def opened(kind: type[Wire | NatsPy], server: EmbeddedServer) -> Channel:
    return await kind.connect(server.url, token=server.token)


@KINDS
async def test_what_is_published_arrives_in_order_as_it_was(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    channel = await opened(kind, nats_server)
    heard = Heard()
    channel.subscribe("a.*", heard)
    payloads = [b"", b"x", b"MSG a.b 1 5\r\nPING\r\n", "ä\r\n€".encode(), bytes(range(256)), b"y" * 3_000_000]
    for payload in payloads:
        channel.publish("a.b", payload)
    assert [message.data for message in await heard.count(len(payloads))] == payloads
    assert {(message.subject, message.reply, message.raw_headers) for message in heard.messages} == {("a.b", "", b"")}
    await channel.close()


@KINDS
async def test_what_may_wait_is_sent_in_its_turn_and_without_another_message(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    channel = await opened(kind, nats_server)
    heard = Heard()
    channel.subscribe("a", heard)
    channel.publish("a", b"1", lazily=True)
    channel.publish("a", b"2")
    channel.publish("a", b"3", lazily=True)
    await heard.count(3)
    channel.publish("a", b"4", lazily=True)
    assert [message.data for message in await heard.count(4)] == [b"1", b"2", b"3", b"4"]
    await channel.close()


async def test_what_may_wait_is_sent_before_the_connection_closes(nats_server: EmbeddedServer) -> None:
    channel, other = await opened(Wire, nats_server), await opened(Wire, nats_server)
    heard = Heard()
    other.subscribe("a", heard)
    other.publish("a", b"it listens")
    await heard.count(1)
    channel.publish("a", b"the last word", lazily=True)
    await channel.close()
    await heard.count(2)
    await other.close()


@KINDS
async def test_headers_and_replies_travel_along(kind: type[Wire | NatsPy], nats_server: EmbeddedServer) -> None:
    channel = await opened(kind, nats_server)
    heard = Heard()
    channel.subscribe("a", heard)
    channel.publish("a", b"with", "answer.here", header_block({"Nats-Msg-Id": "r1.2.0", "Other": "x: y"}))
    (message,) = await heard.count(1)
    assert (message.data, message.reply, message.status) == (b"with", "answer.here", "")
    assert message.header(b"Nats-Msg-Id") == b"r1.2.0"
    assert message.header(b"Missing") == b""
    assert message.headers["Other"] == "x: y"
    await channel.close()


@KINDS
async def test_a_request_nobody_serves_is_answered_as_such(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    channel = await opened(kind, nats_server)
    heard = Heard()
    channel.subscribe("inbox", heard)
    channel.publish("nobody.listens", b"", "inbox")
    assert [message.status for message in await heard.count(1)] == ["503"]
    await channel.close()


@KINDS
async def test_an_ended_subscription_hears_nothing_more(kind: type[Wire | NatsPy], nats_server: EmbeddedServer) -> None:
    channel = await opened(kind, nats_server)
    ended, going = Heard(), Heard()
    sid = channel.subscribe("a", ended)
    channel.subscribe("a", going)
    channel.publish("a", b"1")
    await ended.count(1)
    channel.unsubscribe(sid)
    channel.publish("a", b"2")
    await going.count(2)
    assert [message.data for message in ended.messages] == [b"1"]
    await channel.close()


@KINDS
async def test_a_lost_connection_is_told_and_its_subscriptions_come_back(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    channel = await opened(kind, nats_server)
    lost = asyncio.Event()
    channel.on_lost = lost.set
    back = asyncio.Event()
    channel.on_up = back.set
    heard = Heard()
    channel.subscribe("a", heard)
    port = int(nats_server.url.rpartition(":")[2])
    await nats_server.stop()
    async with asyncio.timeout(10):
        await lost.wait()
    assert not channel.connected
    with pytest.raises(UnavailableError):
        channel.publish("a", b"into the void")
    async with EmbeddedServer(nats_server.folder, port=port):
        async with asyncio.timeout(10):
            await channel.up()
            await back.wait()
        channel.publish("a", b"again")
        assert [message.data for message in await heard.count(1)] == [b"again"]
        await channel.close()


@KINDS
async def test_what_could_not_leave_before_the_connection_was_lost_does_not_leave_over_the_next(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    channel = await opened(kind, nats_server)
    heard = Heard()
    channel.subscribe("a", heard)
    channel.publish("a", b"before")
    await heard.count(1)
    async with frozen(nats_server):
        for _ in range(40):  # more than sockets take
            channel.publish("a", b"x" * 1_000_000)
            await asyncio.sleep(0)
        os.kill(nats_server.pid, signal.SIGKILL)

        async def is_lost() -> bool:
            return not channel.connected

        await until(is_lost)
    server = await restarted(nats_server)
    try:
        async with asyncio.timeout(10):
            await channel.up()
        channel.publish("a", b"again")
        assert [message.data[:6] for message in await heard.count(2)] == [b"before", b"again"]
        await channel.close()
    finally:
        await server.stop()


@KINDS
async def test_everything_that_is_built_on_a_connection_works_on_both(
    kind: type[Wire | NatsPy], nats_server: EmbeddedServer
) -> None:
    async def dial() -> Link:
        return Link(await opened(kind, nats_server))

    link = await dial()
    jetstream = JetStream(link, Policy(link), dial)
    ports = jetstream.ports
    await ports.server.prepare(sync="always")
    feed = await jetstream.feeds.history(0)
    writing = [ports.log.append(f"r{n}", b"%d" % n, id=str(n)) for n in range(100)]
    assert [(await each).seq for each in writing] == list(range(1, 101))
    entries = await feed.batch()
    while len(entries) < 100:
        entries += await feed.batch()
    assert [entry.data for entry in entries] == [b"%d" % n for n in range(100)]
    large = bytes(range(256)) * 5_000
    revision = await ports.snapshots.save("r1", large, revision=0)
    stored = await ports.snapshots.load("r1")
    assert stored is not None
    assert (stored.revision, stored.data == large) == (revision, True)
    wakeups = await jetstream.feeds.wakeups()
    await ports.timers.set("r1", due_ns=1, seq=2, replaces=1, id="t")
    assert [(wakeup.run_id, wakeup.seq) for wakeup in await wakeups.batch()] == [("r1", 2)]
    await wakeups.close()
    await feed.close()
    await jetstream.close()


async def test_a_wrong_token_is_refused_with_the_servers_own_words(nats_server: EmbeddedServer) -> None:
    with pytest.raises(Refused, match="Authorization Violation"):
        await Wire.connect(nats_server.url, token="wrong")


async def test_a_server_that_is_silent_is_given_up_within_five_seconds() -> None:
    """A zombie: it lets us in, then answers nothing, and its socket stays open."""

    async def zombie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload":1000}\r\n')
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
                break
        await reader.read()
        writer.close()

    server = await asyncio.start_server(zombie, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire = await Wire.connect(f"nats://127.0.0.1:{port}")
    lost = asyncio.Event()
    wire.on_lost = lost.set
    async with asyncio.timeout(5.5):
        await lost.wait()
    await wire.close()
    server.close()


@KINDS
async def test_a_connection_can_be_closed_while_the_server_closes_it(kind: type[Wire | NatsPy]) -> None:
    leaves = asyncio.Event()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload":1000}\r\n')
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
                break
        await leaves.wait()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for later in range(12):  # nowhere in between does nats-py say that somebody has cancelled us
        leaves.clear()
        channel = await kind.connect(f"nats://127.0.0.1:{port}")
        leaves.set()
        for _ in range(later):
            await asyncio.sleep(0)
        await channel.close()
    server.close()


async def test_requests_under_way_fail_when_the_connection_does(nats_server: EmbeddedServer) -> None:
    link = await Link.connect(nats_server.url, token=nats_server.token)
    link.subscribe("served.but.silent", lambda message: None)
    asking = asyncio.create_task(link.request("served.but.silent"))

    async def under_way() -> bool:
        return bool(link._waiting)  # pyright: ignore[reportPrivateUsage]  # when it is sent, and not before

    await until(under_way)
    await nats_server.stop()
    async with asyncio.timeout(2):
        with pytest.raises(UnavailableError, match="lost before the answer came"):
            await asking
    await link.close()


async def test_a_server_that_asks_for_tls_is_left_to_nats_py() -> None:
    begun: list[bytes] = []

    async def tls_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"tls_required":true}\r\n')
        begun.append(await reader.read(2))
        writer.close()

    server = await asyncio.start_server(tls_only, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UnavailableError):
        await Link.connect(f"nats://127.0.0.1:{port}")
    assert b"\x16\x03" in begun, f"nobody began a TLS handshake: {begun}"
    server.close()


@pytest.mark.parametrize("id", ["r1.workflow.started", "r1\r\nother: 1"], ids=["usual", "with a line break"])
def test_a_first_event_has_the_headers_that_make_it_the_first(id: str) -> None:
    headers = Message("", "", first_block(id, "history._ops.workflow.w", 7), b"").headers
    assert headers == {
        "Nats-Msg-Id": id.replace("\r\n", " "),
        "Dagnats-New": "1",
        "Nats-Expected-Last-Subject-Sequence": "7",
        "Nats-Expected-Last-Subject-Sequence-Subject": "history._ops.workflow.w",
    }
