"""Runs over HTTP: what is started, listed, shown, followed and told, member by member."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.client.document.run import run_document
from tests.api.site import WORK, Answer, in_virtual_time, one_step, site
from tests.api.world import world

if TYPE_CHECKING:
    from tests.api.site import Caller

STREAM = "text/event-stream"


def events_of(answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream."""
    assert answer.headers["content-type"].startswith(STREAM), answer
    parts = [part for part in answer.body.decode().split("\n\n") if part and not part.startswith(":")]
    found = [dict(line.split(": ", 1) for line in part.splitlines()) for part in parts]
    return [{**each, "data": msgspec.json.decode(each["data"])} for each in found]


async def done(web: Caller, output: Any = 7) -> None:
    """Serve the one task that is there."""
    (task,) = await web.poll(WORK)
    assert (await web.resolve(task, "complete", output=output)).status == 200


# -- starting --------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_start_gives_the_run_and_where_it_is() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        answer = await web.post("/v1/runs", {"workflow": "solo", "input": {"n": 1}, "labels": {"team": "a"}})
        assert (answer.status, [*answer.json]) == (201, ["run_id", "workflow_id"])
        run_id = answer.json["run_id"]
        assert answer.headers["location"] == f"/v1/runs/{run_id}"
        view = await here.client.handle(run_id).view()
        assert (view.input, view.labels) == ({"n": 1}, {"team": "a"})


@in_virtual_time
async def test_starts_with_one_idempotency_key_are_one_run() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        first, again = [await web.post("/v1/runs", {"workflow": "solo"}, idempotency_key="order-1") for _ in range(2)]
        other = await web.post("/v1/runs", {"workflow": "solo"}, idempotency_key="order-2")
        assert first.json["run_id"] == again.json["run_id"] != other.json["run_id"]
        assert "idempotent-replayed" not in first.headers
        assert (again.status, again.headers["idempotent-replayed"]) == (201, "true")


@in_virtual_time
async def test_a_start_that_waits_gives_the_output_when_the_run_ends_in_time() -> None:
    async with site(one_step("solo")) as here:
        web, worker = await here.api(), await here.api()

        serving = asyncio.create_task(done(worker, output={"ok": True}))
        answer = await web.post("/v1/runs?wait=30s", {"workflow": "solo"})
        await serving
        assert answer.status == 201
        assert (answer.json["status"], answer.json["output"]) == ("completed", {"ok": True})


@in_virtual_time
async def test_a_start_that_waits_gives_the_run_when_it_takes_longer_and_when_the_server_stops() -> None:

    async with site(one_step("solo")) as here:
        web, loop = await here.api(), asyncio.get_running_loop()
        late = await web.post("/v1/runs?wait=2s", {"workflow": "solo"})
        assert [*late.json] == ["run_id", "workflow_id"]
        before = loop.time()
        loop.call_later(5, here.stop)
        cut = await web.post("/v1/runs?wait=60s", {"workflow": "solo"})
        assert [*cut.json] == ["run_id", "workflow_id"]
        assert loop.time() - before < 10


@in_virtual_time
async def test_a_run_for_later_is_scheduled_and_one_for_a_time_that_has_passed_begins_now() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        later = (await web.post("/v1/runs", {"workflow": "solo", "run_at": "+1h"})).json
        assert later["status"] == "scheduled"
        shown = (await web.get(f"/runs/{later['run_id']}/scheduled")).json
        assert [*shown] == ["run_id", "workflow_id", "input", "run_at", "created_at", "status"]
        assert shown["run_at"] == later["run_at"] > shown["created_at"]
        now = (await web.post("/v1/runs", {"workflow": "solo", "run_at": "2001-01-01T00:00:00Z"})).json
        assert "status" not in now
        assert (await here.client.handle(now["run_id"]).view()).status != "scheduled"


@in_virtual_time
async def test_an_input_that_does_not_fit_is_refused_with_all_that_is_wrong() -> None:
    workflow = one_step("typed").build().content()
    members = {"a": {"type": "integer"}, "b": {"type": "string"}}
    typed = {**workflow, "input_schema": {"type": "object", "properties": members}}
    async with site() as here:
        web = await here.api()
        assert (await web.post("/workflows", typed)).json["name"] == "typed"
        refused = await web.post("/v1/runs", {"workflow": "typed", "input": {"a": "x", "b": 1}})
        assert (refused.status, refused.json["type"]) == (422, "urn:dagnats:unfit")
        assert refused.paths == {"$.a", "$.b"}


