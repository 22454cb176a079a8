"""Dead letters, queues, limits and the comparison of everything with the log, on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Abort, ConflictError, NotFoundError, Workflow
from dagnats.client.client import AsyncClient
from dagnats.errors import DagnatsError
from dagnats.model.event import Poison, StepCompleted, WorkflowPoisoned, WorkflowStarted, decode_event, encode_event
from dagnats.model.ops import decode_fact, task_history
from dagnats.model.run import decode_run, encode_run
from dagnats.runtime.letter import UNREADABLE
from dagnats.runtime.position import decode_position
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.client import RunHandle
    from dagnats.runtime.embedded import EmbeddedServer


def waiting() -> Workflow[Any, Any]:
    """One step that nobody serves."""
    workflow = Workflow("waiting")
    workflow.task("work", "nobody.works")
    return workflow


async def in_flight(run: RunHandle) -> bool:
    return (await run.view()).steps[0].in_flight


async def is_queued(system: System, run: RunHandle) -> bool:
    return bool(await system.jetstream.ports.tasks.waiting("nobody.works", run.run_id))


async def is_empty(client: AsyncClient, run: RunHandle) -> bool:
    return not await client.dead_letters(run.run_id)


# -- dead letters ------------------------------------------------------------------------------------------------


async def test_a_dead_letter_far_down_the_line_is_replayed_by_its_place(nats_server: EmbeddedServer) -> None:
    mended = False

    async def work() -> str:
        if not mended:
            raise Abort("not yet")
        return "done"

    workflow = Workflow("mending")
    workflow.step(work)
    async with running(nats_server) as system:
        client, letters = system.client, system.jetstream.ports.dead_letters
        await client.register(workflow)
        system.start_worker([workflow])
        await asyncio.gather(
            *(
                letters.put(f"old.r{at}.s", b"{}", headers={"Dagnats-Dlq-Run-Id": f"r{at}"}, id=str(at))
                for at in range(150)
            )
        )
        run = await client.start(workflow)
        assert (await run.wait(timeout="20s")).status == "failed"
        (letter,) = await client.dead_letters(run.run_id)
        assert letter.seq == 151
        assert (letter.task, letter.step_id, letter.error, letter.attempts) == ("mending.work", "work", "not yet", 1)
        assert letter.time_ns > 0
        mended = True
        assert await client.replay_dead_letter(151) == letter
        assert await run.result(timeout="20s") == "done"
        await until(lambda: is_empty(client, run))  # it goes when the step succeeds
        await letters.put("old.s", b"{}", headers={"Dagnats-Dlq-Run-Id": run.run_id}, id="late")
        with pytest.raises(ConflictError, match="it is completed, nothing of it failed"):
            await client.replay_dead_letter(152)
        await client.discard_dead_letter(1)
        with pytest.raises(NotFoundError, match="no dead letter '1'"):
            await client.replay_dead_letter(1)
        with pytest.raises(NotFoundError, match="no run 'r1'"):
            await client.replay_dead_letter(2)


async def test_an_event_that_could_not_be_read_goes_back_once_it_can_be(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client, ports = system.client, system.jetstream.ports
        await client.register(waiting())
        run = await client.start("waiting")
        poison = WorkflowPoisoned(run_id=run.run_id, payload=Poison(error="an event cannot be read"))
        await ports.log.append(run.run_id, encode_event(poison), id="poison")
        assert (await run.wait(timeout="20s")).status == "failed"
        readable = encode_event(StepCompleted(run_id=run.run_id, step_id="work", payload=msgspec.Raw(b"1")))
        for at, data in enumerate((b"not json", readable)):
            headers = {"Dagnats-Dlq-Run-Id": run.run_id, "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY"}
            await ports.dead_letters.put(f"{UNREADABLE}.{run.run_id}", data, headers=headers, id=f"letter-{at}")
        broken, mended = await client.dead_letters(run.run_id)
        with pytest.raises(ConflictError, match="still cannot be read"):
            await client.replay_dead_letter(broken.seq)
        await client.replay_dead_letter(mended.seq)
        await until(lambda: in_flight(run))
        assert [letter.seq for letter in await client.dead_letters()] == [broken.seq]


async def test_a_run_that_is_opened_again_is_active_again(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        await client.register(waiting())
        run = await client.start("waiting")

        def counted(count: int) -> Callable[[], Awaitable[bool]]:
            async def is_so() -> bool:
                return (await client.status()).active_runs == count

            return is_so

        await until(counted(1))
        for _ in range(2):
            await until(lambda: in_flight(run))
            await run.cancel()
            await until(counted(0))
            await run.replay()
            await until(counted(1))


# -- queues and workflows ----------------------------------------------------------------------------------------


async def test_a_queue_shows_what_is_in_it_and_what_was_said_of_it(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        await client.register(waiting())
        run = await client.start("waiting")
        await until(lambda: is_queued(system, run))
        (view,) = await client.queues()
        assert (view.name, view.state.waiting, view.steps, view.limits.is_idle) == (
            "nobody.works",
            1,
            ("waiting.work",),
            True,
        )
        await client.pause_queue("nobody.works", "holiday", by="ann")
        with pytest.raises(ConflictError, match=r"queue 'nobody\.works' is paused already"):
            await client.pause_queue("nobody.works")
        await client.limit_queue("nobody.works", concurrency=3, rate=10, period="1m")
        limits = (await client.queue("nobody.works")).limits
        assert (limits.paused, limits.concurrency, limits.rate, limits.reason) == (True, 3, 10, "holiday")
        await client.resume_queue("nobody.works")
        await client.limit_queue("nobody.works", rate=0)
        limits = (await client.queue("nobody.works")).limits
        assert (limits.paused, limits.concurrency, limits.rate, limits.period_ns) == (False, 3, 0, 0)
        with pytest.raises(NotFoundError, match=r"no queue 'nobody\.work'") as unknown:
            await client.pause_queue("nobody.work")
        assert "nobody.works" in unknown.value.hint
        with pytest.raises(DagnatsError, match="concurrency is -1"):
            await client.limit_queue("nobody.works", concurrency=-1)
        with pytest.raises(DagnatsError, match="longer than nothing"):
            await client.limit_queue("nobody.works", rate=1, period="0s")


async def test_a_worker_group_is_held_and_limited_with_its_task_type(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        workflow = Workflow("grouped")
        workflow.task("work", "nobody.works").with_worker_group("gpu")
        await client.register(workflow)
        with pytest.raises(ConflictError, match=r"'nobody\.works\.gpu' is a worker group of task type 'nobody\.works'"):
            await client.pause_queue("nobody.works.gpu")
        with pytest.raises(ConflictError, match="worker group"):
            await client.limit_queue("nobody.works.gpu", concurrency=1)
        await client.pause_queue("nobody.works")
        assert (await client.queue("nobody.works.gpu")).limits.paused
        await client.start("grouped")

        async def stands_in_line() -> bool:
            return len((await client.queue("nobody.works.gpu")).gate.waiting) == 1

        await until(stands_in_line)
        assert (await client.queue("nobody.works.gpu")).state.waiting == 0
        await client.resume_queue("nobody.works")

        async def is_handed_out() -> bool:
            return (await client.queue("nobody.works.gpu")).state.waiting == 1

        await until(is_handed_out)


async def test_a_name_with_a_wildcard_says_nothing_of_what_it_would_stand_for(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(waiting())
        await system.client.pause_workflow("waiting")
        assert (await system.client.workflow_limits("*")).is_idle
        with pytest.raises(ConflictError, match=r"workflow '\*' is not paused"):
            await system.client.resume_workflow("*")
        assert (await system.client.workflow_limits("waiting")).paused


async def test_of_what_two_operators_say_at_once_nothing_is_lost(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system, running(nats_server, engine=False) as other:
        await system.client.register(waiting())
        limits = [system.client.limit_queue("nobody.works", concurrency=3), other.client.pause_queue("nobody.works")]
        await asyncio.gather(*limits)
        said = [
            decode_fact(entry.data) for entry in await system.jetstream.ports.log.read(task_history("nobody.works"))
        ]
        assert len(said) == 2
        found = (await system.client.queue("nobody.works")).limits
        assert (found.paused, found.concurrency) == (True, 3)


async def test_runs_of_a_paused_or_limited_workflow_have_to_be_admitted(nats_server: EmbeddedServer) -> None:
    # No engine: one would admit the run behind the limit before anybody could see that it has to ask.
    async with running(nats_server, engine=False) as system:
        client = system.client
        await client.register(waiting())
        await client.pause_workflow("waiting", by="ann")
        assert (await (await client.start("waiting")).view()).status == "pending"
        await client.resume_workflow("waiting")
        await client.limit_workflow("waiting", 2)
        assert (await client.workflow_limits("waiting")).max_runs == 2
        assert (await (await client.start("waiting")).view()).status == "pending"
        await client.limit_workflow("waiting", 0)
        assert (await (await client.start("waiting")).view()).status == "running"
        with pytest.raises(NotFoundError, match="no workflow 'waitng'"):
            await client.pause_workflow("waitng")


async def test_how_long_and_how_deep_a_run_may_become_is_recorded_in_its_start(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        client = system.client
        await client.register(waiting())
        said = await client.limit_workflow("waiting", max_events=70_000, max_depth=12, by="ann")
        assert (said.max_runs, said.max_events, said.max_depth) == (0, 70_000, 12)
        made_up, named = await client.start("waiting"), await client.start("waiting", run_id="named")
        again = await made_up.retry()
        (bulk,) = await client.start_all("waiting", [None])
        for run_id in (made_up.run_id, named.run_id, again.run_id, bulk.run_id):
            view = await client.handle(run_id).view()
            (entry, *_) = await system.jetstream.ports.log.read(run_id)
            event = decode_event(entry.data)
            assert isinstance(event, WorkflowStarted)
            assert (event.payload.max_events, event.payload.max_depth) == (70_000, 12)
            assert view.status == "running"  # no gate is asked
        small, large = [await client.start("waiting", max_events=most) for most in (900, 80_000)]
        for run, most in ((small, 900), (large, 70_000)):
            (entry, *_) = await system.jetstream.ports.log.read(run.run_id)
            event = decode_event(entry.data)
            assert isinstance(event, WorkflowStarted)
            assert event.payload.max_events == most
        await client.limit_workflow("waiting", max_events=0)
        after = await client.workflow_limits("waiting")
        assert (after.max_events, after.max_depth, after.by) == (0, 12, "ann")


async def test_a_limit_that_says_nothing_is_refused(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(waiting())
        with pytest.raises(DagnatsError, match="no limit is given"):
            await system.client.limit_workflow("waiting")
        with pytest.raises(DagnatsError, match="max_depth"):
            await system.client.limit_workflow("waiting", max_depth=-1)
        with pytest.raises(DagnatsError, match="max_events is 1000001"):
            await system.client.limit_workflow("waiting", max_events=1_000_001)


async def test_a_start_sees_what_somebody_else_has_just_said_of_its_workflow(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system, running(nats_server, engine=False) as other:
        await system.client.register(waiting())
        for _ in range(2):
            assert (await (await system.client.start("waiting")).view()).status == "running"
            await other.client.pause_workflow("waiting")
            assert (await (await system.client.start("waiting")).view()).status == "pending"
            await other.client.resume_workflow("waiting")


# -- everything and the log --------------------------------------------------------------------------------------


async def snapshot_of(system: System, run: RunHandle) -> tuple[int, bytes]:
    """A run's snapshot, once it is as far as its history."""
    ports = system.jetstream.ports
    seq = (await run.view()).seq

    async def is_there() -> bool:
        stored = await ports.snapshots.load(run.run_id)
        return stored is not None and decode_run(stored.data).seq == seq

    await until(is_there)
    stored = await ports.snapshots.load(run.run_id)
    assert stored is not None, "it is there"
    return stored.revision, stored.data


