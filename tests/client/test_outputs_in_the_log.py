"""Outputs that stay in the log, as people, programs and other runs see them: whole, by whatever way they come."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import RunFailed, TaskContext, Workflow, handler
from dagnats.client.imported import imported_run, take_in
from dagnats.client.portable import encode_document, exported, read_document
from dagnats.client.rehearsal import rehearse
from dagnats.model.event import StepCompleted, WorkflowStarted, decode_event
from dagnats.model.pointer import STATE_BYTES, has_pointer
from dagnats.model.run import decode_run, encode_run
from dagnats.runtime import decider
from dagnats.runtime.blob import MOST_BYTES
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.pointer import Carriers, complete
from tests.client.scene import Scene
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.client import RunHandle

LARGE = "x" * STATE_BYTES


@handler("outputs.make")
async def make(value: Any) -> str:
    return LARGE


@handler("outputs.echo")
async def echo(value: Any) -> Any:
    return value


@handler("outputs.look")
async def look(value: Any, context: TaskContext) -> list[Any]:
    return [await context.run_input(), await context.output("made")]


@handler("outputs.fail")
async def fail(value: Any) -> None:
    raise ValueError("no")


def wide() -> Workflow[Any, Any]:
    """Every way that an output goes."""
    below: Workflow[Any, Any] = Workflow("wide")
    made = below.task("made", make)
    child = below.sub_workflow("child", "child").after(made)
    looked = below.task("looked", look).after(made)
    answer = below.respond("answer").after(made)
    below.task("joined", echo).after(child, looked, answer)
    return below


def chain(*tasks: Any, name: str = "chain") -> Workflow[Any, Any]:
    workflow: Workflow[Any, Any] = Workflow(name)
    last = None
    for at, task in enumerate(tasks):
        step = workflow.task(f"s{at}", task)
        last = step.after(last) if last is not None else step
    return workflow


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@pytest.fixture(params=["remembered", "read"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether an engine remembers the events that it has read, or reads them again."""
    if request.param == "read":
        monkeypatch.setattr(decider, "STATE_BYTES", MOST_BYTES)
    return request.param


async def snapshot_of(scene: Scene, handle: RunHandle) -> bytes:
    """The run's snapshot, once it says that the run has ended."""

    async def is_there() -> bool:
        stored = await scene.ports.snapshots.load(handle.run_id)
        return stored is not None and decode_run(stored.data).ended

    await until(is_there)
    stored = await scene.ports.snapshots.load(handle.run_id)
    assert stored is not None, "it is there"
    return stored.data


def test_a_large_output_reaches_whoever_needs_it_and_is_in_no_state(way: str) -> None:
    async def main() -> None:
        scene = Scene()
        scene.lead()
        await scene.serve([make, echo, look])
        await scene.client.register(chain(echo, name="child"))
        handle = await scene.start(wide(), value=[LARGE])
        expected = {"child": LARGE, "looked": [[LARGE], LARGE], "answer": LARGE}
        assert await handle.result(timeout="1m") == expected
        view = await handle.view()
        assert {step.id: step.output for step in view.steps} == {"made": LARGE, "joined": expected, **expected}
        assert (view.input, view.output) == ([LARGE], expected)
        response = msgspec.json.decode(dict(scene.server.notices)[f"dagnats.http.response.{handle.run_id}"])
        assert b64decode(response["body"]) == msgspec.json.encode(LARGE)
        assert len(await snapshot_of(scene, handle)) < STATE_BYTES
        entries = [entry for each in await scene.ports.log.run_ids() for entry in await scene.ports.log.read(each)]
        assert not any(has_pointer(entry.data) for entry in entries)
        assert (await scene.client.verify()).differences == ()
        assert (await rehearse(scene.ports, handle.run_id)).is_same
        scene.close()

    run(main())


def test_a_failed_step_leaves_its_whole_input_in_its_dead_letter_and_its_failure_step_is_told_of_it(way: str) -> None:
    async def main() -> None:
        scene = Scene()
        scene.lead()
        await scene.serve([make, echo, fail])
        workflow: Workflow[Any, Any] = Workflow("failing")
        made = workflow.task("made", make)
        caught = workflow.task("caught", echo)
        workflow.task("fails", fail).after(made).with_on_failure(caught)
        handle = await scene.start(workflow)
        await handle.result(timeout="1m")
        doomed = await scene.start(chain(make, fail, name="doomed"), "run-0002")
        with pytest.raises(RunFailed):
            await doomed.result(timeout="1m")
        letters = await scene.ports.dead_letters.find("outputs.fail.*.*")
        assert {msgspec.json.decode(letter.data)["input"] for letter in letters} == {LARGE}
        caught_output = next(step.output for step in (await handle.view()).steps if step.id == "caught")
        assert caught_output["input"] == LARGE
        scene.close()

    run(main())


