"""Logs, traces and metrics over HTTP."""

from __future__ import annotations

from dagnats.runtime.api.app import Api
from dagnats.runtime.telemetry.exporter import telemetry
from dagnats.runtime.telemetry.note import note
from tests.api.site import WORK, Caller, in_virtual_time, one_step, site
from tests.api.world import world
from tests.runtime.test_metrics import parsed
from tests.support.processes import until


@in_virtual_time
async def test_logs_are_listed_and_those_of_a_run_apart() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        async with telemetry(here.ports):
            first, second = [(await web.post("/v1/runs", {"workflow": "solo"})).json["run_id"] for _ in range(2)]
            note("worker", "WARN", "slow", run_id=second)
        found = (await web.get("/v1/logs")).json
        assert [(each["serviceName"], each["body"]) for each in found] == [
            ("api", "started run"),
            ("api", "started run"),
            ("worker", "slow"),
        ]
        assert [each["severity"] for each in found] == ["INFO", "INFO", "WARN"]  # also of lines as most are
        assert [each["body"] for each in (await web.get("/v1/logs?level=warning&since=1h")).json] == ["slow"]
        assert (await web.get("/v1/logs?text=nothing")).json == []
        assert [each["body"] for each in (await web.get("/v1/logs?limit=1")).json] == ["slow"]
        of_run = (await web.get(f"/v1/runs/{first}/logs")).json
        assert [each["attributes"] for each in of_run] == [{"run_id": first, "workflow": "solo"}]
        assert (await web.get(f"/v1/runs/{second}/logs?service=worker")).json[0]["body"] == "slow"


@in_virtual_time
async def test_a_question_about_logs_that_cannot_be_is_refused() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        for wrong in ("level=loud", "since=yesterday", "limit=0", "service=a.b"):
            assert (await web.get(f"/v1/logs?{wrong}")).status == 400, wrong
        assert (await web.get("/v1/runs/nobody-0001/logs")).status == 404
        assert (await web.get("/v1/runs/nobody-0001/trace")).status == 404


@in_virtual_time
async def test_the_trace_of_a_run_is_listed_by_its_starts() -> None:
    async with world() as there:
        spans = (await there.web.get(f"/v1/runs/{there.names['broken']}/trace")).json
        assert [(each["name"], each["status"]) for each in spans] == [("run solo", "error"), ("step work", "error")]
        assert spans[1]["parent_span_id"] == spans[0]["span_id"]
        going_on = (await there.web.get(f"/v1/runs/{there.names['run_id']}/trace")).json
        assert going_on[0]["duration_ms"] is None


@in_virtual_time
async def test_metrics_are_a_page_that_prometheus_reads() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        runs = [await here.client.start("solo") for _ in range(2)]

        async def queued() -> bool:
            return sum([await here.waiting(WORK, run) for run in runs]) == 2

        await until(queued, what="two tasks")
        await web.get("/v1/runs/nobody-0001")
        await web.get("/nothing/here")
        answer = await web.get("/metrics")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        found = parsed(answer.body.decode())
        assert found["dagnats_nats_up"] == {(): 1}
        assert found["dagnats_engine_leads"] == {(): 1}
        assert found["dagnats_dead_letters"] == {(): 0}
        assert found["dagnats_queue_depth"] == {(("queue", WORK),): 2}
        assert found["dagnats_history_last_sequence"][()] >= 2
        requests = {dict(key)["route"]: dict(key)["status"] for key in found["dagnats_http_requests_total"]}
        assert requests == {"/v1/runs/{run_id}": "404", "unknown": "404"}
        assert found["process_cpu_seconds_total"][()] > 0
        assert "process_start_time_seconds" in found


@in_virtual_time
async def test_metrics_are_for_those_who_may_look() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api("secret")
        assert (await web.get("/metrics")).status == 401
        assert (await web.get("/metrics", authorization="Bearer secret")).status == 200


@in_virtual_time
async def test_without_nats_the_metrics_say_so() -> None:
    async with site(one_step("solo")) as here:
        connection = here.server.connect()
        api = Api(connection)
        await api.open()
        await connection.close()
        found = parsed((await Caller(api.app()).get("/metrics")).body.decode())
        assert found["dagnats_nats_up"] == {(): 0}
        assert "dagnats_workers" not in found
        assert "process_cpu_seconds_total" in found
