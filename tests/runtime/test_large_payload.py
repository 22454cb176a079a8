"""Payloads that fit into no message, on a real NATS server: stored beside the log, and seen by nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Abort, Compensation, Fixed, RunCompensated, RunFailed, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.errors import RefusedError
from dagnats.model.event import StepCompleted, WorkflowStarted, decode_event
from dagnats.runtime.blob import INLINE_BYTES, MOST_BYTES, BlobLost, has_reference
from dagnats.runtime.core.graph import Graph
from dagnats.runtime.engine import Engine
from dagnats.runtime.jetstream.blob import PIECE_BYTES, JetStreamBlobs
from dagnats.runtime.letter import PARKED
from dagnats.runtime.worker import Worker
from tests.support.mortal import Fate, MortalFeeds, mortal
from tests.support.nats import prepared
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.client import EventView, RunHandle
    from dagnats.runtime.embedded import EmbeddedServer

MIB = 1024 * 1024


@handler("large.make")
async def make(size: int) -> str:
    return "x" * size


@handler("large.pass")
async def pass_on(text: str) -> str:
    return text


@handler("large.lengths")
async def lengths(given: dict[str, str]) -> dict[str, int]:
    return {key: len(text) for key, text in given.items()}


chain = Workflow("large-chain")
chain.task("passed", pass_on).after(chain.task("made", make))

fan = Workflow("large-fan")
fan.task("joined", lengths).after(*[fan.task(f"part-{n}", make) for n in range(3)])

leaves = Workflow("large-leaves")
for number in range(3):
    leaves.task(f"leaf-{number}", make)


def dying(system: System, fate: Fate) -> AsyncClient:
    """A client whose ports die."""
    connection: Any = SimpleNamespace(ports=mortal(system.jetstream.ports, fate), feeds=system.jetstream.feeds)
    return AsyncClient(connection)


async def entries(system: System, run: RunHandle) -> list[bytes]:
    return [entry.data for entry in await system.client.connection.ports.log.read(run.run_id)]


async def blobs_of(system: System) -> list[str]:
    return await system.client.connection.ports.blobs.run_ids()


async def event_of(run: RunHandle, kind: str) -> EventView:
    """The run's first event of a kind, once it is there."""
    async for event in run.events():
        if event.type == kind:
            return event
    raise AssertionError(f"the run ended without {kind}")


async def digest_of(system: System, run: RunHandle) -> str:
    """The hash of the run's first large result."""
    events = map(decode_event, await entries(system, run))
    payload = next(bytes(event.payload) for event in events if isinstance(event, StepCompleted))
    return str(msgspec.json.decode(payload)["$dagnats.blob"]["sha256"])


