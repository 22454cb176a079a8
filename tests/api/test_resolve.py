"""What workers say over HTTP about the tasks that they hold."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagnats import Fixed, RunFailed, Workflow
from dagnats.handling.loop import Continue
from dagnats.model.pointer import STATE_BYTES
from dagnats.runtime.api.resolution import ACTIONS
from tests.api.site import WORK, Caller, Site, in_virtual_time, one_step, site

HOUR_MS = 3_600_000


async def polled(here: Site, web: Caller, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """A run of `solo`, and its task."""
    run = await here.client.start("solo")
    (task,) = await web.poll(WORK, timeout_ms=60_000, **settings)
    assert task["run_id"] == run.run_id
    return run, task


# -- results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [None, 0, "text", [1, {"a": None}], {"$": "ü"}])
def test_what_a_worker_completes_with_is_the_steps_output(output: Any) -> None:
    async def complete() -> None:
        async with site(one_step()) as here:
            web = await here.api()
            run, task = await polled(here, web)
            assert (await web.resolve(task, "complete", output=output)).status == 200
            assert await run.result() == output

    in_virtual_time(complete)()


@in_virtual_time
async def test_a_completion_without_an_output_completes_with_null() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        assert (await web.resolve(task, "complete")).status == 200
        assert await run.result() is None


@in_virtual_time
async def test_attempts_that_fail_over_http_are_counted_to_the_last_and_leave_one_dead_letter() -> None:
    async with site(one_step(retry=Fixed(max_attempts=3, initial_delay="10s"))) as here:
        web = await here.api()
        run = await here.client.start("solo")
        attempts: list[int] = []
        while len(attempts) < 4:
            (task,) = await web.poll(WORK, timeout_ms=60_000)
            attempts.append(task["attempt"])
            assert (await web.resolve(task, "fail", error=f"no. {task['attempt']}")).status == 200
        view = await run.wait()
        assert (attempts, view.status, view.steps[0].attempts) == ([1, 2, 3, 4], "failed", 4)
        assert view.error == "no. 4"
        assert len(await here.ports.dead_letters.find(f"{WORK}.{run.run_id}.>")) == 1
        assert await web.poll(WORK, timeout_ms=20_000) == []


@in_virtual_time
async def test_a_failure_that_is_not_retriable_fails_the_step_at_once() -> None:
    async with site(one_step(retry=Fixed(max_attempts=3))) as here:
        web = await here.api()
        run, task = await polled(here, web)
        said = await web.resolve(task, "fail", error="no such order", failure_type="non_retriable")
        assert said.status == 200
        with pytest.raises(RunFailed, match="no such order"):
            await run.result()


@in_virtual_time
async def test_a_failure_says_when_it_is_to_be_tried_again() -> None:
    async with site(one_step(retry=Fixed(max_attempts=1, initial_delay="1s"))) as here:
        web = await here.api()
        _, task = await polled(here, web)
        begun = asyncio.get_running_loop().time()
        await web.resolve(task, "fail", error="busy", failure_type="retry_after", retry_after_ms=40_000)
        (again,) = await web.poll(WORK, timeout_ms=60_000)
        assert again["attempt"] == 2
        assert 40 <= asyncio.get_running_loop().time() - begun < 42


@in_virtual_time
async def test_a_failure_of_an_unknown_type_is_refused_and_the_known_ones_are_named() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        _, task = await polled(here, web)
        refused = await web.resolve(task, "fail", error="x", failure_type="permanent")
        assert (refused.status, refused.paths) == (400, {"$.failure_type"})
        (problem,) = refused.json["problems"]
        assert all(name in problem["message"] for name in ("'retriable'", "'non_retriable'", "'retry_after'"))
        assert (await web.resolve(task, "complete")).status == 200, "the task is still this worker's"


@in_virtual_time
async def test_a_loop_turns_over_http_until_it_completes() -> None:
    workflow: Workflow[Any, Any] = Workflow("loop")

    @workflow.agent_loop(task=WORK, max_iterations=5)
    async def turn(value: Any) -> Any:
        return Continue(value)

    async with site(workflow) as here:
        web = await here.api()
        run = await here.client.start("loop", {"turns": 0})
        for number in range(2):
            (task,) = await web.poll(WORK, timeout_ms=60_000)
            assert task.get("iteration", 0) == number
            assert (await web.resolve(task, "continue", output={"turns": number + 1})).status == 200
        (task,) = await web.poll(WORK, timeout_ms=60_000)
        assert task["input"] == {"turns": 2}
        await web.resolve(task, "complete", output="done")
        assert await run.result() == "done"


@in_virtual_time
async def test_a_paused_step_begins_anew_as_the_same_try_and_finds_its_checkpoint() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        begun = asyncio.get_running_loop().time()
        assert (await web.resolve(task, "pause", duration_ms=30_000, checkpoint={"page": 3})).status == 200
        (again,) = await web.poll(WORK, timeout_ms=60_000)
        assert 30 <= asyncio.get_running_loop().time() - begun < 32
        assert again["tries"] == 1
        assert (await web.resolve(again, "load_checkpoint")).json == {"page": 3}
        await web.resolve(again, "complete", output="done")
        assert await run.result() == "done"


@pytest.mark.parametrize(
    ("action", "fields", "paths"),
    [
        ("pause", {}, {"$.duration_ms"}),
        ("pause", {"duration_ms": 0}, {"$.duration_ms"}),
        ("pause", {"duration_ms": -5}, {"$.duration_ms"}),
        ("pause", {"duration_ms": HOUR_MS + 1}, {"$.duration_ms"}),
        ("pause", {"duration_ms": "5s"}, {"$.duration_ms"}),
        ("fail", {"failure_type": "retry_after"}, {"$.retry_after_ms"}),
        ("fail", {"error": 5, "retry_after_ms": HOUR_MS + 1}, {"$.error", "$.retry_after_ms"}),
        ("wait_signal", {"name": "go", "timeout_ms": 0}, {"$.timeout_ms"}),
        ("wait_signal", {"name": "go", "timeout_ms": HOUR_MS + 1}, {"$.timeout_ms"}),
        ("wait_signal", {"name": "a b"}, {"$.name", "$.timeout_ms"}),
        ("send_signal", {"name": "go"}, {"$.run_id"}),
        ("send_signal", {"name": "", "run_id": "a.b"}, {"$.name", "$.run_id"}),
        ("checkpoint", {}, {"$.data"}),
        ("stream", {}, {"$.data"}),
        ("finish", {}, {"$.action"}),
        ("", {}, {"$.action"}),
        (None, {}, {"$.action"}),
    ],
)
def test_an_action_that_is_not_right_is_refused_with_everything_that_is_wrong(
    action: Any, fields: dict[str, Any], paths: set[str]
) -> None:
    async def say() -> None:
        async with site(one_step()) as here:
            web = await here.api()
            run, task = await polled(here, web)
            refused = await web.resolve(task, action, **fields)
            assert (refused.status, refused.paths) == (400, paths)
            assert (await web.resolve(task, "complete", output="fine")).status == 200
            assert await run.result() == "fine"

    in_virtual_time(say)()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"action":"complete","output":}',
        b'{"action":"complete","output":"\xff"}',
        b"[" * 9_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    async def say() -> None:
        async with site(one_step()) as here:
            web = await here.api()
            _, task = await polled(here, web)
            refused = await web.send(f"/v1/tasks/{task['task_id']}/resolve", body)
            assert (refused.status, refused.json["problems"][0]["rule"]) == (400, "json")

    in_virtual_time(say)()


@in_virtual_time
async def test_an_output_that_cannot_be_carried_is_refused_and_the_task_stays_with_its_worker() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        refused = await web.resolve(task, "complete", output={"$dagnats.blob": 1})
        assert (refused.status, refused.json["type"]) == (400, "urn:dagnats:refused")
        assert "rename the key" in refused.json["detail"]
        assert (await web.resolve(task, "complete", output="fine")).status == 200
        assert await run.result() == "fine"


@in_virtual_time
async def test_a_body_that_is_too_large_is_refused() -> None:
    async with site() as here:
        web = await here.api()
        large = await web.send("/v1/tasks/poll", b" " * (2 * 1024 * 1024))
        assert (large.status, large.json["type"]) == (413, "urn:dagnats:too-large")
        announced = await web.send("/v1/tasks/x.y/resolve", b"{}", content_length=str(10**12))
        assert announced.status == 413


# -- on the way --------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_checkpoint_is_found_by_the_next_attempt_at_any_server() -> None:
    async with site(one_step(retry=Fixed(max_attempts=1, initial_delay="1s"))) as here:
        web, other = await here.api(), await here.api()
        _, task = await polled(here, web)
        assert (await web.resolve(task, "load_checkpoint")).status == 204
        assert (await other.resolve(task, "checkpoint", data={"done": [1, 2]})).status == 200
        await web.resolve(task, "fail", error="and again")
        (again,) = await other.poll(WORK, timeout_ms=60_000)
        found = await web.resolve(again, "load_checkpoint")
        assert (found.status, found.json) == (200, {"done": [1, 2]})


@in_virtual_time
async def test_a_worker_that_beats_keeps_its_task_and_one_that_does_not_loses_it() -> None:
    async with site(one_step()) as here:
        web, other = await here.api(), await here.api()
        _, task = await polled(here, web)
        for _ in range(4):
            await asyncio.sleep(40)
            assert (await other.resolve(task, "heartbeat")).status == 200
        assert await other.poll(WORK, timeout_ms=30_000) == []
        (again,) = await other.poll(WORK, timeout_ms=60_000)
        assert (again["run_id"], again["attempt"]) == (task["run_id"], 1)


@in_virtual_time
async def test_a_heartbeat_is_told_to_the_engine_where_the_step_asks_for_it() -> None:
    async with site(one_step(heartbeat_timeout="30s", timeout="1h")) as here:
        web = await here.api()
        run, task = await polled(here, web)
        assert task["heartbeat_ms"] == 30_000
        for _ in range(4):
            await asyncio.sleep(20)
            assert (await web.resolve(task, "heartbeat")).status == 200
        assert (await here.types(run)).count("step.heartbeat") == 4
        assert (await run.view()).status == "running"


@in_virtual_time
async def test_what_is_said_with_a_heartbeat_is_shown_and_read_by_the_next_attempt() -> None:
    async with site(one_step(retry=Fixed(max_attempts=1, initial_delay="1s"))) as here:
        web, other = await here.api(), await here.api()
        run, task = await polled(here, web)
        assert (await web.resolve(task, "load_heartbeat")).status == 204
        for row in (3, 7):
            assert (await other.resolve(task, "heartbeat", details={"row": row})).status == 200
        assert (await web.resolve(task, "heartbeat")).status == 200, "one that says nothing takes nothing back"
        (step,) = (await run.view()).steps
        assert step.details == {"row": 7}
        await web.resolve(task, "fail", error="and again")
        (again,) = await other.poll(WORK, timeout_ms=60_000)
        found = await web.resolve(again, "load_heartbeat")
        assert (found.status, found.json) == (200, {"row": 7})
        assert (await web.resolve(task, "heartbeat", details={"row": 9})).status == 409
        assert (await web.resolve(again, "load_heartbeat")).json == {"row": 7}
        refused = await web.resolve(again, "heartbeat", details="x" * 300_000)
        assert (refused.status, refused.json["type"]) == (400, "urn:dagnats:refused")


@in_virtual_time
async def test_what_a_worker_streams_is_kept_in_order() -> None:
    async with site(one_step()) as here:
        web, other = await here.api(), await here.api()
        run, task = await polled(here, web)
        assert (await web.resolve(task, "stream", data="one")).json == {"offset": 0}
        assert (await other.resolve(task, "stream", data={"n": 2})).json == {"offset": 1}
        chunks = await here.ports.chunks.read(run.run_id, "work")
        assert [chunk.data for chunk in chunks] == [b'"one"', b'{"n":2}']


@in_virtual_time
async def test_a_signal_that_is_there_is_given_at_once_and_each_one_once() -> None:
    async with site(one_step()) as here:
        web, other = await here.api(), await here.api()
        run, task = await polled(here, web)
        large = "x" * STATE_BYTES  # its run has only the place of it
        for value in ("first", large):
            await run.signal("go", value)
        begun = asyncio.get_running_loop().time()
        for server, value in ((web, "first"), (other, large)):
            given = await server.resolve(task, "wait_signal", name="go", timeout_ms=HOUR_MS)
            assert (given.status, given.json) == (200, value)
        assert asyncio.get_running_loop().time() - begun < 1
        assert (await web.resolve(task, "load_checkpoint")).status == 204, "what was noted is no checkpoint"


@in_virtual_time
async def test_a_worker_waits_for_a_signal_and_keeps_its_task_meanwhile() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        waiting = asyncio.create_task(web.resolve(task, "wait_signal", name="go", timeout_ms=HOUR_MS))
        await asyncio.sleep(600)
        await run.signal("other", 1)
        await run.signal("go", {"by": "ada"})
        given = await waiting
        assert (given.status, given.json) == (200, {"by": "ada"})
        assert (await here.types(run)).count("step.started") == 1


@in_virtual_time
async def test_a_signal_that_does_not_come_is_told_after_the_time() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        _, task = await polled(here, web)
        begun = asyncio.get_running_loop().time()
        late = await web.resolve(task, "wait_signal", name="go", timeout_ms=95_000)
        assert (late.status, late.json["type"]) == (408, "urn:dagnats:timeout")
        assert 95 <= asyncio.get_running_loop().time() - begun < 96
        assert (await web.resolve(task, "complete")).status == 200


@in_virtual_time
async def test_a_signal_is_given_again_to_whoever_does_the_work_again_until_a_checkpoint_says_it_was_taken() -> None:
    async with site(one_step(retry=Fixed(max_attempts=1, initial_delay="1s"))) as here:
        web = await here.api()
        run, task = await polled(here, web)
        for value in (1, 2):
            await run.signal("go", value)
        assert (await web.resolve(task, "wait_signal", name="go", timeout_ms=1_000)).json == 1
        await asyncio.sleep(60)  # the first worker is lost
        (task,) = await web.poll(WORK, timeout_ms=60_000)
        assert task["attempt"] == 1
        assert (await web.resolve(task, "wait_signal", name="go", timeout_ms=1_000)).json == 1
        await web.resolve(task, "checkpoint", data="has 1")
        await web.resolve(task, "fail", error="again")
        (again,) = await web.poll(WORK, timeout_ms=60_000)
        assert (await web.resolve(again, "wait_signal", name="go", timeout_ms=1_000)).json == 2


@in_virtual_time
async def test_a_pause_says_which_signals_were_taken() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        await run.signal("go", 1)
        await web.resolve(task, "wait_signal", name="go", timeout_ms=1_000)
        await web.resolve(task, "pause", duration_ms=1_000)
        (again,) = await web.poll(WORK, timeout_ms=60_000)
        assert (await web.resolve(again, "wait_signal", name="go", timeout_ms=1_000)).status == 408


@in_virtual_time
async def test_a_worker_sends_a_signal_to_another_run() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        other, held = await polled(here, web)
        _, task = await polled(here, web)
        assert (await web.resolve(task, "send_signal", run_id=other.run_id, name="go", data=7)).status == 200
        given = await web.resolve(held, "wait_signal", name="go", timeout_ms=1_000)
        assert given.json == 7
        await other.cancel()
        ended = await web.resolve(task, "send_signal", run_id=other.run_id, name="go")
        assert (ended.status, ended.json["type"]) == (409, "urn:dagnats:conflict")
        nowhere = await web.resolve(task, "send_signal", run_id="nobody", name="go")
        assert nowhere.status == 404
        assert (await web.resolve(task, "complete")).status == 200


# -- what is over ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("complete", {}),
        ("fail", {"error": "x"}),
        ("continue", {}),
        ("pause", {"duration_ms": 1}),
        ("checkpoint", {"data": 1}),
        ("heartbeat", {}),
        ("stream", {"data": 1}),
        ("wait_signal", {"name": "go", "timeout_ms": 1_000}),
    ],
)
def test_whoever_works_on_a_cancelled_attempt_is_told_to_stop(action: str, fields: dict[str, Any]) -> None:
    async def say() -> None:
        async with site(one_step()) as here:
            web = await here.api()
            run, task = await polled(here, web)
            await run.cancel()
            over = await web.resolve(task, action, **fields)
            assert (over.status, over.json["type"]) == (409, "urn:dagnats:attempt-over")
            assert "has ended: it is cancelled" in over.json["detail"]
            assert (await run.view()).status == "cancelled"
            await asyncio.sleep(300)
            assert await here.waiting(WORK, run) == 0

    in_virtual_time(say)()


@in_virtual_time
async def test_whoever_waits_for_a_signal_hears_that_the_run_was_cancelled() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        waiting = asyncio.create_task(web.resolve(task, "wait_signal", name="go", timeout_ms=HOUR_MS))
        await asyncio.sleep(60)
        await run.cancel()
        begun = asyncio.get_running_loop().time()
        assert (await waiting).status == 409
        assert asyncio.get_running_loop().time() - begun < 11


@in_virtual_time
async def test_a_late_result_of_an_attempt_that_timed_out_is_refused() -> None:
    async with site(one_step(timeout="30s", retry=Fixed(max_attempts=1, initial_delay="1s"))) as here:
        web = await here.api()
        run, task = await polled(here, web)
        await asyncio.sleep(40)
        late = await web.resolve(task, "complete", output="late")
        assert (late.status, late.json["type"]) == (409, "urn:dagnats:attempt-over")
        assert "attempt 1 of step 'work' is over" in late.json["detail"]
        (again,) = await web.poll(WORK, timeout_ms=60_000)
        await web.resolve(again, "complete", output="in time")
        assert await run.result() == "in time"


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("complete", {"output": {"a": 1}}),
        ("fail", {"error": "x"}),
        ("fail", {"error": "x" * 20_000}),
        ("pause", {"duration_ms": 60_000}),
    ],
    ids=["complete", "fail", "fail at length", "pause"],
)
def test_a_result_that_is_said_again_is_taken_once_and_answered_like_the_first(
    action: str, fields: dict[str, Any]
) -> None:
    async def say() -> None:
        async with site(one_step(retry=Fixed(max_attempts=2, initial_delay="1h"))) as here:
            web, other = await here.api(), await here.api()
            run, task = await polled(here, web)
            for server in (web, other, web):
                assert (await server.resolve(task, action, **fields)).status == 200
            said = [kind for kind in await here.types(run) if kind in ("step.completed", "step.failed", "step.paused")]
            assert len(said) == 1
            another = await web.resolve(task, "complete", output="something else")
            assert another.status == 409

    in_virtual_time(say)()


# -- ids of tasks ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_task_is_resolved_at_a_server_that_did_not_hand_it_out() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        run, task = await polled(here, web)
        here.stop()  # the one that did is gone
        assert (await (await here.api()).resolve(task, "complete", output="done")).status == 200
        assert await run.result() == "done"
        assert await here.waiting(WORK, run) == 0


@in_virtual_time
async def test_an_id_that_somebody_has_changed_or_made_is_no_id() -> None:
    async with site(one_step()) as here, site(one_step()) as elsewhere:
        web = await here.api()
        run, task = await polled(here, web)
        _, foreign = await polled(elsewhere, await elsewhere.api())
        said, _, seal = str(task["task_id"]).partition(".")
        told = urlsafe_b64decode(said + "=" * (-len(said) % 4)).replace(b'"work"', b'"else"')
        forged = urlsafe_b64encode(told).rstrip(b"=").decode()
        for wrong in (
            f"{forged}.{seal}",
            f"{said}.{seal[:-2]}",
            said,
            f"{said}.",
            f".{seal}",
            "a.b",
            foreign["task_id"],
        ):
            answer = await web.resolve({"task_id": wrong}, "complete")
            assert (answer.status, answer.json["type"]) == (404, "urn:dagnats:not-found"), wrong
        assert (await run.view()).steps[0].status == "running"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = st.sampled_from(
    ["output", "error", "failure_type", "retry_after_ms", "duration_ms", "checkpoint", "data", "run_id", "name"]
)
# Not the results, which may be right by accident; not what waits.
_DURING = st.sampled_from([*sorted(set(ACTIONS) - {"complete", "fail", "continue", "pause", "wait_signal"}), "", "x"])


@settings(max_examples=10)
@given(data=st.data())
def test_nothing_that_is_sent_makes_an_error_of_ours_or_loses_a_task(data: st.DataObject) -> None:
    @in_virtual_time
    async def send() -> None:
        async with site(one_step()) as here:
            web = await here.api()
            run, task = await polled(here, web)
            right = f"/v1/tasks/{task['task_id']}/resolve"
            for _ in range(8):
                match data.draw(st.sampled_from(["bytes", "fields", "id", "poll", "connect"])):
                    case "bytes":
                        answer = await web.send(right, data.draw(st.binary(max_size=60)))
                    case "fields":
                        fields = data.draw(st.dictionaries(_FIELDS, _VALUES, max_size=4))
                        answer = await web.post(right, {**fields, "action": data.draw(_DURING)})
                    case "id":
                        wrong = data.draw(st.text(max_size=80))
                        answer = await web.post(f"/v1/tasks/{wrong}/resolve", {"action": "complete"})
                        assert answer.status in (404, 405)
                    case "poll":
                        names = st.sampled_from(["task_types", "max_tasks", "group", "worker_id"])
                        fields = data.draw(st.dictionaries(names, _VALUES | st.just(["some.type"]), max_size=3))
                        answer = await web.post("/v1/tasks/poll", {**fields, "timeout_ms": 0})
                    case _:
                        answer = await web.send("/v1/workers/connect", data.draw(st.binary(max_size=60)))
                assert answer.status < 500, answer
            assert (await web.resolve(task, "complete", output="fine")).status == 200
            assert await run.result() == "fine"

    send()