@in_virtual_time
async def test_a_definition_that_is_not_valid_is_refused_with_all_that_is_wrong() -> None:
    async with site() as here:
        web = await here.api()
        refused = await web.post("/v1/workflows", {"name": "x y", "steps": []})
        assert refused.status == 422
        assert len(refused.json["problems"]) > 1
        assert (await web.get("/v1/workflows")).json == []


# -- lists -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_list_goes_on_behind_its_last_run() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        started = [(await here.client.start("solo", labels={"a": "b"})).run_id for _ in range(5)]
        await here.client.start("solo")
        listed: list[str] = []
        path = "/v1/runs?label=a%3Db&limit=2"
        while path:
            answer = await web.get(path)
            listed += [run["run_id"] for run in answer.json]
            link = answer.headers.get("link", "")
            assert not link or link.endswith('; rel="next"')
            path = link.partition(">")[0].removeprefix("<")
            assert len(answer.json) <= 2
        assert listed == started[::-1]


@in_virtual_time
async def test_the_old_list_is_a_bare_array_of_as_many_as_there_are() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        for _ in range(60):
            await here.client.start("solo")
        assert len((await web.get("/runs?workflow=solo&limit=10000")).json) == 60
        assert len((await web.get("/runs")).json) == 60
        assert len((await web.get("/v1/runs")).json) == 50


@in_virtual_time
async def test_runs_are_counted_by_workflow_and_status() -> None:
    async with world() as all_there:
        found = (await all_there.web.get("/v1/runs/count?workflow=solo")).json
        assert found["count"] == sum(each["count"] for each in found["by"]) == 4
        assert {"workflow_id": "solo", "status": "failed", "count": 1} in found["by"]


# -- one run ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_run_is_shown_with_its_steps_by_id_and_payloads_as_json() -> None:
    async with world() as all_there:
        run_id = all_there.names["done"]
        shown = (await all_there.web.get(f"/v1/runs/{run_id}")).json
        members = ["run_id", "workflow_id", "status", "steps", "input", "created_at", "completed_at", "trace_id"]
        assert {*members} <= {*shown}
        assert (shown["run_id"], shown["workflow_id"], shown["status"]) == (run_id, "solo", "completed")
        assert shown["created_at"].endswith("Z")
        assert shown["completed_at"] >= shown["created_at"]
        assert len(shown["trace_id"]) == 32
        step = shown["steps"]["work"]
        assert (step["status"], step["attempts"], step["output"]) == ("completed", 1, 7)
        view = await all_there.here.client.handle(run_id).view()
        assert shown == msgspec.json.decode(msgspec.json.encode(run_document(view)))
        assert (await all_there.web.get(f"/runs/{run_id}")).json == shown


@in_virtual_time
async def test_the_output_of_a_run_is_there_once_it_has_completed() -> None:
    async with world() as all_there:
        web, names = all_there.web, all_there.names
        given = (await web.get(f"/v1/runs/{names['done']}/output")).json
        assert (given["output"], given["outputs"]) == (7, {"work": 7})
        early = await web.get(f"/v1/runs/{names['run_id']}/output?wait=2s")
        assert (early.status, early.json["type"]) == (408, "urn:dagnats:timeout")
        for name, why in (("run_id", "it is running"), ("broken", "it is failed: no such card")):
            refused = await web.get(f"/v1/runs/{names[name]}/output")
            assert (refused.status, refused.json["type"]) == (409, "urn:dagnats:conflict")
            assert why in refused.json["detail"]


@in_virtual_time
async def test_the_output_of_a_run_can_be_waited_for() -> None:
    async with site(one_step("solo")) as here:
        web, worker = await here.api(), await here.api()
        run = await here.client.start("solo")
        serving = asyncio.create_task(done(worker))
        assert (await web.get(f"/v1/runs/{run.run_id}/output?wait=30s")).json["output"] == 7
        await serving
        refused = await web.get(f"/v1/runs/{run.run_id}/output?wait=soon")
        assert (refused.status, refused.paths) == (400, {"?wait"})


