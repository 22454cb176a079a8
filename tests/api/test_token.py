"""Tokens: every route for every scope, what lets nobody in, and what is kept from those who are limited."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from dagnats import Workflow
from dagnats.client.token import all_tokens, create_token, revoke_token
from dagnats.errors import ConflictError, DagnatsError, NotFoundError
from dagnats.runtime.api.access import Access
from dagnats.runtime.api.app import FIXED
from dagnats.runtime.api.concern import concern_of
from dagnats.runtime.api.rest import OPERATIONS
from dagnats.runtime.token import PREFIX
from tests.api.site import WORK, Caller, Site, in_virtual_time, one_step, site
from tests.api.world import World, good_call, workflows, world

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.model.access import Scope
    from dagnats.runtime.api.operation import Operation

TOKENS = Access(tokens=True)
NOWHERE = {
    "run_id": "0" * 32,
    "workflow": "nobody",
    "queue": "nobody.here",
    "seq": "999",
    "token": "nobody",
    "imported": "nobody-0001",
    "trigger_type": "nobody",
    "step": "work",
    "name": "go",
    "type": "a.b",
    "task_id": "a.b",
}
ALLOWED: dict[Scope, set[Scope]] = {
    "read": {"read"},
    "run": {"read", "run"},
    "operate": {"read", "run", "operate"},
    "admin": {"read", "run", "operate", "admin"},
}
ROUTES: list[tuple[str, str, Scope]] = [
    *((each.method, path, each.scope) for each in OPERATIONS for path in each.paths if each.scope is not None),
    *((each.method, each.path, each.scope) for each in FIXED),
]


async def caller(here: Site, scope: Scope, *patterns: str) -> Caller:
    """Somebody with a token of their own, at a server of their own."""
    text = (await create_token(here.ports, scope, workflows=patterns)).text
    return await here.api(TOKENS, authorization=f"Bearer {text}")


# -- every route, every scope ------------------------------------------------------------------------------------


@in_virtual_time
async def test_each_route_lets_in_its_scope_and_those_above_it_and_tells_the_others_which_it_takes() -> None:
    async with site() as here:
        for held, allowed in ALLOWED.items():
            web = await caller(here, held)
            for method, path, needed in ROUTES:
                answer = await web.ask(method, path.format(**NOWHERE))
                if needed in allowed:
                    assert answer.status not in (401, 403), (held, method, path, answer)
                    continue
                assert (answer.status, answer.json["type"]) == (403, "urn:dagnats:forbidden"), (held, method, path)
                assert f"takes the scope {needed!r}" in answer.json["detail"]
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"].endswith(f'error="insufficient_scope", scope="{needed}"')


def test_what_changes_something_takes_more_than_to_look() -> None:
    changing = {(path, scope) for method, path, scope in ROUTES if method != "GET"}
    assert {path for path, scope in changing if scope == "read"} == {"/v1/workflows/validate"}  # it stores nothing
    assert {path for _, path, scope in ROUTES if scope == "admin"} == {
        "/v1/workflows",
        "/workflows",
        "/v1/registrations",
        "/v1/workflows/{workflow}",
        "/v1/clean",
        "/v1/imports",
        "/v1/imports/{imported}",
        "/v1/tokens",
        "/v1/tokens/{token}",
        "/v1/audit",
    }
    assert ("POST", "/v1/tasks/poll", "run") in ROUTES


@in_virtual_time
async def test_whoever_brings_nothing_or_another_token_is_let_in_nowhere() -> None:
    async with site() as here:
        _, _, secret = (await create_token(here.ports, "admin")).text.split("_")
        (known,) = await all_tokens(here.ports)
        strangers = ("", f"Bearer {PREFIX}{known.id}_{'0' * 40}", f"Bearer {PREFIX}{'0' * 10}_{secret}", "Bearer x")
        for authorization in strangers:
            web = await here.api(TOKENS, **({"authorization": authorization} if authorization else {}))
            for method, path, _ in ROUTES:
                answer = await web.ask(method, path.format(**NOWHERE))
                assert (answer.status, answer.json["type"]) == (401, "urn:dagnats:unauthorized"), (method, path)
                error = ', error="invalid_token"' if authorization else ""
                assert answer.headers["www-authenticate"] == f'Bearer realm="dagnats"{error}'
                assert secret not in answer.body.decode()


@in_virtual_time
async def test_a_token_that_has_expired_lets_nobody_in() -> None:
    async with site() as here:
        text = (await create_token(here.ports, "read", expires="+1m")).text
        web = await here.api(TOKENS, authorization=f"Bearer {text}")
        await asyncio.sleep(59)
        assert (await web.get("/v1/status")).status == 200
        await asyncio.sleep(1)
        late = await web.get("/v1/status")
        assert late.status == 401
        assert "has expired" in late.json["detail"]


@in_virtual_time
async def test_a_token_that_was_revoked_lets_nobody_in_at_any_server() -> None:
    async with site() as here:
        made = await create_token(here.ports, "admin", name="ci")
        servers = [await here.api(TOKENS, authorization=f"Bearer {made.text}") for _ in range(2)]
        assert [(await web.get("/v1/status")).status for web in servers] == [200, 200]
        gone = (await servers[0].ask("DELETE", "/v1/tokens/ci")).json
        assert (gone["id"], gone["name"], gone["scope"], gone["revoked"]) == (made.token.id, "ci", "admin", True)
        assert [(await web.get("/v1/status")).status for web in servers] == [401, 401]


@in_virtual_time
async def test_a_stream_ends_when_the_token_of_its_reader_is_revoked() -> None:
    async with site(one_step()) as here:
        made = await create_token(here.ports, "read")
        web = await here.api(TOKENS, authorization=f"Bearer {made.text}")
        run = await here.client.start("solo")
        reading = asyncio.create_task(web.get(f"/v1/runs/{run.run_id}/events", accept="text/event-stream"))
        await asyncio.sleep(60)
        assert not reading.done()
        await revoke_token(here.ports, made.token.id)
        async with asyncio.timeout(30):
            read = await reading
        assert read.status == 200
        assert read.body.endswith(b": beat\n\n")


@in_virtual_time
async def test_an_open_server_takes_whoever_shows_a_token_at_its_word() -> None:
    async with site() as here:
        made = await create_token(here.ports, "read", name="looker")
        web = await here.api(authorization=f"Bearer {made.text}")
        assert (await web.get("/v1/status")).status == 200
        refused = await web.post("/v1/clean", {})
        assert (refused.status, refused.json["detail"]) == (
            403,
            "this takes the scope 'admin', and token looker has 'read'",
        )
        await revoke_token(here.ports, "looker")
        assert (await web.get("/v1/status")).status == 401


# -- making them -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_token_is_told_once_and_stored_nowhere() -> None:
    async with site() as here:
        web = await caller(here, "admin")
        said = {"scope": "run", "name": "ci", "workflows": ["order-*"], "expires": "+30d", "by": "ann"}
        made = await web.post("/v1/tokens", said)
        text = made.json["token"]
        assert (made.status, made.headers["cache-control"]) == (201, "no-store")
        assert len(text.rpartition("_")[2]) * 4 >= 128
        found = (await web.get("/v1/tokens")).json
        (listed,), (admin,) = ([each for each in found if each["name"] == name] for name in ("ci", ""))
        assert (listed["id"], listed["name"], listed["scope"]) == (made.json["id"], "ci", "run")
        assert (listed["workflows"], listed["expired"]) == (["order-*"], False)
        assert listed["by"] == f"ann (token {admin['id']})"
        for stream in here.server.streams:
            for message in stream.fitting(">"):
                assert text.rpartition("_")[2].encode() not in message.data


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"name": "a b"}, "cannot be called 'a b'"),
        ({"workflows": ["order[1]"]}, "'order\\[1\\]' is no pattern"),
        ({"workflows": ["*"] * 65}, "at most 64 patterns"),
        ({"expires": "2020-01-01"}, "has passed"),
        ({"expires": "soon"}, "'soon' is no instant"),
        ({"scope": "root"}, "no scope 'root'"),
    ],
)
def test_a_token_that_cannot_be_is_not_made(settings: dict[str, object], why: str) -> None:
    async def make() -> None:
        async with site() as here:
            with pytest.raises(DagnatsError, match=why):
                await create_token(here.ports, **{"scope": "read", **settings})  # pyright: ignore[reportArgumentType]  # on purpose
            assert await all_tokens(here.ports) == []

    in_virtual_time(make)()


@in_virtual_time
async def test_a_token_is_revoked_by_its_id_its_name_or_itself() -> None:
    async with site() as here:
        made = [await create_token(here.ports, "read", name=name) for name in ("one", "two", "three")]
        with pytest.raises(ConflictError, match="'one' already"):
            await create_token(here.ports, "read", name="one")
        for which in ("one", made[1].token.id, made[2].text):
            await revoke_token(here.ports, which)
            with pytest.raises(NotFoundError) as gone:
                await revoke_token(here.ports, which)
            assert made[2].text not in str(gone.value)
        assert await all_tokens(here.ports) == []


# -- for some workflows only -------------------------------------------------------------------------------------


@asynccontextmanager
async def limited(*patterns: str) -> AsyncGenerator[tuple[World, World]]:
    """The world, and the same for an administrator of some of its workflows."""
    async with world() as everything:
        yield everything, everything._replace(web=await caller(everything.here, "admin", *patterns))


def concerns(operation: Operation) -> str:
    return operation.concern or concern_of(operation.path)


@in_virtual_time
async def test_whoever_is_limited_to_workflows_may_do_nothing_that_concerns_another_one() -> None:
    async with limited("asking", "wait*") as (_, own):
        others = {"workflow": "solo", "step": "work", "name": "go"}
        for operation in OPERATIONS:
            if operation.scope is None:
                continue  # whoever it is, the token in the path says what it may do
            answer = await own.call(operation, good_call(operation)._replace(before=(), of="run_id", names=others))
            if concerns(operation) == "listed":
                assert answer.status == 200, (operation.paths, answer)
            else:
                assert answer.status == 403, (operation.paths, answer)
                assert "is limited to the workflows asking, wait*" in answer.json["detail"]
        for fixed in FIXED:
            answer = await own.web.ask(fixed.method, fixed.path.format(**NOWHERE), b"{}")
            assert (answer.status == 403) is fixed.everybodys, (fixed.path, answer)


@in_virtual_time
async def test_whoever_is_limited_to_workflows_may_do_everything_with_these() -> None:
    async with limited("so*") as (_, own):
        assert (await own.web.post("/v1/runs", {"workflow": "solo"})).status == 201
        for path in ("cancel", "retry", "fork", "pause"):
            answer = await own.web.post(f"/v1/runs/{own.names['run_id']}/{path}", {"from_step": "work"})
            assert answer.status != 403, (path, answer)
        assert (await own.web.post("/v1/runs/cancel", {"workflow_id": "solo", "dry_run": True})).status == 200
        assert (await own.web.ask("DELETE", f"/v1/dlq/{own.names['seq']}")).status == 200
        assert (await own.web.send("/v1/workflows", one_step("sofa").build().to_json())).status == 201


@in_virtual_time
async def test_lists_have_only_what_their_reader_may_see() -> None:
    async with limited("asking") as (everything, own):
        lists = ("/v1/workflows", "/v1/runs", "/runs", "/v1/runs/count", "/v1/dlq", "/v1/waitpoints")
        seen = {path: (await own.web.get(path)).json for path in lists}
        assert [each["name"] for each in seen["/v1/workflows"]] == ["asking"]
        for path in ("/v1/runs", "/runs", "/v1/waitpoints"):
            assert {each["workflow_id"] for each in seen[path]} == {"asking"}
            assert len((await everything.web.get(path)).json) > len(seen[path]) > 0
        assert seen["/v1/runs/count"]["count"] == 1
        assert seen["/v1/dlq"] == []
        assert (await own.web.get("/v1/runs?workflow=solo")).json == []
        assert len((await own.web.get("/v1/runs?limit=1")).json) == 1  # a page is full, though others' runs are newer
        other = await caller(own.here, "read", "solo")
        assert len((await other.get("/v1/dlq")).json) == 1


@in_virtual_time
async def test_nobody_gets_at_a_workflow_by_registering_one_that_runs_it() -> None:
    async with site(*workflows()) as here:
        web = await caller(here, "admin", "my-*")
        mine = Workflow("my-own")
        mine.sub_workflow("theirs", "solo")
        refused = await web.send("/v1/workflows", mine.build().to_json())
        assert refused.status == 403
        assert "workflow 'solo' is none of these" in refused.json["detail"]
        assert WORK not in refused.json["detail"]
