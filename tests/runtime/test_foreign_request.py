"""A URL as a worker: what is sent, what an answer means, and where a request never goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats.config.worker import WorkerSettings
from dagnats.errors import Abort, Retry
from dagnats.handling.context import TaskContext
from dagnats.runtime.foreign.handler import AttemptTimeout, foreign_handlers
from dagnats.runtime.foreign.request import Requester, RequestFailed, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from dagnats.runtime.foreign.address import Address

CONTEXT = TaskContext("run-1", "step-1", "wf", "pay", attempt=2, worker_id="w")
LOOPBACK = ("127.0.0.1",)
SECRET = "s3cr3t-Zebra"


class Site:
    """A web server that remembers what it got, byte for byte, and answers as it was told."""

    def __init__(self, answer: bytes, *, closes: bool = True) -> None:
        self.got: list[bytes] = []
        self.port = 0
        self._answer = answer
        self._closes = closes
        self._answering: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering.add(asyncio.ensure_future(self._serve(reader, writer)))

    async def done(self) -> None:
        """Wait until all connections are closed."""
        await asyncio.gather(*self._answering)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.got.append(head + body)
        writer.write(self._answer)
        if not self._closes:
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def site(answer: bytes, *, closes: bool = True) -> AsyncGenerator[Site]:
    made = Site(answer, closes=closes)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.done()


def answer(code: int, body: bytes = b"", **headers: str) -> bytes:
    named = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {code} Whatever\r\n{lines}\r\n".encode() + body


async def send(
    url: str, data: bytes = b"{}", *, allow: Sequence[str] = LOOPBACK, found: Sequence[str] = (), **settings: Any
) -> Any:
    """One attempt's output; with `found`, those are the addresses of every host."""
    worker = WorkerSettings(http=url, allow=allow, **settings)  # pyright: ignore[reportArgumentType]  # as a file says it

    async def resolved(host: str, port: int) -> list[Address]:
        return [ip_address(address) for address in found]

    requester = Requester(worker, resolve=resolved) if found else Requester(worker)
    return msgspec.json.decode(await requester.request(data, CONTEXT))


# -- what is sent ----------------------------------------------------------------------------------------------


async def test_the_input_is_posted_and_the_answer_is_the_output() -> None:
    async with site(answer(200, b'{"paid": true}', content_type="application/json")) as server:
        url = f"http://127.0.0.1:{server.port}/hook?a=1"
        assert await send(url, b'{"amount": 1.50}', headers={"X-Key": SECRET}) == {"paid": True}
    head, _, body = server.got[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?a=1 HTTP/1.1"
    assert body == b'{"amount": 1.50}'
    assert {f"Host: 127.0.0.1:{server.port}", f"X-Key: {SECRET}", "DagNats-Run-Id: run-1"} <= set(lines)
    assert {"DagNats-Step-Id: step-1", "DagNats-Attempt: 2", "Content-Type: application/json"} <= set(lines)


async def test_a_method_without_a_body_sends_none_and_user_and_password_are_a_header() -> None:
    async with site(answer(204)) as server:
        assert await send(f"http://ann:{SECRET}@127.0.0.1:{server.port}/x", http_method="GET") is None
    head = server.got[0].decode()
    assert head.startswith("GET /x HTTP/1.1\r\n")
    assert "Authorization: Basic " in head
    assert SECRET not in head


async def test_an_id_cannot_smuggle_a_header_in() -> None:
    context = TaskContext("r\r\nX-Evil: 1", "s", "wf", "pay", attempt=1, worker_id="w")
    async with site(answer(204)) as server:
        worker = WorkerSettings(http=f"http://127.0.0.1:{server.port}/", allow=LOOPBACK)  # pyright: ignore[reportArgumentType]
        await Requester(worker).request(b"{}", context)
    assert b"\r\nX-Evil" not in server.got[0]


# -- what an answer means --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Abort),
        (401, Abort),
        (404, Abort),
        (408, RequestFailed),
        (409, Abort),
        (422, Abort),
        (425, RequestFailed),
        (429, RequestFailed),
        (500, RequestFailed),
        (503, RequestFailed),
        (301, Abort),
        (307, Abort),
    ],
)
async def test_a_no_is_for_good_or_not_as_its_code_says(code: int, kind: type[Exception]) -> None:
    async with site(answer(code, b"because", location="http://127.0.0.1:1/")) as server:
        with pytest.raises(kind, match=f"POST http://127.0.0.1:{server.port} answered {code}: because"):
            await send(f"http://127.0.0.1:{server.port}/hook")
    assert len(server.got) == 1