@in_virtual_time
async def test_a_history_is_given_whole_or_behind_an_event() -> None:
    async with world() as all_there:
        path = f"/v1/runs/{all_there.names['done']}/events"
        found = (await all_there.web.get(path)).json
        assert [found[0]["type"], found[-1]["type"]] == ["workflow.started", "workflow.completed"]
        assert found[-1]["data"]["output"] == 7
        later = (await all_there.web.get(f"{path}?after={found[1]['seq']}")).json
        assert later == found[2:]
        assert (await all_there.web.get(f"{path}?type=workflow.started")).json == found[:1]
        assert (await all_there.web.get(f"{path}?type=step.failed&step=work")).json == []
        for accept in ("application/json", STREAM):
            wrong = await all_there.web.get(f"{path}?type=step.complted", accept=accept)
            assert (wrong.status, wrong.paths) == (400, {"?type"})
            assert (await all_there.web.get(f"{path}?step=wrok", accept=accept)).status == 404


@in_virtual_time
async def test_a_stream_of_events_follows_a_run_to_its_end_and_goes_on_where_it_was_cut() -> None:

    async with site(one_step("solo")) as here:
        web, worker = await here.api(), await here.api()
        run = await here.client.start("solo")
        path = f"/v1/runs/{run.run_id}/events"
        asyncio.get_running_loop().call_later(70, lambda: finishing.append(asyncio.create_task(done(worker))))
        finishing: list[asyncio.Task[None]] = []
        answer = await web.get(path, accept=STREAM)
        sent = events_of(answer)
        assert [each["event"] for each in sent] == await here.types(run)
        assert [int(each["id"]) for each in sent] == [each["data"]["seq"] for each in sent]
        assert answer.body.count(b": beat\n\n") == 2  # 70 s of silence
        cut = await web.get(path, accept=STREAM, last_event_id=sent[1]["id"])
        assert events_of(cut) == sent[2:]
        over = await web.get(path, accept=STREAM, last_event_id=sent[-1]["id"])
        assert (over.status, over.body) == (204, b"")


@in_virtual_time
async def test_a_stream_ends_when_the_server_stops() -> None:

    async with site(one_step("solo")) as here:
        web = await here.api()
        run = await here.client.start("solo")
        asyncio.get_running_loop().call_later(3, here.stop)
        sent = events_of(await web.get(f"/v1/runs/{run.run_id}/events", accept=STREAM))
        assert sent[0]["event"] == "workflow.started"


@in_virtual_time
async def test_what_a_step_streams_is_sent_chunk_by_chunk() -> None:
    async with site(one_step("solo")) as here:
        web = await here.api()
        run = await here.client.start("solo")
        (task,) = await web.poll(WORK)
        for data in ("one", "two"):
            assert (await web.resolve(task, "stream", data=data)).status == 200
        assert (await web.resolve(task, "complete")).status == 200
        path = f"/v1/runs/{run.run_id}/steps/work/stream"
        sent = events_of(await web.get(path))
        assert [(each["id"], each["data"]["text"]) for each in sent] == [("0", '"one"'), ("1", '"two"')]
        assert events_of(await web.get(path, last_event_id="0")) == sent[1:]
        assert (await web.get(f"/v1/runs/{run.run_id}/steps/nosuch/stream")).status == 404


# -- orders ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_orders_answer_as_they_always_have() -> None:
    async with world() as all_there:
        web, names = all_there.web, all_there.names
        signalled = await web.send(f"/runs/{names['run_id']}/signal/go", b'{"a":1}')
        assert signalled.json == {"status": "sent", "run_id": names["run_id"], "signal": "go"}
        path = f"/runs/{names['asks']}/approval/ask?action=reject"
        answered = await web.post(path, {"approved_by": "ann", "comment": "too much"})
        assert answered.json == {"status": "rejected", "run_id": names["asks"], "step": "ask"}
        cancelled = await web.ask("POST", f"/runs/{names['run_id']}/cancel")
        assert cancelled.json == {"status": "cancelled", "run_id": names["run_id"]}
        again = await web.ask("POST", f"/runs/{names['run_id']}/cancel")
        assert (again.status, again.json["type"]) == (409, "urn:dagnats:conflict")
        off = await web.ask("DELETE", f"/runs/{names['later']}/scheduled")
        assert off.json == {"status": "cancelled", "run_id": names["later"]}
        assert (await web.ask("DELETE", f"/runs/{names['later']}/scheduled")).status == 404


@in_virtual_time
async def test_a_wrong_token_answers_no_approval() -> None:
    async with world() as all_there:
        path = f"/v1/runs/{all_there.names['asks']}"
        refused = await all_there.web.post(f"{path}/approve", {"token": "guessed"})
        assert (refused.status, refused.json["type"]) == (400, "urn:dagnats:refused")
        assert (await all_there.web.get(path)).json["status"] == "running"


