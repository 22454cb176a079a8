"""A log that is nearly full: nothing new begins, and nothing that was refused is stored; all that goes on, goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from dagnats import Fire, Fixed, TaskContext, Worker, Workflow, trigger_type
from dagnats.client import AsyncClient
from dagnats.errors import FullError
from dagnats.model.event import Parent, SignalReceived, encode_event
from dagnats.runtime.letter import UNREADABLE
from dagnats.runtime.memory.loop import virtual_loop
from dagnats.runtime.memory.process import Process
from tests.api.site import WORK, Site, in_virtual_time, one_step, site
from tests.client.test_either_client import There, Transport, both, over_nats, there
from tests.support.processes import until


async def fill(here: Site, share: float = 0.86) -> None:
    """Let the log be as full as this, with room for what goes on, and everybody know."""
    await here.client.start("solo", "x" * 100_000)
    log = here.server.history
    log.max_bytes = int(log.bytes / share)
    await asyncio.sleep(1)


async def widen(here: Site) -> None:
    here.server.history.max_bytes = 0
    await asyncio.sleep(1)


@asynccontextmanager
async def full(transport: Transport) -> AsyncGenerator[tuple[There, Any]]:
    """A log that is nearly full, and a run that has failed."""
    async with there(transport) as it:
        failed = await it.failed()
        await fill(it.here)
        yield it, failed


LARGE = "x" * 300_000  # more than an event carries: it would be stored apart

REFUSED: dict[str, Callable[[There, Any], Awaitable[Any]]] = {
    "a start": lambda it, _: it.client.start("solo", LARGE),
    "a start under an id": lambda it, _: it.client.start("solo", run_id="new-0001"),
    "a start for later": lambda it, _: it.client.start("solo", at="+10m"),
    "many starts": lambda it, _: it.client.start_all("solo", [LARGE, 2]),
    "a rerun": lambda it, failed: failed.retry(input=LARGE),
    "a replay": lambda it, failed: failed.retry("replay"),
    "a fork": lambda it, failed: failed.fork("work"),
    "many reruns": lambda it, _: it.client.retry_all("solo", mode="rerun"),
    "many replays": lambda it, _: it.client.retry_all("solo", mode="replay"),
    "a dead letter's replay": lambda it, _: it.client.replay_dead_letter(1),
    "an event": lambda it, _: it.client.publish_event("order.paid", 1),
}


@both
async def test_what_would_begin_is_refused_and_nothing_of_it_is_stored(transport: Transport) -> None:
    async with full(transport) as (it, failed):
        server = it.here.server
        before = [server.history.last_seq, server.events.last_seq, server.blobs.last_seq]
        for what, ask in REFUSED.items():
            with pytest.raises(FullError, match=r"there is no room for an? .*\(86%\)") as refused:
                await ask(it, failed)
            assert "dagnats clean" in refused.value.hint, what
        assert [server.history.last_seq, server.events.last_seq, server.blobs.last_seq] == before


@in_virtual_time
async def test_an_event_that_can_be_read_by_now_is_not_put_back_before_its_run_may_go_on() -> None:
    async with full(over_nats) as (it, failed):
        ports = it.here.ports
        event = encode_event(SignalReceived(run_id=failed.run_id, name="go", payload=msgspec.Raw(b"1")))
        headers = {"Dagnats-Dlq-Run-Id": failed.run_id, "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY"}
        await ports.dead_letters.put(f"{UNREADABLE}.{failed.run_id}", event, headers=headers, id="letter")
        letter = (await it.client.dead_letters(failed.run_id))[-1]
        before = await failed.history()
        with pytest.raises(FullError):
            await it.client.replay_dead_letter(letter.seq)
        assert await failed.history() == before


@pytest.mark.parametrize("what", REFUSED)
@in_virtual_time
async def test_it_is_done_when_there_is_room_again(what: str) -> None:
    async with full(over_nats) as (it, failed):
        with pytest.raises(FullError):
            await REFUSED[what](it, failed)
        await widen(it.here)
        await REFUSED[what](it, failed)


@both
async def test_a_signal_is_refused_and_what_helps_to_end_a_run_is_not(transport: Transport) -> None:
    async with there(transport) as it:
        asking, idle, paused = [await it.started("asking", run_id=f"run-{n}") for n in range(3)]
        await fill(it.here)
        with pytest.raises(FullError, match="no room for a signal"):
            await asking.signal("go")
        assert await asking.approve("ask", {"amount": 1}, by="ann") == "ask"
        await idle.cancel("enough")
        await paused.pause()
        await paused.resume()
        await paused.skip("ask")
        assert [(await run.wait(timeout="1h")).status for run in (asking, idle, paused)] == [
            "completed",
            "cancelled",
            "completed",
        ]


@in_virtual_time
async def test_runs_under_way_go_on_with_children_retries_and_sleeps() -> None:
    tries: list[str] = []

    async def work(ctx: TaskContext) -> str:
        tries.append(ctx.run_id)
        if tries.count(ctx.run_id) == 1:
            raise OSError("the line is cut")
        return "done"

    child: Workflow[Any, Any] = Workflow("solo")
    child.step(retry=Fixed(max_attempts=2, initial_delay="1s"))(work)
    workflow: Workflow[Any, Any] = Workflow("parent")
    asked = workflow.approval("ask", subject="approvals.test", timeout="1h")
    attached = workflow.sub_workflow("attached", "solo").after(asked)
    detached = workflow.sub_workflow("detached", "solo").with_detach().after(asked)
    workflow.sleep("rest", "10s").after(attached, detached)
    async with site(child, workflow) as here:
        process = Process(virtual_loop(), "worker")
        process.spawn(Worker(AsyncClient(process.run(here.server.connect)), [child]).run())
        run = await here.client.start("parent")
        await fill(here)
        with pytest.raises(FullError):
            await here.client.start("parent")
        await run.approve("ask")
        assert (await run.wait(timeout="1h")).status == "completed"
        assert sorted(Counter(tries).values()) == [2, 2, 2], "two children and what fills the log, all tried twice"
        process.kill()


@in_virtual_time
async def test_a_run_that_a_step_of_a_run_starts_is_part_of_that() -> None:
    async with site(one_step()) as here:
        await fill(here)
        parent = Parent(run_id="above", step_id="plan", attempt=1, root="above", depth=1, detached=True)
        definition = await here.client.workflow("solo")
        assert (await here.client.start_json(definition, b"1", run_id="below", parent=parent)).is_new


@in_virtual_time
async def test_a_start_that_was_done_before_is_answered_as_ever() -> None:
    """Whoever has not heard the answer to the first one asks again."""
    async with site(one_step()) as here:
        first = await here.client.start("solo", 1, run_id="once-0001")
        named = await here.client.start("solo", 1, idempotency_key="mine")
        await fill(here)
        again = await here.client.start("solo", 1, run_id="once-0001")
        assert (again.run_id, again.is_new) == (first.run_id, False)
        again = await here.client.start("solo", 2, idempotency_key="mine")
        assert (again.run_id, again.is_new) == (named.run_id, False)
        with pytest.raises(FullError):
            await here.client.start("solo", 1, run_id="once-0002")
        with pytest.raises(FullError):
            await here.client.start("solo", 1, idempotency_key="yours")
        await widen(here)
        assert (await here.client.start("solo", 1, idempotency_key="yours")).is_new


class Folder(msgspec.Struct):
    folder: str = "/in"


@in_virtual_time
async def test_a_trigger_that_fires_fails_visibly_and_fires_once_there_is_room() -> None:
    @trigger_type("files", version="1", config=Folder)
    async def files(config: Folder, fire: Fire) -> None:
        await fire("new", key="the only one")

    workflow: Workflow[Any, Any] = Workflow("ingest")
    workflow.task("take", WORK)
    workflow.on_external("files", {}, id="inbox")
    async with site(one_step(), workflow) as here:
        await fill(here)
        process = Process(virtual_loop(), "worker")
        process.spawn(Worker(AsyncClient(process.run(here.server.connect)), [], trigger_types=[files]).run())

        async def fails() -> bool:
            return "there is no room for a run" in str(await here.client.trigger_types())

        await until(fails, what="a trigger that fails")
        assert await here.client.runs(workflow="ingest") == []
        await widen(here)

        async def has_fired() -> bool:
            return len(await here.client.runs(workflow="ingest")) == 1

        await until(has_fired, within_s=120, what="its run")
        process.kill()


@in_virtual_time
async def test_a_log_that_is_full_before_anybody_could_see_it_refuses_all_the_same() -> None:
    async with site(one_step()) as here:
        await here.client.start("solo")  # it has seen that there is room
        here.server.history.max_bytes = here.server.history.bytes
        for run_id in ("", "new-0001"):
            with pytest.raises(FullError, match="there is no room for a run: the stream has"):
                await here.client.start("solo", run_id=run_id)


@in_virtual_time
async def test_over_http_it_is_a_status_of_its_own_and_health_and_metrics_tell_how_full_it_is() -> None:
    async with site(one_step()) as here:
        web = await here.api()
        assert (await web.get("/v1/status")).json["store"]["limit_bytes"] is None
        await fill(here)
        for path, said in (("/v1/runs", {"workflow": "solo"}), ("/v1/events/order.paid", {})):
            refused = await web.post(path, said)
            assert (refused.status, refused.json["type"]) == (507, "urn:dagnats:full"), path
            assert "`dagnats clean --older-than=7d` makes room" in refused.json["detail"]
        log = here.server.history
        assert (await web.get("/health")).json == {"status": "ok", "store_used": 0.86}
        assert (await web.get("/v1/status")).json["store"] == {
            "used_bytes": log.bytes,
            "limit_bytes": log.max_bytes,
            "limited_by": "log",
            "full": True,
        }
        metrics = (await web.get("/metrics")).body.decode()
        assert f"dagnats_store_bytes {log.bytes}" in metrics
        assert f"dagnats_store_limit_bytes {log.max_bytes}" in metrics
        # What is for runs under way is not refused as such; where not even that fits, nothing was done.
        log.max_bytes = log.bytes
        brimful = await web.post("/v1/runs/new-0001/cancel", {})
        assert brimful.status == 404
        (run,) = await here.client.runs(limit=1)
        brimful = await web.post(f"/v1/runs/{run.run_id}/cancel", {})
        assert (brimful.status, brimful.json["type"]) == (507, "urn:dagnats:full")
