"""Who is let in over HTTP, where it listens, and what anybody may ask."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError, DagnatsError
from dagnats.model.worker import decode_worker
from dagnats.runtime.api.access import Access, Forward, Person
from dagnats.runtime.api.app import Api
from dagnats.runtime.api.listener import Address, bound, expect_safe, listening, parse_address
from tests.api.site import WORK, Caller, in_virtual_time, one_step, site

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

TOKEN = "a-token-of-the-bridge"


@in_virtual_time
async def test_without_a_token_at_the_server_everybody_on_this_machine_is_let_in() -> None:
    async with site() as here:
        for host in ("127.0.0.1:8080", "localhost", "[::1]:8080"):
            web = await here.api(host=host)
            assert await web.poll(WORK, timeout_ms=0) == []


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "10.0.0.5:8080"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
def test_without_a_token_no_web_page_is_let_in(headers: dict[str, str]) -> None:
    async def ask() -> None:
        async with site() as here:
            web = await here.api(**headers)
            refused = await web.post("/v1/tasks/poll", {"task_types": [WORK]})
            assert (refused.status, refused.json["type"]) == (403, "urn:dagnats:forbidden")
            assert (await web.get("/ready")).status == 200

    in_virtual_time(ask)()


@in_virtual_time
async def test_whoever_has_the_token_is_let_in_from_anywhere() -> None:
    async with site(one_step()) as here:
        web = await here.api(TOKEN, host="10.0.0.5:8080", authorization=f"Bearer {TOKEN}")
        run = await here.client.start("solo")
        (task,) = await web.poll(WORK)
        assert (await web.resolve(task, "complete", output=1)).status == 200
        assert await run.result() == 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer"}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"}],
)
@pytest.mark.parametrize("path", ["/v1/tasks/poll", "/v1/workers/connect", "/v1/tasks/a.b/resolve", "/nowhere"])
def test_whoever_has_another_token_or_none_is_not(headers: dict[str, str], path: str) -> None:
    async def ask() -> None:
        async with site() as here:
            web = await here.api(TOKEN, **headers)
            refused = await web.post(path, {})
            assert (refused.status, refused.json["type"]) == (401, "urn:dagnats:unauthorized")
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert TOKEN not in refused.body.decode()

    in_virtual_time(ask)()


@in_virtual_time
async def test_health_and_readiness_need_no_token() -> None:
    async with site() as here:
        web = await here.api(TOKEN)
        assert (await web.get("/health")).json == {"status": "ok"}
        assert (await web.get("/ready")).json == {"status": "ready"}
        here.stop()
        stopping = await web.get("/ready")
        assert (stopping.status, stopping.json["type"]) == (503, "urn:dagnats:not-ready")


@in_virtual_time
async def test_without_nats_the_server_is_not_healthy_and_says_when_to_ask_again() -> None:
    async with site() as here:
        connection = here.server.connect()
        api = Api(connection)
        await api.open()
        await connection.close()
        ill = await Caller(api.app()).get("/health")
        assert (ill.status, ill.json["type"], ill.headers["retry-after"]) == (503, "urn:dagnats:unavailable", "1")


@in_virtual_time
async def test_what_is_not_there_and_what_cannot_be_done_are_problems_like_all_others() -> None:
    async with site() as here:
        web = await here.api()
        assert (await web.get("/v2")).json["status"] == 404
        wrong = await web.get("/v1/tasks/poll")
        assert (wrong.status, wrong.json["title"]) == (405, "Method Not Allowed")


@in_virtual_time
async def test_a_server_that_stops_answers_who_waits() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        await here.client.start("solo")
        (task,) = await web.poll(WORK)
        polling = asyncio.create_task(web.poll("other.type", timeout_ms=60_000))
        waiting = asyncio.create_task(web.resolve(task, "wait_signal", name="go", timeout_ms=3_600_000))
        connected = asyncio.create_task(web.post("/v1/workers/connect", {"worker_id": "w1", "task_types": [WORK]}))
        await asyncio.sleep(80)
        (shown,) = map(decode_worker, await here.ports.directory.all())
        assert (shown.worker_id, shown.task_types, shown.transport) == ("w1", (WORK,), "bridge")
        begun = asyncio.get_running_loop().time()
        here.stop()
        assert await polling == []
        assert (await waiting).status == 503
        said = (await connected).body.decode().split("\n\n")
        assert [event.partition("\n")[0] for event in said[:-1]] == ["event: connected", *["event: heartbeat"] * 3]
        assert asyncio.get_running_loop().time() - begun < 1
        assert await here.ports.directory.all() == []


# -- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", "127.0.0.1:8080"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("localhost:81", "localhost:81"),
        ("[::1]:8080", "[::1]:8080"),
        ("0.0.0.0:8080", "0.0.0.0:8080"),
    ],
)
def test_an_address_is_a_host_and_a_port_and_without_a_host_this_machine(text: str, address: str) -> None:
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text", ["", "8080", "localhost", "localhost:http", "::1:80", "host:70000", "host:-1", "host:8o"]
)
def test_what_is_no_address_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"not HOST:PORT, such as 127\.0\.0\.1:8080"):
        parse_address(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_an_address_that_others_can_reach_needs_something_that_keeps_them_out(host: str) -> None:
    with pytest.raises(DagnatsError, match="nothing would keep anybody out") as refused:
        expect_safe(Address(host, 8080), Access())
    for cure in ("DAGNATS_HTTP_TOKENS=true", "dagnats token create", "access.basic", "127.0.0.1:8080", "--insecure"):
        assert cure in refused.value.hint
    network = ipaddress.ip_network("10.0.0.0/8")
    for access in (
        Access(token=TOKEN),
        Access(tokens=True),
        Access(basic={"ann": Person("pass", "read")}),
        Access(forward=Forward((network,), "X-Forwarded-User", "read")),
        Access(insecure=True),
    ):
        expect_safe(Address(host, 8080), access)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_an_address_of_this_machine_alone_needs_nothing(host: str) -> None:
    expect_safe(Address(host, 8080), Access())


def test_an_address_that_somebody_named_and_that_is_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"127.0.0.1:{port} is in use"):
            bound(Address("127.0.0.1", port, named=True))


def test_the_default_address_gives_way_when_it_is_in_use(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = bound(Address("127.0.0.1", port))
        assert other.getsockname()[1] not in (0, port)
        other.close()
    assert f"127.0.0.1:{port} is in use" in caplog.text
    assert "--http" in caplog.text


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(DagnatsError, match=r"cannot listen on 192\.0\.2\.1:0"):
        bound(Address("192.0.2.1", 0, named=True))


async def test_a_listener_serves_until_it_is_left() -> None:
    stopped: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with listening(app, bound(Address("127.0.0.1", 0)), stopping=lambda: stopped.append(True)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        writer.close()
    assert stopped == [True]
    with pytest.raises(OSError):
        await asyncio.open_connection(host, int(port))