def test_a_step_whose_input_is_lost_is_tried_again_and_then_fails_and_says_so() -> None:
    async def main() -> None:
        scene = Scene()
        scene.lead()
        await scene.serve([make, fail])
        workflow: Workflow[Any, Any] = Workflow("losing")
        made = workflow.task("made", make)
        workflow.task("fails", fail).after(made).with_retry(max_attempts=2, initial_delay="1m")
        handle = await scene.start(workflow)
        await asyncio.sleep(10)  # it waits for its retry, and has its snapshot
        scene.engine.kill()
        for entry in await scene.ports.log.read(handle.run_id):
            if isinstance(decode_event(entry.data), StepCompleted):
                scene.server.history.remove(entry.seq)
        assert (await handle.view()).steps[0].output["$dagnats.blob"]["seq"]
        scene.lead()
        with pytest.raises(RunFailed, match="the task could not be queued: a payload of run run-0001"):
            await handle.result(timeout="10m")
        assert [event.type for event in await handle.history()].count("step.failed") == 3
        scene.close()

    run(main())


def test_runs_made_of_another_one_have_its_payloads_as_their_own() -> None:
    async def main() -> None:
        scene = Scene()
        scene.lead()
        await scene.serve([make, echo])
        handle = await scene.start(chain(make, echo, echo), value=[LARGE])
        await handle.result(timeout="1m")
        fork, again = await handle.fork("s2"), await handle.retry()
        assert await fork.result(timeout="1m") == await again.result(timeout="1m") == LARGE
        for other in (fork, again):
            first = decode_event((await scene.ports.log.read(other.run_id))[0].data)
            assert isinstance(first, WorkflowStarted)
            assert msgspec.json.decode(bytes(first.payload.input)) == [LARGE]
        started = decode_event((await scene.ports.log.read(fork.run_id))[0].data)
        assert isinstance(started, WorkflowStarted)
        assert {name: msgspec.json.decode(bytes(each)) for name, each in started.payload.outputs.items()} == {
            "s0": LARGE,
            "s1": LARGE,
        }
        assert len(await snapshot_of(scene, fork)) < STATE_BYTES
        assert (await fork.view()).steps[0].output == LARGE
        await scene.client.handle(handle.run_id).result()
        scene.close()

    run(main())


def test_a_snapshot_of_an_earlier_version_has_all_payloads_and_is_as_good() -> None:
    async def main() -> None:
        scene = Scene()
        scene.lead()
        await scene.serve([make, echo])
        handle = await scene.start(chain(make, echo))
        await handle.result(timeout="1m")
        older = decode_run(await snapshot_of(scene, handle))
        await complete(Carriers(scene.ports.log), older)
        stored = await scene.ports.snapshots.load(handle.run_id)
        assert stored is not None
        await scene.ports.snapshots.save(handle.run_id, encode_run(older), revision=stored.revision)
        assert (await handle.view()).output == LARGE
        assert (await scene.client.verify()).differences == ()
        assert (await rehearse(scene.ports, handle.run_id)).is_same
        older.steps["s0"].output = msgspec.Raw(b"7")
        stored = await scene.ports.snapshots.load(handle.run_id)
        assert stored is not None
        await scene.ports.snapshots.save(handle.run_id, encode_run(older), revision=stored.revision)
        (found,) = (await scene.client.verify()).differences
        assert found.detail.endswith("it differs in steps")
        scene.close()

    run(main())


def test_an_imported_run_and_another_definition_are_seen_and_compared_with_whole_outputs() -> None:
    async def main() -> None:
        scene = Scene()
        scene.lead()
        await scene.serve([make, echo])
        handle = await scene.start(chain(make, echo, echo))
        await handle.result(timeout="1m")
        document = read_document(encode_document(await exported(scene.ports, handle.run_id)), name="file")
        there = Scene()
        await take_in(there.ports, document)
        guest = await imported_run(there.ports, handle.run_id)
        assert guest is not None
        assert (await guest.view()).steps == (await handle.view()).steps
        # A definition that looks into the output keeps it; what it hands out is the same.
        other: Workflow[Any, Any] = Workflow("chain")
        first = other.task("s0", make)
        second = other.task("s1", echo).after(first)
        third = other.task("s2", echo).after(second)
        other.task("s3", echo).after(first, third).skip_if(first.output["n"] == 1)
        found = await rehearse(scene.ports, handle.run_id, other.build())
        assert found.turn is not None
        assert found.turn.would == ("step 's3' is queued", "hand out step 's3' as 'outputs.echo', attempt 1")
        scene.close()
        there.close()

    run(main())
