"""Who did what: every change is written down before it is answered, and a flood of refusals does not fill the book."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats.client.audit import OUTCOMES, AuditQuery, audit, record
from dagnats.client.token import create_token
from dagnats.config.policy import NOBODY
from dagnats.runtime.api import problem
from dagnats.runtime.api.access import Access
from dagnats.runtime.api.app import FIXED, Api
from dagnats.runtime.api.rest import OPERATIONS
from dagnats.runtime.memory.link import Call, Link
from dagnats.runtime.plane.office import open_plane
from dagnats.runtime.plane.request import START, Opening
from tests.api.site import Caller, in_virtual_time, one_step, site
from tests.api.test_token import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.api.site import Site

TOKENS = Access(tokens=True)


async def ci(here: Site, **settings: Any) -> Caller:
    """An administrator with a token called `ci`."""
    made = await create_token(here.ports, "admin", name="ci", **settings)
    return await here.api(TOKENS, authorization=f"Bearer {made.text}")


@in_virtual_time
async def test_every_change_leaves_one_record_and_what_only_looks_leaves_none() -> None:
    async with site() as here:
        web = await ci(here)
        changes = [each for each in OPERATIONS if each.method != "GET" and each.scope is not None]
        for each in OPERATIONS:
            await web.ask(each.method, each.paths[0].format(**NOWHERE))
        for fixed in FIXED:
            await web.ask(fixed.method, fixed.path.format(**NOWHERE))
        found = await audit(here.ports, limit=200)
        assert [deed.action for deed in reversed(found)] == [f"{each.method} {each.paths[0]}" for each in changes]
        assert {deed.by for deed in found} == {"token ci"}
        assert {deed.address for deed in found} == {"127.0.0.1"}
        assert len({deed.request_id for deed in found}) == len(changes)
        (cancelled,) = [deed for deed in found if deed.action == "POST /v1/runs/{run_id}/cancel"]
        assert (cancelled.target, cancelled.run_id, cancelled.outcome) == (
            NOWHERE["run_id"],
            NOWHERE["run_id"],
            "not-found",
        )


@in_virtual_time
async def test_a_record_says_who_did_what_to_which_run_under_the_requests_own_id() -> None:
    async with site(one_step()) as here:
        web = await ci(here)
        started = await web.post("/v1/runs", {"workflow": "solo", "by": "ann"}, x_request_id="deploy-4711")
        assert started.headers["x-request-id"] == "deploy-4711"
        (deed,) = await audit(here.ports)
        assert (deed.by, deed.action, deed.target, deed.outcome) == ("token ci", "POST /v1/runs", "solo", "done")
        assert (deed.run_id, deed.request_id) == (started.json["run_id"], "deploy-4711")
        answer = await web.get("/v1/audit?target=solo")
        (told,) = answer.json
        assert (told["by"], told["run_id"]) == ("token ci", deed.run_id)
        odd = await web.get("/v1/status", x_request_id="a b")
        assert odd.headers["x-request-id"] != "a b"


@in_virtual_time
async def test_histories_say_who_gave_an_order_as_it_was_proved() -> None:
    async with site(one_step()) as here:
        web = await ci(here)
        run_id = (await web.post("/v1/runs", {"workflow": "solo"})).json["run_id"]
        assert (await web.post(f"/v1/runs/{run_id}/pause", {"by": "ann"})).status == 200
        events = (await web.get(f"/v1/runs/{run_id}/events")).json
        said = {event["type"]: str(event) for event in events}
        assert "'token ci'" in said["workflow.started"]
        assert "'ann (token ci)'" in said["workflow.paused"]


@in_virtual_time
async def test_who_was_turned_away_is_written_down_too() -> None:
    async with site(one_step()) as here:
        await (await here.api(TOKENS, address="10.1.2.3")).get("/v1/runs")
        reader = await create_token(here.ports, "read", name="reader")
        await (await here.api(TOKENS, authorization=f"Bearer {reader.text}")).post("/v1/runs", {"workflow": "solo"})
        forbidden, unknown = await audit(here.ports, AuditQuery(outcome="refused"))
        assert (unknown.by, unknown.action, unknown.outcome) == ("nobody", "GET /v1/runs", "unauthorized")
        assert unknown.address == "10.1.2.3"
        assert (forbidden.by, forbidden.action, forbidden.outcome) == ("token reader", "POST /v1/runs", "forbidden")


@in_virtual_time
async def test_a_flood_of_refusals_leaves_few_records_and_how_many_there_were() -> None:
    async with site() as here:
        stranger = await here.api(TOKENS)
        for _ in range(200):
            assert (await stranger.get("/v1/runs")).status == 401
        few = await audit(here.ports, limit=500)
        assert 0 < len(few) < 30
        await asyncio.sleep(60)
        await stranger.get("/v1/runs")
        newest = (await audit(here.ports, limit=500))[0]
        assert newest.skipped == 200 - len(few)


@in_virtual_time
async def test_no_token_is_in_the_audit_not_even_where_a_caller_puts_one() -> None:
    async with site() as here:
        web = await ci(here)
        made = (await web.post("/v1/tokens", {"scope": "read", "name": "leaked"})).json
        secret = made["token"].rpartition("_")[2]
        await web.ask("DELETE", f"/v1/tokens/{made['token']}")
        await web.ask("DELETE", f"/v1/tokens/{made['token']}")
        await (await here.api(TOKENS)).get(f"/v1/{made['token']}")
        for stored in await here.ports.audit.tail():
            assert secret.encode() not in stored.data
        assert len(await here.ports.audit.tail()) == 4


@in_virtual_time
async def test_the_audit_is_read_a_page_at_a_time_and_by_what_one_looks_for() -> None:
    async with site(one_step()) as here:
        web = await ci(here)
        ids: list[str] = []
        for _ in range(3):
            ids.append((await web.post("/v1/runs", {"workflow": "solo"})).json["run_id"])
            await asyncio.sleep(1)
        await web.post(f"/v1/runs/{ids[0]}/cancel", {})
        await asyncio.sleep(1)
        await record(here.ports, "token create", "other", by="ann (command line)")
        first = await web.get("/v1/audit?limit=2")
        assert [each["action"] for each in first.json] == ["token create", "POST /v1/runs/{run_id}/cancel"]
        second = await web.get(first.headers["link"].partition(">")[0].removeprefix("<"))
        assert [each["run_id"] for each in second.json] == [ids[2], ids[1]]
        for query, count in (
            ("by=ANN", 1),
            ("action=cancel", 1),
            (f"target={ids[0]}", 2),
            ("outcome=done", 5),
            ("outcome=refused", 0),
            ("after=2100-01-01", 0),
            ("before=2000-01-01", 0),
        ):
            assert len((await web.get(f"/v1/audit?{query}")).json) == count, query


@in_virtual_time
async def test_an_outcome_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    async with site() as here:
        web = await ci(here)
        near = await web.get("/v1/audit?outcome=forbiden")
        assert (near.status, near.json["detail"]) == (400, "there is no outcome 'forbiden'; did you mean 'forbidden'?")
        far = await web.get("/v1/audit?outcome=%3F")
        assert far.json["detail"].startswith("there is no outcome '?'; there are done, refused, unauthorized, ")
        for right in ("refused", "quota_exceeded", "502"):
            assert (await web.get(f"/v1/audit?outcome={right}")).status == 200


def test_every_kind_of_no_is_an_outcome_that_one_can_ask_for() -> None:
    said = {kind for _, _, kind in problem.STATUS}
    for module in Path(problem.__file__).parent.glob("*.py"):
        said |= set(re.findall(r'Fault\(\s*[0-9]{3},\s*"([a-z-]+)"', module.read_text()))
    assert {"forbidden", "not-ready"} < said
    assert said - set(OUTCOMES) == set()


@in_virtual_time
async def test_what_runs_asked_of_the_control_plane_is_in_the_same_audit() -> None:
    async with site(one_step()) as here:
        end = open_plane(here.ports, here.client, NOBODY)
        asked = Opening(id="0" * 32, run_id="r", step_id="s", attempt=1, nonce="no", workflow="solo", call="1")
        await here.ports.inquiries.ask(START, msgspec.json.encode(asked))
        end()
        found = await audit(here.ports)
        assert [(each.by, each.action, each.outcome) for each in found] == [
            ("step s of run r", "control plane start", "denied")
        ]


class Forgetful(Link):
    """A connection on which no record arrives."""

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        if call.kind != "audit.append":
            arrive()


@in_virtual_time
async def test_an_answer_waits_for_its_record_only_so_long_and_the_log_has_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site() as here:
        api = Api(here.server.connect(Forgetful()))
        await api.open()
        begun = asyncio.get_running_loop().time()
        assert (await Caller(api.app()).post("/v1/clean", {})).status == 200
        assert asyncio.get_running_loop().time() - begun == pytest.approx(2, abs=0.5)
        assert "the audit lacks" not in caplog.text
        await api.close()
        assert '"action":"POST /v1/clean"' in caplog.text
