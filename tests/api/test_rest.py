"""Every operation of the API: its good call, a bad body, a name that nobody has; and never a fault of ours."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from dagnats.errors import (
    ConflictError,
    DagnatsError,
    DecodeError,
    DefinitionError,
    InputError,
    NotFoundError,
    RefusedError,
    ResultTimeout,
    RunFailed,
    UnavailableError,
)
from dagnats.runtime.api import openapi
from dagnats.runtime.api.body import Body
from dagnats.runtime.api.operation import Operation
from dagnats.runtime.api.problem import on_error
from dagnats.runtime.api.rest import OPERATIONS
from dagnats.runtime.blob import BlobLost
from tests.api.site import in_virtual_time
from tests.api.world import GOOD, good_call, key_of, world
from tests.support.processes import ROOT

if TYPE_CHECKING:
    from tests.api.world import World

TOKEN = "a-token-of-the-api"
NOWHERE = {
    "run_id": "0" * 32,
    "workflow": "nobody",
    "queue": "nobody.here",
    "seq": "999",
    "token": "nobody",
    "imported": "nobody-0001",
    "trigger_type": "nobody",
}
NAMED = [operation for operation in OPERATIONS if set(re.findall(r"\{(\w+)\}", operation.path)) & {*NOWHERE}]
CHECKED = [operation for operation in OPERATIONS if operation.body is not None and issubclass(operation.body, Body)]


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.paths[0]}"


def test_every_good_call_is_one_of_an_operation() -> None:
    assert set(GOOD) <= {key_of(operation) for operation in OPERATIONS}


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_a_good_call_is_answered_as_the_description_says(operation: Operation) -> None:
    async def call() -> None:
        async with world() as all_there:
            answer = await all_there.call(operation, good_call(operation))
            assert answer.status == operation.status, answer
            if operation.answer is None:
                assert answer.headers["content-type"].startswith("text/event-stream")
            else:
                assert answer.headers["content-type"] == "application/json"
                msgspec.json.decode(answer.body, type=operation.answer)

    in_virtual_time(call)()


@in_virtual_time
async def test_what_is_not_there_is_not_found() -> None:
    async with world() as all_there:
        for operation in NAMED:
            call = good_call(operation)._replace(before=(), of="run_id")
            answer = await all_there.call(operation, call, **NOWHERE)
            assert (answer.status, answer.json["type"]) == (404, "urn:dagnats:not-found"), (name_of(operation), answer)
            assert answer.headers["content-type"] == "application/problem+json"


@in_virtual_time
async def test_a_body_that_cannot_be_read_is_refused_wherever_there_is_one() -> None:
    async with world() as all_there:
        for operation in CHECKED:
            for data in (b"{", b"[]", b'{"\xff": 1}', b"[" * 10_000):
                answer = await send(all_there, operation, data)
                assert (answer.status, answer.paths) == (400, {"$"}), (name_of(operation), data[:9], answer)


@in_virtual_time
async def test_a_member_that_nobody_knows_is_refused_and_the_one_that_was_meant_is_named() -> None:
    async with world() as all_there:
        answer = await all_there.web.post("/v1/runs/cancel", {"workflow_id": "solo", "statsu": "pending", "dry_run": 1})
        assert (answer.status, answer.paths) == (400, {"$.statsu", "$.dry_run"})
        (problem,) = [each for each in answer.json["problems"] if each["path"] == "$.statsu"]
        assert (problem["rule"], problem["hint"]) == ("unknown-member", "did you mean 'status'?")
        for operation in CHECKED:
            answer = await send(all_there, operation, b'{"xyzzy": 1}')
            assert answer.status == 400, (name_of(operation), answer)
            assert "$.xyzzy" in answer.paths, (name_of(operation), answer)


@in_virtual_time
async def test_the_query_is_checked_whole() -> None:
    async with world() as all_there:
        answer = await all_there.web.get("/v1/runs?status=gone&limit=0&cursor=x&worklfow=solo")
        assert (answer.status, answer.paths) == (400, {"?status", "?limit", "?cursor", "?worklfow"})
        assert "the query has 4 problems" in answer.json["detail"]
        twice = await all_there.web.get("/v1/runs?status=failed&status=running")
        assert (twice.status, twice.paths) == (400, {"?status"})


@in_virtual_time
async def test_another_method_is_told_which_there_are() -> None:
    async with world() as all_there:
        # The last fits the path of an open wait as well.
        for path, methods in {"/v1/runs": "GET HEAD POST", "/v1/waitpoints/a-token/complete": "POST"}.items():
            answer = await all_there.web.ask("DELETE", path)
            assert answer.status == 405
            assert sorted(each.strip() for each in answer.headers["allow"].split(",")) == methods.split()


@in_virtual_time
async def test_the_old_path_does_the_same() -> None:
    async with world() as all_there:
        names = {**all_there.names, **NOWHERE}
        for operation in OPERATIONS:
            if operation.old:
                new, old = [await all_there.web.ask(operation.method, path.format(**names)) for path in operation.paths]
                assert f"/v1{operation.path}" == operation.paths[0] != operation.paths[1] == operation.path
                assert (old.status, old.body) == (new.status, new.body), name_of(operation)


async def send(all_there: World, operation: Operation, data: bytes) -> Any:
    path = operation.paths[0].format(**all_there.names)
    query = good_call(operation).query.format(**all_there.names)
    return await all_there.web.ask(operation.method, path + query, data)


@in_virtual_time
async def test_a_body_that_is_too_large_is_not_read() -> None:
    async with world() as all_there:
        for operation in OPERATIONS:
            if operation.body is not None:
                call = good_call(operation)
                path = (
                    operation.paths[0].format(**{**all_there.names, "token": all_there.names[call.shows]}) + call.query
                )
                answer = await all_there.web.ask(operation.method, path, content_length=str(2**40))
                assert (answer.status, answer.json["type"]) == (413, "urn:dagnats:too-large"), name_of(operation)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("run", "x"), 404),
        (ConflictError("it is over"), 409),
        (InputError("it does not fit", []), 422),
        (DefinitionError([]), 422),
        (RefusedError("too deep"), 400),
        (DagnatsError("no such thing"), 400),
        (ResultTimeout("x", timedelta(seconds=1)), 408),
        (RunFailed("x"), 409),
        (BlobLost("it is gone"), 410),
        (DecodeError("not ours"), 500),
        (UnavailableError("NATS is away"), 503),
    ],
    ids=lambda each: type(each).__name__,
)
async def test_each_kind_of_error_has_a_status(error: DagnatsError, status: int) -> None:
    answer = await on_error(Request({"type": "http"}), error)
    document = msgspec.json.decode(answer.body)
    assert (answer.status_code, document["status"]) == (status, status)
    assert answer.media_type == "application/problem+json"
    assert ("retry-after" in answer.headers) is (status == 503)


# -- who may ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_whoever_has_no_token_is_let_in_nowhere_and_whoever_has_it_everywhere() -> None:
    async with world() as all_there:
        stranger, friend = (
            await all_there.here.api(TOKEN),
            await all_there.here.api(TOKEN, authorization=f"Bearer {TOKEN}"),
        )
        for operation in OPERATIONS:
            if operation.scope is None:
                continue  # whoever has the token in the path needs no other
            path = operation.paths[0].format(**{**all_there.names, **NOWHERE})
            assert (await stranger.ask(operation.method, path)).status == 401, name_of(operation)
            assert (await friend.ask(operation.method, path)).status not in (401, 403), name_of(operation)


# -- whatever is said ------------------------------------------------------------------------------------------

_TEXT = st.text(max_size=12) | st.sampled_from(["solo", "*", ">", "a.b", "..", "\0", "9999-12-31", "+1h", "1s", "-1"])
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Operation, dict[str, str], list[tuple[str, str]], bytes]:
    operation = draw(st.sampled_from(OPERATIONS))
    names = {name: draw(_TEXT) for name in re.findall(r"\{(\w+)\}", operation.path) if draw(st.booleans())}
    query = [(name, draw(_TEXT)) for name in operation.query.model_fields if draw(st.booleans())]
    body: Any = draw(_VALUE) if draw(st.booleans()) else good_call(operation).body
    if operation.body is not None and issubclass(operation.body, Body):
        good: dict[str, Any] = good_call(operation).body or {}
        body = {**good, **{name: draw(_VALUE) for name in operation.body.model_fields if draw(st.booleans())}}
    return operation, names, query, msgspec.json.encode(body)


@settings(max_examples=3)  # each is a site of its own, and forty requests; `make fuzz` says far more to one server
@given(st.lists(requests(), min_size=40, max_size=40))
def test_whatever_is_said_no_fault_is_ours(said: list[Any]) -> None:
    async def call() -> None:
        async with world() as all_there:
            for operation, names, query, body in said:
                if operation.streams is not None and operation.answer is None:
                    continue  # a stream of a run under way ends with the run
                quoted = {name: quote(text, safe="") for name, text in {**all_there.names, **names}.items()}
                path = operation.paths[0].format(**quoted) + "?" + urlencode(query)
                answer = await all_there.web.ask(operation.method, path, body)
                assert answer.status < 500, (operation.method, path, body, answer)

    in_virtual_time(call)()


# -- the description -------------------------------------------------------------------------------------------


def test_every_reference_of_the_description_leads_somewhere() -> None:
    document = openapi.description(OPERATIONS)
    known = document["components"]["schemas"]
    wanted = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(document).decode()))
    assert wanted <= set(known)
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids)) == sum(len(operation.paths) for operation in OPERATIONS)


@in_virtual_time
async def test_the_end_of_each_stream_is_answered_as_it_is_described() -> None:
    document = openapi.description(OPERATIONS)
    async with world() as all_there:
        for path in (each.paths[0] for each in OPERATIONS if each.streams is not None):
            if "{run_id}" not in path:
                continue  # logs go on for as long as somebody listens
            # What has ended, and further on than it goes.
            asked = path.format(run_id=all_there.names["done"], step="work")
            answer = await all_there.web.get(asked, accept="text/event-stream", last_event_id="999999")
            assert (answer.status, answer.body) == (204, b""), path
            assert "204" in document["paths"][path]["get"]["responses"], path


@in_virtual_time
async def test_the_description_is_there_for_machines_and_for_people() -> None:
    async with world() as all_there:
        found = (await all_there.web.get("/openapi.json")).json
        assert found["openapi"] == "3.1.0"
        assert found["paths"]["/v1/runs"]["post"]["requestBody"]["required"] is True
        assert found["paths"]["/runs"]["get"]["deprecated"] is True
        page = await all_there.web.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "/v1/runs/{run_id}/diagnose" in page.body.decode()


def test_the_page_lists_every_operation() -> None:
    rows = [
        line
        for line in (ROOT / "docs/http.md").read_text().splitlines()
        if line.startswith(("| GET", "| POST", "| DEL"))
    ]
    old = {operation.path for operation in OPERATIONS if operation.old or operation.older}
    assert rows == [
        f"| {each.method} | `{each.paths[0]}`{' °' if each.path in old else ''} | {each.wants} | {each.summary} |"
        for each in OPERATIONS
        if not each.older
    ]
