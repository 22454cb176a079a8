"""The routes about the whole: definitions, waits, what is wrong, what is over, and the servers that keep the log."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.runtime.api.server import standing_of
from dagnats.runtime.jetstream.peer import peers_of
from dagnats.runtime.ports import Peer
from tests.api.site import WORK, in_virtual_time, one_step, site
from tests.api.world import world


@in_virtual_time
async def test_a_definition_is_tried_out_without_being_stored() -> None:
    async with site() as here:
        web, data = await here.api(), one_step().build().to_json()
        tried = await web.send("/v1/workflows?dry_run=true", data)
        assert (tried.json["action"], tried.json["status"]) == ("created", "unchanged")
        valid = await web.send("/v1/workflows/validate", data)
        assert (valid.json["valid"], valid.json["name"]) == (True, "solo")
        assert (await web.get("/v1/workflows")).json == []
        bad = await web.send("/v1/workflows/validate", b'{"name": "x y", "steps": [{"id": "a", "depends_on": ["b"]}]}')
        assert (bad.status, bad.json["valid"]) == (200, False)
        assert {"name", "steps[0].depends_on[0]"} <= {each["path"] for each in bad.json["problems"]}


@in_virtual_time
async def test_a_deleted_workflow_is_not_there_and_its_runs_go_on() -> None:
    async with world() as all_there:
        web, run_id = all_there.web, all_there.names["run_id"]
        assert (await web.ask("DELETE", "/v1/workflows/solo")).json == {"name": "solo", "deleted": True}
        assert (await web.get("/v1/workflows/solo")).status == 404
        assert (await web.post("/v1/runs", {"workflow": "solo"})).status == 404
        assert (await web.get(f"/v1/runs/{run_id}")).json["status"] == "running"
        (task, *_) = await web.poll(WORK)
        assert (await web.resolve(task, "complete", output=1)).status == 200
        assert (await all_there.here.client.handle(run_id).wait()).status == "completed"


@in_virtual_time
async def test_a_wait_is_completed_or_given_up_by_hand() -> None:
    async with world() as all_there:
        web, names = all_there.web, all_there.names
        found = {each["step_id"]: each for each in (await web.get("/v1/waitpoints")).json}
        assert (found["paid"]["match"], found["ask"]["kind"]) == ("id == 1", "approval")
        done = await web.post(f"/v1/waitpoints/{names['waits']}/paid/complete", {"id": 1, "cents": 5})
        assert done.json == {"status": "completed", "run_id": names["waits"], "step": "paid"}
        view = await all_there.here.client.handle(names["waits"]).wait()
        assert view.output == {"id": 1, "cents": 5}
        gone = await web.post(f"/v1/waitpoints/{names['waits']}/paid/complete", {})
        assert gone.status == 404
        bad = await web.send(f"/v1/waitpoints/{names['asks']}/ask/complete", b"{")
        assert (bad.status, bad.paths) == (400, {"$"})
        assert (await web.post(f"/v1/waitpoints/{names['asks']}/ask/cancel", {"reason": "late"})).status == 200
        assert (await all_there.here.client.handle(names["asks"]).wait()).status == "failed"
        assert (await web.get("/v1/waitpoints")).json == []


@in_virtual_time
async def test_what_is_wrong_is_told_and_put_right_by_whoever_asks_for_that() -> None:
    async with world() as all_there:
        web = all_there.web
        await web.post(f"/v1/queues/{WORK}/pause", {})
        ill = (await web.get("/v1/doctor")).json
        assert not ill["healthy"]
        (paused,) = [each for each in ill["findings"] if each["kind"] == "queue-paused"]
        assert (paused["subject"], paused["fixed"]) == (WORK, False)
        mended = (await web.post("/v1/doctor", {})).json
        assert [each["fixed"] for each in mended["findings"] if each["kind"] == "queue-paused"] == [True]
        assert not [each for each in (await web.get("/v1/doctor")).json["findings"] if each["kind"] == "queue-paused"]


@in_virtual_time
async def test_cleaning_is_a_dry_run_unless_somebody_says_otherwise() -> None:
    async with world() as all_there:
        web = all_there.web
        counts: dict[str, Any] = {
            "runs": 2,
            "running": 0,
            "dead_letters": 1,
            "workflows": 0,
            "telemetry": 0,
            "left": [],
        }
        tried = (await web.post("/v1/clean", {"measured": True})).json
        counts["before"] = tried["before"]
        assert tried.pop("entries")[0]["name"] == "WORKFLOW_HISTORY"
        counts["entries"] = []
        assert {**tried, "entries": []} == {**counts, "dry_run": True}
        assert len((await web.get("/v1/dlq")).json) == 1
        done = await web.post("/v1/clean", {"dry_run": False, "before": tried["before"]})
        assert done.json == {**counts, "dry_run": False}
        assert (await web.get("/v1/dlq")).json == []
        assert (await web.get(f"/v1/runs/{all_there.names['done']}")).status == 404
        wrong = await web.post("/v1/clean", {"types": ["everything"], "older_than": "soon"})
        assert wrong.status == 400
        assert (await web.post("/v1/clean", {"older_than": "soon"})).status == 400
        assert (await web.post("/v1/clean", {"older_than": "1h", "before": "2027-01-01"})).status == 400


# -- the servers that keep the log -------------------------------------------------------------------------------


@in_virtual_time
async def test_a_server_that_is_alone_says_so() -> None:
    async with site() as here:
        web = await here.api()
        for path in ("/health/cluster", "/v1/health/cluster"):
            assert (await web.get(path)).json == {"status": "ok", "clustered": False, "peers": []}


LED: dict[str, Any] = {
    "name": "prod",
    "leader": "n1",
    "replicas": [
        {"name": "n3", "current": False, "offline": True, "active": 9, "lag": 7},
        {"name": "n2", "current": True, "active": 1},
    ],
}


SILENT: dict[str, Any] = {"current": True, "active": 6_000_000_000}  # as NATS tells it of one that was killed


def test_the_peers_are_those_of_the_log_the_leading_one_first() -> None:
    assert peers_of({"cluster": LED}) == [
        Peer("n1", leads=True, current=True, online=True),
        Peer("n2", leads=False, current=True, online=True),
        Peer("n3", leads=False, current=False, online=False, lag=7),
    ]
    unheard: list[dict[str, Any]] = [{"name": "n1", "current": True}, {"name": "n2", "current": False}]
    assert [each.online for each in peers_of({"cluster": {"name": "prod", "replicas": unheard}})] == [True, False]
    (_, silent) = peers_of({"cluster": {**LED, "replicas": [{"name": "n2", **SILENT}]}})
    assert (silent.online, silent.current) == (False, False)
    assert peers_of({}) == peers_of({"cluster": {"leader": "alone"}}) == []


@pytest.mark.parametrize(
    ("cluster", "status"),
    [
        ({**LED, "replicas": [{"name": "n2", "current": True}, {"name": "n3", "current": True}]}, "ok"),
        ({**LED, "replicas": [{"name": "n2", "current": True}, {"name": "n3", "current": False}]}, "degraded"),
        (LED, "degraded"),
        ({**LED, "replicas": [{"name": "n2", "current": True}, {"name": "n3", **SILENT}]}, "degraded"),
        ({**LED, "replicas": [{"name": "n2", **SILENT}, {"name": "n3", **SILENT}]}, "lost"),
        ({**LED, "replicas": [{"name": "n2", "offline": True}, {"name": "n3", "offline": True}]}, "lost"),
        ({**LED, "leader": ""}, "lost"),
        ({"name": "prod", "leader": "n1"}, "ok"),
    ],
)
def test_the_servers_are_lost_without_a_leader_or_more_than_half_of_them(cluster: dict[str, Any], status: str) -> None:
    assert standing_of(peers_of({"cluster": cluster})) == status