async def test_a_snapshot_that_differs_from_its_history_is_found_and_put_right(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client, ports = system.client, system.jetstream.ports
        await client.register(waiting())
        run = await client.start("waiting")
        await until(lambda: is_queued(system, run))  # an engine has the run, and will save it
        await run.cancel()
        await run.wait(timeout="20s")
        revision, data = await snapshot_of(system, run)
        found = await client.verify()
        assert (found.runs, found.differences) == (1, ())
        forged = decode_run(data)
        forged.status, forged.labels = "completed", {"forged": "yes"}
        await ports.snapshots.save(run.run_id, encode_run(forged), revision=revision)
        (difference,) = (await client.verify()).differences
        assert (difference.run_id, difference.kind, difference.mendable) == (run.run_id, "snapshot", True)
        assert "differs in status, labels" in difference.detail
        assert await client.repair([difference]) == []
        assert (await client.verify()).differences == ()
        assert (await snapshot_of(system, run))[1] == data


async def test_what_cannot_be_folded_and_tasks_that_are_gone_are_found(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client, ports = system.client, system.jetstream.ports
        await client.register(waiting())
        run = await client.start("waiting", run_id="b-live")
        await until(lambda: in_flight(run))
        await until(lambda: is_acted_on(client))
        assert (await client.verify()).differences == ()
        await ports.tasks.drop("nobody.works", run.run_id, upto=await ports.tasks.last())
        await ports.log.append(
            "a-headless", encode_event(WorkflowPoisoned(run_id="a-headless", payload=Poison(error=""))), id="x"
        )
        await ports.log.append("c-noise", b"noise", id="y")
        found = (await client.verify()).differences
        assert [(each.run_id, each.kind) for each in found] == [
            ("a-headless", "start"),
            ("b-live", "task"),
            ("c-noise", "unreadable"),
            ("c-noise", "start"),
        ]
        assert await client.repair(found) == [each for each in found if each.kind != "task"]
        await until(lambda: is_queued(system, run))


async def is_acted_on(client: AsyncClient) -> bool:
    """Whether the run is decided, and an engine that has not seen this server before has sent what was missing."""
    stored = await client.connection.ports.position.read()
    position = decode_position(stored.data) if stored is not None else None
    return position is not None and position.server != "" and (await client.status()).active_runs == 1


# -- many at once ------------------------------------------------------------------------------------------------


async def test_a_run_whose_input_is_lost_keeps_no_other_from_being_tried_again(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client = system.client
        await client.register(waiting())
        lost = await client.start("waiting", "x" * 300_000)
        whole = await client.start("waiting", "x")
        for run in (lost, whole):
            await until(lambda run=run: in_flight(run))
            await run.fail_step("work")
            assert (await run.wait(timeout="10s")).status == "failed"
        await system.jetstream.ports.blobs.remove(lost.run_id)
        async with running(nats_server, engine=False) as other:  # one that has not read it
            done = {each.run_id: each for each in await other.client.retry_all("waiting", mode="rerun")}
        assert "is not stored" in done[lost.run_id].problem
        assert done[whole.run_id].is_new
