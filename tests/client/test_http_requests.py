"""Requests that go wrong: what is sent again, for how long, and what is told when that does not help."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Self

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats import ConflictError, DagnatsError, NotFoundError, UnavailableError, connect_http
from dagnats.client.http import HttpClient
from dagnats.client.http.wire import Sent, events_in
from dagnats.errors import RefusedError
from dagnats.runtime.memory.loop import virtual_loop
from tests.api.site import in_virtual_time

RUN = "a" * 32
BUSY = httpx.Response(503, headers={"retry-after": "2"}, text="not now")
EVENT = (
    b'id: %d\nevent: step.started\ndata: {"seq": %d, "type": "step.started", "run_id": "r", "step_id": "s",'
    b' "attempt": 1, "timestamp": "2026-01-01T00:00:00Z", "data": null, "trace_parent": "", "worker_id": ""}\n\n'
)


class Server:
    """Answers requests in order, as it is told; its health is always good."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/health"):
            return httpx.Response(200, json={"status": "ok"})
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def client(self, url: str = "http://far.example/dagnats", **settings: Any) -> AsyncGenerator[HttpClient]:
        async with connect_http(url, transport=httpx.MockTransport(self.answer), **settings) as client:
            yield client


class Broken(httpx.AsyncByteStream):
    """A stream that breaks behind what it has."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data
        raise httpx.ReadError("the cable was pulled")


@in_virtual_time
async def test_a_server_that_cannot_answer_is_asked_again_when_it_says() -> None:
    server, loop = Server(BUSY, httpx.Response(429), httpx.Response(200, json=[])), virtual_loop()
    async with server.client() as client:
        before = loop.time()
        assert await client.workers() == []
        assert loop.time() - before == pytest.approx(3.0)


@in_virtual_time
async def test_patience_ends() -> None:
    server, loop = Server(*[BUSY] * 9), virtual_loop()
    async with server.client(patience="5s") as client:
        before = loop.time()
        with pytest.raises(UnavailableError, match=r"http://far\.example/dagnats cannot answer now: status 503"):
            await client.workers()
        assert (len(server.asked), loop.time() - before) == (3, pytest.approx(4.0))


@in_virtual_time
async def test_a_start_whose_answer_was_lost_is_the_same_start_again() -> None:
    server = Server(httpx.ReadError("gone"), httpx.Response(201, json={"run_id": RUN}))
    async with server.client() as client:
        assert (await client.start("order", 1)).run_id == RUN
        first, second = server.asked
        assert first.content == second.content
        assert b'"run_id":""' not in first.content


@in_virtual_time
async def test_an_order_whose_answer_was_lost_is_not_given_twice() -> None:
    server = Server(httpx.ReadError("gone"))
    async with server.client() as client:
        with pytest.raises(UnavailableError, match="broke before there was an answer: gone"):
            await client.handle(RUN).cancel()
        assert len(server.asked) == 1


@in_virtual_time
async def test_an_order_that_never_left_is_given_again_and_one_that_may_have_been_done_says_so() -> None:
    over = {"detail": "it is over", "error": {"name": "ConflictError", "message": "it is over"}}
    conflict = httpx.Response(409, json=over, headers={"content-type": "application/problem+json"})
    async with Server(httpx.ConnectError("refused"), httpx.Response(200, json={})).client() as client:
        await client.handle(RUN).cancel()
    async with Server(httpx.ConnectError("refused"), conflict).client() as client:
        with pytest.raises(ConflictError, match="it is over") as sure:
            await client.handle(RUN).cancel()
        assert sure.value.hint == ""
    async with Server(BUSY, conflict).client() as client:
        with pytest.raises(ConflictError, match="it is over") as unsure:
            await client.handle(RUN).cancel()
        assert unsure.value.hint == "it may have been this very call: the answer to its first try was lost"


@in_virtual_time
async def test_a_stream_goes_on_behind_its_last_event_over_as_many_connections_as_it_takes() -> None:
    server = Server(
        httpx.Response(200, stream=Broken(b": beat\n\n" + EVENT % (3, 3))),
        httpx.ConnectError("refused"),
        httpx.Response(200, content=EVENT % (5, 5)),  # ended by a server that stops
        BUSY,
        httpx.Response(204),
    )
    async with server.client() as client:
        assert [event.seq async for event in client.handle(RUN).events(after=1)] == [3, 5]
        assert [request.url.params["after"] for request in server.asked] == ["1", "3", "3", "5", "5"]


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (httpx.Response(502, text="<html>"), UnavailableError, "the proxy before .* status 502"),
        (
            httpx.Response(307, headers={"location": "https://u:p@b/"}),
            DagnatsError,
            r"ask elsewhere: 'https://\*\*\*@b/'",
        ),
        (httpx.Response(418, text="tea"), DagnatsError, "answered status 418"),
        (httpx.Response(200, text="<html>"), DagnatsError, "not what this version of DagNats knows"),
    ],
)
def test_what_is_none_of_our_answers_is_told(answer: httpx.Response, kind: type[DagnatsError], told: str) -> None:
    async def ask() -> None:
        async with Server(*[answer] * 2).client(patience="0s") as client:
            with pytest.raises(kind, match=told):
                await client.workers()

    in_virtual_time(ask)()


@in_virtual_time
async def test_a_token_that_does_not_let_in_is_refused_and_never_shown() -> None:
    denied = {"type": "urn:dagnats:unauthorized", "detail": "send the header"}
    answer = httpx.Response(401, json=denied, headers={"content-type": "application/problem+json"})
    server = Server(answer)
    async with server.client("http://ann:hunter2@far.example", token="hunter3") as client:
        with pytest.raises(RefusedError, match=r"http://\*\*\*@far.example does not let us do this") as refused:
            await client.workers()
        assert refused.value.code == 401
        assert "hunter" not in str(refused.value) + refused.value.hint


@in_virtual_time
async def test_what_is_no_address_of_http_is_refused_at_once() -> None:
    for url in ("", "nats://host:4222", "http://", "http://host:port"):
        with pytest.raises(DagnatsError, match="of a DagNats server over HTTP"):
            await connect_http(url)


@in_virtual_time
async def test_an_id_that_no_run_can_have_is_not_asked_for() -> None:
    async with Server().client() as client:
        with pytest.raises(NotFoundError):
            client.handle("a/../b")


class Parts:
    """Bytes in parts."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        self._parts = iter([data[start:end] for start, end in pairwise(ends)])

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            return part
        raise StopAsyncIteration


@given(st.lists(st.text(alphabet="a\u2028\x0b\x85{}: ").map(str.encode), max_size=4), st.lists(st.integers(0, 200)))
def test_events_are_the_same_in_whatever_parts_they_come(said: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b": beat\n\nid: %d\nevent: e\ndata: %b\n\n" % (at, each) for at, each in enumerate(said))

    async def read() -> None:
        found = [event async for event in events_in(Parts(data, cuts))]
        assert found == [Sent(at, each) for at, each in enumerate(said)]

    in_virtual_time(read)()