async def test_a_blob_of_several_pieces_comes_back_and_is_stored_twice_without_harm(
    nats_server: EmbeddedServer,
) -> None:
    async with prepared(nats_server) as jetstream:
        blobs = JetStreamBlobs(jetstream.link)
        data = bytes(range(256)) * (20 * PIECE_BYTES // 256) + b"end"
        await blobs.put("run", "0" * 64, data)
        await blobs.put("run", "0" * 64, data)
        assert await blobs.get("run", "0" * 64, len(data)) == data
        assert await blobs.get("run", "1" * 64, len(data)) is None
        assert await blobs.run_ids() == ["run"]
        state = (await jetstream.link.api("STREAM.INFO.BLOBS"))["state"]
        assert state["messages"] == 21
        await jetstream.link.api("STREAM.PURGE.BLOBS", {"filter": f"blob.run.{'0' * 64}.7"})
        assert await blobs.get("run", "0" * 64, len(data)) is None
        assert await blobs.newest_ns("run") > 0
        await blobs.remove("run")
        assert await blobs.run_ids() == []
        assert await blobs.newest_ns("run") == 0


async def test_5_mib_go_through_two_steps_and_the_log_holds_only_references(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(chain)
        system.start_worker([chain])
        run = await system.client.start(chain, 5 * MIB)
        text = await run.result(str, timeout="30s")
        assert text == "x" * 5 * MIB
        stored = await entries(system, run)
        assert max(map(len, stored)) < 4096
        assert sum(map(has_reference, stored)) == 3  # both results, and the run's end
        view = await run.view()
        assert view.output == text
        assert [len(step.output) for step in view.steps] == [5 * MIB, 5 * MIB]
        assert [len(event.payload) for event in await run.history() if event.type == "step.completed"] == [5 * MIB] * 2
        followed = [event async for event in run.events()]
        assert followed[-1].payload["output"] == text
        assert await blobs_of(system) == [run.run_id]


async def test_three_outputs_of_300_kib_are_joined_for_the_step_after_them(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await system.client.register(fan)
        system.start_worker([fan])
        run = await system.client.start(fan, 300 * 1024)
        assert await run.result(timeout="20s") == {f"part-{n}": 300 * 1024 for n in range(3)}


async def test_an_input_and_an_output_joined_of_small_payloads_are_offloaded_as_a_whole(
    nats_server: EmbeddedServer,
) -> None:
    size = INLINE_BYTES - 100
    workflow = Workflow("large-join")
    parts = [workflow.task(f"part-{n}", make) for n in range(3)]
    workflow.task("joined", lengths).after(*parts)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        await system.client.register(leaves)
        system.start_worker([fan])
        run = await system.client.start(workflow, size)
        assert await run.result(timeout="20s") == {f"part-{n}": size for n in range(3)}
        assert await blobs_of(system) == [run.run_id]
        run = await system.client.start(leaves, size)
        assert await run.result(timeout="20s") == {f"leaf-{n}": "x" * size for n in range(3)}
        assert [has_reference(data) for data in await entries(system, run)] == [False, False, False, False, True]


async def test_a_large_run_input_is_stored_before_the_start(nats_server: EmbeddedServer) -> None:
    workflow = Workflow("large-input")
    workflow.task("passed", pass_on)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        text = "y" * MIB
        run = await system.client.start(workflow, text, run_id="big")
        assert await run.result(str, timeout="20s") == text
        assert len((await entries(system, run))[0]) < 4096
        assert (await run.view()).input == text
        again = await system.client.start_json(
            await system.client.workflow("large-input"), b' "%b"' % text.encode(), run_id="big"
        )
        assert again.run_id == "big"


async def test_a_run_input_of_more_than_64_mib_starts_nothing(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(chain)
        with pytest.raises(RefusedError, match="the run's input is too large: 67108865 bytes"):
            await system.client.start(chain, "x" * (MOST_BYTES - 1), run_id="huge")
        with pytest.raises(RefusedError, match="the run's input has the key"):
            await system.client.start(chain, {"$dagnats.blob": 1}, run_id="huge")
        assert await system.client.connection.ports.log.first("huge") == 0
        assert await blobs_of(system) == []


async def test_a_result_of_64_mib_arrives_and_one_byte_more_fails_its_step_for_good(
    nats_server: EmbeddedServer,
) -> None:
    workflow = Workflow("large-most")
    workflow.task("made", make).with_retry(Fixed(max_attempts=3, initial_delay="10ms"))
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, MOST_BYTES - 2)
        assert len(await run.result(str, timeout="60s")) == MOST_BYTES - 2
        run = await system.client.start(workflow, MOST_BYTES - 1)
        with pytest.raises(RunFailed, match="the result is too large: 67108865 bytes; at most 67108864") as caught:
            await run.result(timeout="60s")
        assert caught.value.step == "made"
        assert (await run.view()).steps[0].attempts == 1


async def test_a_result_with_the_reserved_key_fails_its_step_for_good(nats_server: EmbeddedServer) -> None:
    @handler("large.forge")
    async def forge(_: int) -> dict[str, Any]:
        return {"deep": [{"$dagnats.blob": {"run": "other", "sha256": "0" * 64, "bytes": 1}}]}

    workflow = Workflow("large-forge")
    workflow.task("forged", forge)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, 1)
        with pytest.raises(RunFailed, match=r"the result has the key '\$dagnats.blob'"):
            await run.result(timeout="20s")


async def test_a_step_whose_input_is_lost_says_which_and_its_retry_finds_what_has_come_back(
    nats_server: EmbeddedServer,
) -> None:
    workflow = Workflow("large-lost")
    first = workflow.task("made", make)
    workflow.task("passed", pass_on).after(first).with_retry(Fixed(max_attempts=1, initial_delay="300ms"))
    async with running(nats_server) as system:
        await system.client.register(workflow)
        blobs = system.jetstream.ports.blobs
        maker = system.start_worker([make])
        run = await system.client.start(workflow, MIB)
        await event_of(run, "step.completed")
        digest, size = await digest_of(system, run), MIB + 2
        kept = await blobs.get(run.run_id, digest, size)
        assert kept is not None
        await blobs.remove(run.run_id)
        maker.stop()
        system.start_worker([pass_on])
        error = (await event_of(run, "step.failed")).payload["error"]
        assert error.startswith(f"the input cannot be read: a payload of run {run.run_id} ({size} bytes, ")
        assert digest in error
        await blobs.put(run.run_id, digest, kept)
        assert len(await run.result(str, timeout="20s")) == MIB


async def test_a_result_that_is_lost_is_an_error_and_the_run_can_still_be_looked_at(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        await system.client.register(chain)
        system.start_worker([chain])
        run = await system.client.start(chain, MIB)
        await run.result(timeout="20s")
        await system.jetstream.ports.blobs.remove(run.run_id)
        with pytest.raises(BlobLost, match=f"run {run.run_id}"):
            await run.result(timeout="20s")
        view = await run.view()
        assert view.status == "completed"
        assert view.output["$dagnats.blob"]["run"] == run.run_id


async def test_undoing_and_dead_letters_carry_large_payloads_too(nats_server: EmbeddedServer) -> None:
    undone: list[int] = []

    @handler("large.break")
    async def break_down(_: str) -> None:
        raise Abort("no")

    @handler("large.undo")
    async def undo(what: Compensation[str]) -> None:
        undone.append(len(what.original_output))

    workflow = Workflow("large-undo")
    made = workflow.task("made", make).with_compensation("undo")
    workflow.task("broken", break_down).after(made)
    workflow.task("undo", undo)
    async with running(nats_server) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        run = await system.client.start(workflow, MIB)
        with pytest.raises(RunCompensated):
            await run.result(timeout="20s")
        assert undone == [MIB]
        ((_, _, letter),) = await system.dead_letters()
        assert has_reference(letter)


async def test_a_worker_killed_between_blob_and_result_leaves_a_run_that_another_one_finishes(
    nats_server: EmbeddedServer,
) -> None:
    fate = Fate(("blobs.put:stored", 1))
    async with running(nats_server) as system:
        await system.client.register(chain)
        doomed = asyncio.create_task(Worker(dying(system, fate), [make], ack_wait=timedelta(seconds=2)).run())
        run = await system.client.start(chain, MIB)
        await asyncio.wait_for(fate.died.wait(), 10)
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        assert await blobs_of(system) == [run.run_id]
        assert [decode_event(data) for data in await entries(system, run) if b"step.completed" in data] == []
        system.start_worker([chain])
        assert len(await run.result(str, timeout="20s")) == MIB


async def test_an_engine_killed_between_blob_and_task_leaves_a_run_that_the_next_one_finishes(
    nats_server: EmbeddedServer,
) -> None:
    size = INLINE_BYTES - 100
    async with running(nats_server, engine=False) as system:
        await system.client.register(fan)
        system.start_worker([fan])
        fate = Fate(("blobs.put:stored", 1))
        ports, feeds = mortal(system.jetstream.ports, fate), MortalFeeds(system.jetstream.feeds, fate)
        doomed = asyncio.create_task(Engine(ports, feeds).run())
        run = await system.client.start(fan, size)
        await asyncio.wait_for(fate.died.wait(), 10)
        await asyncio.gather(doomed, return_exceptions=True)
        system.start_engine()
        assert await run.result(timeout="20s") == {f"part-{n}": size for n in range(3)}


async def test_the_core_gets_the_whole_payload_where_it_reads_one(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()

    def reads(_: Graph, step_id: str) -> bool:
        asked.add(step_id)
        return step_id in ("made", "")

    monkeypatch.setattr(Graph, "reads", reads)
    async with running(nats_server) as system:
        await system.client.register(chain)
        system.start_worker([chain])
        run = await system.client.start(chain, MIB)
        assert len(await run.result(str, timeout="20s")) == MIB
        assert {"made", "passed"} <= asked
        graph, folded = await run._fold()  # pyright: ignore[reportPrivateUsage]  # what the core has is nowhere else
        assert graph.name == "large-chain"
        assert len(bytes(folded.steps["made"].output)) == MIB + 2
        assert has_reference(bytes(folded.steps["passed"].output))
        snapshot = await system.jetstream.ports.snapshots.load(run.run_id)
        assert snapshot is None or len(snapshot.data) > MIB


async def test_a_run_whose_payload_the_core_needs_and_does_not_get_waits_until_it_is_back(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads_input(_: Graph, step_id: str) -> bool:
        return not step_id

    monkeypatch.setattr(Graph, "reads", reads_input)
    workflow = Workflow("large-input")
    workflow.task("passed", pass_on)
    async with running(nats_server, engine=False) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        ports = system.jetstream.ports
        run = await system.client.start(workflow, "y" * MIB)
        (stored,) = await entries(system, run)
        start = decode_event(stored)
        assert isinstance(start, WorkflowStarted)
        digest = msgspec.json.decode(bytes(start.payload.input))["$dagnats.blob"]["sha256"]
        kept = await ports.blobs.get(run.run_id, digest, MIB + 2)
        assert kept is not None
        await ports.blobs.remove(run.run_id)
        system.start_engine()

        async def is_parked() -> bool:
            return bool(await ports.dead_letters.find(f"{PARKED}.{run.run_id}"))

        await until(is_parked, what="the run to be parked")
        await system.stop_engine()
        await ports.blobs.put(run.run_id, digest, kept)
        system.start_engine()
        assert await run.result(str, timeout="20s") == "y" * MIB