@pytest.mark.parametrize("code", [429, 503])
async def test_a_server_may_say_when_to_come_again(code: int) -> None:
    async with site(answer(code, retry_after="7")) as server:
        with pytest.raises(Retry) as asked:
            await send(f"http://127.0.0.1:{server.port}/")
    assert asked.value.after == timedelta(seconds=7)


def test_when_to_come_again_may_be_a_date() -> None:
    at = datetime.now(UTC) + timedelta(minutes=5)
    found = retry_after({"retry-after": format_datetime(at, usegmt=True)})
    assert found is not None
    assert timedelta(minutes=4) < found <= timedelta(minutes=5)
    assert retry_after({"retry-after": format_datetime(at - timedelta(days=1))}) == timedelta()
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        (answer(200, b"x" * 2_000), Abort, "answered with more than 1000 bytes"),
        (answer(200, b"x", content_encoding="gzip"), Abort, "content encoding 'gzip'"),
        (answer(200, b"\xff"), Abort, "neither JSON nor UTF-8"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx", RequestFailed, "RemoteProtocolError"),
        (b"no http at all\r\n\r\n", RequestFailed, "RemoteProtocolError"),
        (b"", RequestFailed, "RemoteProtocolError"),
    ],
)
async def test_an_answer_that_can_be_no_output_says_why(raw: bytes, kind: type[Exception], said: str) -> None:
    async with site(raw) as server:
        with pytest.raises(kind, match=said):
            await send(f"http://127.0.0.1:{server.port}/", max_output_bytes=1_000)


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async with site(b"", closes=False) as server:
        worker = WorkerSettings(http=f"http://127.0.0.1:{server.port}/", allow=LOOPBACK, timeout="200ms")  # pyright: ignore[reportArgumentType]
        (handler,) = foreign_handlers({"pay": worker})
        with pytest.raises(AttemptTimeout, match="no result within the worker's timeout of 200ms"):
            await handler(msgspec.Raw(b"{}"), CONTEXT)


# -- where it goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "127.1", "[::ffff:127.0.0.1]", "0"]
)
async def test_this_machine_is_not_reached_however_it_is_spelt(host: str) -> None:
    async with site(answer(200)) as server:
        with pytest.raises((Abort, RequestFailed), match=r"which may not be reached|has no address"):
            await send(f"http://{host}:{server.port}/", allow=())
    assert not server.got


async def test_the_connection_goes_to_the_address_that_was_checked_and_names_the_host() -> None:
    async with site(answer(200, b"1")) as server:
        url = f"http://does-not-exist.invalid:{server.port}/"
        assert await send(url, found=["127.0.0.1"]) == 1
    assert f"Host: does-not-exist.invalid:{server.port}\r\n".encode() in server.got[0]


async def test_a_host_that_starts_to_lead_here_is_refused() -> None:
    async with site(answer(200)) as server:
        with pytest.raises(Abort, match=r"host 'hook\.example' is at 127\.0\.0\.1, which may not be reached"):
            await send(f"http://hook.example:{server.port}/", allow=["hook.example"], found=["127.0.0.1"])
    assert not server.got


async def test_the_next_address_is_tried_when_one_takes_no_connection() -> None:
    async with site(answer(200, b"1")) as server:
        found = ["127.0.0.2", "127.0.0.1"]  # the server listens on the second one only
        assert await send(f"http://h.example:{server.port}/", allow=["127.0.0.0/8"], found=found) == 1
        assert len(server.got) == 1


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with site(answer(200, b"1")) as server:
        assert await send(f"http://127.0.0.1:{server.port}/") == 1


# -- secrets ---------------------------------------------------------------------------------------------------


async def test_no_secret_is_in_an_error_or_a_log_though_the_server_repeats_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"you sent Bearer {SECRET} to /hooks/{SECRET}/x?key={SECRET}, {SECRET}".encode() + b"." * 300
    async with site(answer(500, echo)) as server:
        url = f"http://ann:{SECRET}@127.0.0.1:{server.port}/hooks/{SECRET}/x?key={SECRET}"
        with pytest.raises(RequestFailed) as failed:
            await send(url, headers={"Authorization": f"Bearer {SECRET}"})
    async with site(b"") as server:
        with pytest.raises(RequestFailed) as lost:
            await send(f"http://ann:{SECRET}@127.0.0.1:{server.port}/hooks/{SECRET}?key={SECRET}")
    assert "you sent ***" in str(failed.value)
    assert SECRET not in str(failed.value) + str(lost.value) + caplog.text
