"""Runs that run for steps of other runs, on a real NATS server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from dagnats import Abort, Fixed, RunFailed, TaskContext, Workflow, handler
from dagnats.model.event import Outcome, WorkflowCancelled, encode_event
from dagnats.model.json import compact
from dagnats.runtime.core.child import child_id
from dagnats.runtime.position import decode_position
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.client import RunHandle
    from dagnats.runtime.embedded import EmbeddedServer


class Parcel(BaseModel):
    id: str


@handler("child.pack")
async def pack(parcel: Parcel) -> str:
    return f"packed {parcel.id}"


@handler("child.fail")
async def fail(parcel: Parcel) -> str:
    raise Abort(f"{parcel.id} is broken")


@handler("child.flaky")
async def flaky(parcel: Parcel, ctx: TaskContext) -> str:
    if ctx.run_id == child_id("flaky", "child", 1):
        raise Abort("not yet")
    return "at last"


async def echo(value: Any) -> Any:
    return value


def small(function: Any = pack, name: str = "small") -> Workflow:
    wf = Workflow(name, version="1")
    wf.task("work", function)
    return wf


def parent(child: str = "small", *, detach: bool = False) -> Workflow:
    wf = Workflow("parent")
    wf.sub_workflow("child", child).with_detach(detach)
    return wf


def nap() -> Workflow:
    wf = Workflow("small")
    wf.sleep("nap", "1h")
    return wf


async def cancel(system: System, run_id: str) -> None:
    event = WorkflowCancelled(run_id=run_id, payload=Outcome(error="by hand"))
    await system.jetstream.ports.log.append(run_id, encode_event(event), id=f"{run_id}.cancelled")


async def registered(system: System, *workflows: Workflow) -> None:
    await system.client.register_all([workflow.build() for workflow in workflows])


async def outlived(system: System, run: RunHandle, step_id: str = "child") -> RunHandle:
    """The child of a step, once it is under way."""
    child = system.client.handle(child_id(run.run_id, step_id, 1))

    async def begun() -> bool:
        return bool(await system.jetstream.ports.log.first(child.run_id)) and (await child.view()).status == "running"

    await until(begun, what="the child")
    return child


async def test_a_child_gets_the_steps_input_and_gives_its_output(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await registered(system, small(), parent())
        await system.client.limit_workflow("small", max_events=900)
        await system.client.limit_workflow("parent", max_depth=3)
        system.start_worker([pack])
        run = await system.client.start("parent", Parcel(id="a"))
        assert await run.result(str, timeout="10s") == "packed a"
        history = await run.history()
        assert [event.type for event in history] == [
            "workflow.started",
            "workflow.spawn",
            "workflow.child.completed",
            "workflow.completed",
        ]
        child = system.client.handle(history[1].payload["child_run_id"])
        (begun, *_) = await child.history()
        assert begun.trace_parent == history[0].trace_parent
        assert begun.payload["parent"]["run_id"] == run.run_id
        assert begun.payload["def_hash"] == (await system.client.workflow("small")).identity
        assert (begun.payload["max_events"], begun.payload["max_depth"]) == (900, 3)  # its own, and what is above it


async def test_a_child_follows_the_newest_definition_when_it_begins(nats_server: EmbeddedServer) -> None:
    wf = Workflow("parent")
    wf.sub_workflow("child", "small").after(wf.wait_for_event("wait", "go", match=wf.event["n"] == 1, timeout="20s"))
    async with running(nats_server) as system:
        await registered(system, small(fail), wf)
        system.start_worker([pack])
        run = await system.client.start("parent", {"id": "a"})
        changed = small(handler("child.echo")(echo))
        await registered(system, changed)
        system.start_worker(changed.handlers)
        await system.jetstream.ports.events.publish("go", b'{"n":1}', id="go")
        assert await run.result(timeout="10s") == {"n": 1}


async def test_a_failed_child_fails_the_step_which_may_try_another(nats_server: EmbeddedServer) -> None:
    again = Workflow("again")
    again.sub_workflow("child", "small").with_retry(Fixed(max_attempts=1, initial_delay="1ms"))
    async with running(nats_server) as system:
        await registered(system, small(fail), parent())
        system.start_worker([fail, flaky])
        with pytest.raises(RunFailed, match=r"child workflow failed: .*a is broken"):
            await (await system.client.start("parent", Parcel(id="a"))).result(timeout="10s")
        await registered(system, small(flaky), again)
        run = await system.client.start("again", Parcel(id="a"), run_id="flaky")
        assert await run.result(timeout="10s") == "at last"


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ({"id": 5}, r"the input does not fit workflow 'small': \$\.id: 5 is not of type 'string'"),
        ({}, r"the input does not fit workflow 'small': .*'id' is a required property"),
    ],
)
async def test_a_child_whose_input_does_not_fit_never_begins(
    nats_server: EmbeddedServer, input: Any, said: str
) -> None:
    async with running(nats_server) as system:
        await registered(system, small(), parent())
        system.start_worker([pack])
        run = await system.client.start_json(await system.client.workflow("parent"), compact(input))
        with pytest.raises(RunFailed, match=said):
            await run.result(timeout="10s")
        assert await system.jetstream.ports.log.first(child_id(run.run_id, "child", 1)) == 0


async def test_a_workflow_that_nobody_knows_is_named_with_near_ones(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await registered(system, small(), parent())
        await _forget(system, "small")
        await registered(system, small(name="smaller"))
        run = await system.client.start("parent", Parcel(id="a"))
        with pytest.raises(RunFailed, match=r"no workflow 'small'; did you mean 'smaller'\?"):
            await run.result(timeout="10s")


async def _forget(system: System, name: str) -> None:
    """As a purged bucket would."""
    await system.jetstream.link.api("STREAM.PURGE.KV_workflow_defs", {"filter": f"$KV.workflow_defs.{name}"})


async def test_a_detached_child_goes_on_by_itself(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await registered(system, small(), parent(detach=True))
        run = await system.client.start("parent", Parcel(id="a"))
        output = await run.result(timeout="10s")
        assert output == {"child_run_id": child_id(run.run_id, "child", 1)}
        system.start_worker([pack])
        child = system.client.handle(output["child_run_id"])

        async def begun() -> bool:
            return bool(await system.jetstream.ports.log.first(child.run_id))

        await until(begun)
        assert await child.result(timeout="10s") == "packed a"
        assert "workflow.child.completed" not in [event.type for event in await run.history()]


async def test_a_detached_child_that_cannot_begin_is_to_be_seen_all_the_same(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await registered(system, small(), parent(detach=True))
        definition = await system.client.workflow("parent")
        run = await system.client.start_json(definition, b'{"id":5}')
        child = system.client.handle((await run.result(timeout="10s"))["child_run_id"])

        async def begun() -> bool:
            return bool(await system.jetstream.ports.log.first(child.run_id))

        await until(begun)
        view = await child.wait(timeout="10s")
        assert view.status == "failed"
        assert view.error.startswith("the input does not fit workflow 'small': $.id: 5")
        await _forget(system, "small")
        run = await system.client.start_json(definition, b'{"id":"b"}')
        await run.result(timeout="10s")

        async def buried() -> bool:
            return bool(await system.dead_letters())

        await until(buried)
        ((subject, headers, data),) = await system.dead_letters()
        assert subject == f"dead.orchestrator.never-began.{child_id(run.run_id, 'child', 1)}"
        assert headers["Dagnats-Dlq-Run-Id"] == run.run_id
        assert "small" in headers["Dagnats-Dlq-Error"]
        assert json.loads(data)["payload"]["input"] == {"id": "b"}


async def test_a_cancel_goes_down_to_every_attached_child(nats_server: EmbeddedServer) -> None:
    top = Workflow("top")
    top.sub_workflow("child", "parent")
    async with running(nats_server) as system:
        await registered(system, nap(), parent(), top)
        run = await system.client.start("top")
        middle = await outlived(system, run)
        low = await outlived(system, middle)
        await run.cancel()
        for each in (run, middle, low):
            assert (await each.wait(timeout="10s")).status == "cancelled"
        assert "was given up" in (await low.view()).error


async def test_a_child_cancelled_by_hand_fails_its_parents_step(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await registered(system, nap(), parent())
        run = await system.client.start("parent")
        child = await outlived(system, run)
        await cancel(system, child.run_id)
        with pytest.raises(RunFailed, match=r"child workflow failed \(cancelled\): by hand"):
            await run.result(timeout="10s")


async def test_a_run_cancelled_as_soon_as_it_begins_leaves_no_child_without_a_beginning(
    nats_server: EmbeddedServer,
) -> None:
    """Cancel and start are decided in one go: the one must not come before the other."""
    async with running(nats_server) as system:
        await registered(system, nap(), parent())
        await outlived(system, await system.client.start("parent"))
        await system.stop_engine()
        runs = [await system.client.start("parent", run_id=f"brief-{at}") for at in range(30)]
        for run in runs:
            await cancel(system, run.run_id)
        system.start_engine()
        for run in runs:
            assert (await run.wait(timeout="10s")).status == "cancelled"
        ports = system.jetstream.ports

        async def decided() -> bool:
            cell = await ports.position.read()
            position = decode_position(cell.data) if cell is not None else None
            return position is not None and position.seq >= await ports.log.last()

        await until(decided)
        for run in runs:
            child = system.client.handle(child_id(run.run_id, "child", 1))
            if await ports.log.first(child.run_id):  # else it was given up before anybody had started it
                kinds = [event.type for event in await child.history()]
                assert (kinds[0], kinds.count("workflow.cancelled")) == ("workflow.started", 1)


async def test_a_hundred_children_tell_their_parent_each(nats_server: EmbeddedServer) -> None:
    wf = Workflow("parent")
    for at in range(100):
        wf.sub_workflow(f"c{at}", "small")
    async with running(nats_server) as system:
        await registered(system, small(), wf)
        system.start_worker([pack])
        run = await system.client.start("parent", Parcel(id="a"))
        output = await run.result(timeout="20s")
        assert set(output.values()) == {"packed a"}
        assert len(output) == 100