@in_virtual_time
async def test_many_runs_are_cancelled_and_retried_at_once() -> None:
    async with world() as all_there:
        web, names = all_there.web, all_there.names
        dry = (await web.post("/runs/cancel", {"workflow_id": "solo", "dry_run": True})).json
        assert (dry["total"], dry["dry_run"]) == (2, True)
        done = (await web.post("/runs/cancel", {"workflow_id": "solo", "status": "running"})).json
        assert done == {"cancelled": [names["run_id"]], "skipped": [], "total": 1, "dry_run": False}
        retried = (await web.post("/runs/retry", {"workflow_id": "solo", "mode": "rerun"})).json
        assert (retried["total"], retried["retried"][0]["original_run_id"]) == (1, names["broken"])
        assert len(retried["retried"][0]["new_run_id"]) == 32
        bulk = (await web.post("/runs/bulk", {"workflow_id": "solo", "inputs": [1, 2], "batch": "b"})).json
        assert (bulk["total"], bulk["existing"]) == (2, 0)
        again = (await web.post("/runs/bulk", {"workflow_id": "solo", "inputs": [1, 2], "batch": "b"})).json
        assert (again["run_ids"], again["existing"]) == (bulk["run_ids"], 2)


@in_virtual_time
async def test_a_paused_queue_is_shown_and_goes_on() -> None:
    async with world() as all_there:
        web = all_there.web
        assert (await web.post(f"/v1/queues/{WORK}/pause", {"by": "ann", "reason": "storm"})).json["paused"] is True
        shown = (await web.get(f"/v1/queues/{WORK}")).json
        assert (shown["queue"], shown["paused"], shown["by"], shown["reason"]) == (WORK, True, "ann", "storm")
        limited = (await web.post(f"/v1/queues/{WORK}/limits", {"rate": 10, "period": "1m"})).json
        assert (limited["rate"], limited["concurrency"]) == ("10/1m", None)
        assert (await web.ask("POST", f"/v1/queues/{WORK}/resume")).json == {"queue": WORK, "paused": False}
        assert (await web.ask("POST", f"/v1/queues/{WORK}/resume")).status == 409


@in_virtual_time
async def test_a_repair_only_looks_unless_it_is_told_to_act() -> None:
    async with world() as all_there:
        found = (await all_there.web.ask("POST", "/v1/queues/repair")).json
        assert (found["dry_run"], found["fixed"], found["left"]) == (True, 0, [])
        assert found["runs"] == 6
        acted = (await all_there.web.post("/v1/queues/repair", {"dry_run": False})).json
        assert (acted["dry_run"], acted["fixed"]) == (False, 0)


@in_virtual_time
async def test_a_dead_letter_is_shown_and_its_run_goes_on() -> None:
    async with world() as all_there:
        web, names = all_there.web, all_there.names
        (letter,) = (await web.get("/v1/dlq")).json
        assert (letter["run_id"], letter["step_id"], letter["error"]) == (names["broken"], "work", "no such card")
        assert letter["body"].startswith("{")
        told = (await web.ask("POST", f"/v1/dlq/{letter['seq']}/replay")).json
        assert told == {"replayed": [letter["seq"]], "run_id": names["broken"]}
        for task in await web.poll(WORK, max_tasks=2):
            await web.resolve(task, "complete", output=8)
        assert await all_there.here.client.handle(names["broken"]).result() == 8
        assert (await web.get("/v1/dlq/no-number")).status == 404


@in_virtual_time
async def test_an_event_reaches_the_run_that_waits_for_it() -> None:
    async with world() as all_there:
        told = (await all_there.web.post("/v1/events/order.paid", {"id": 1})).json
        assert (told["type"], told["published"]) == ("order.paid", True)
        assert (await all_there.here.client.handle(all_there.names["waits"]).result())["id"] == 1
        refused = await all_there.web.post("/v1/events/a%20b", {})
        assert refused.status == 400


@in_virtual_time
async def test_an_order_of_a_run_that_nobody_can_have_started_finds_none() -> None:
    async with world() as all_there:
        for run_id in ("%2A", "%3E", "_ops", "a.b", "%00"):
            assert (await all_there.web.ask("POST", f"/v1/runs/{run_id}/cancel")).status == 404
