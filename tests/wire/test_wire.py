"""docs/wire.md is true: a worker written from it serves our engine, and our worker serves tasks in that form."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import nats
import pytest

from dagnats import Fixed, RunFailed, TaskContext, Workflow, handler
from dagnats.model.event import Result, Sign
from dagnats.model.task import Task
from dagnats.runtime.jetstream.queue import durable_name
from tests.api.site import one_step
from tests.support.processes import ROOT, until
from tests.support.system import System, running
from tests.wire.fake import FakeWorker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.runtime.embedded import EmbeddedServer
    from tests.wire.fake import Handler

TYPE = "fake.work"
DURABLE_TYPE = "fake"  # the durable of a type with a dot has a hash, which this worker leaves out


@asynccontextmanager
async def fake(system: System, handle: Handler, *, group: str = "") -> AsyncGenerator[FakeWorker]:
    worker = FakeWorker(DURABLE_TYPE, handle, group=group)
    await worker.start(system.server.url, system.server.token)
    try:
        yield worker
    finally:
        await worker.stop()


@pytest.mark.parametrize("group", ["", "gpu"])
async def test_a_worker_written_from_the_description_serves_steps_and_their_retries(
    nats_server: EmbeddedServer, group: str
) -> None:
    def handle(task: dict[str, Any]) -> tuple[str, Any]:
        if task["attempt"] == 1:
            return "step.failed", {"error": "not yet", "failure_type": "retriable"}
        return "step.completed", {"got": task["input"], "attempt": task["attempt"]}

    settings: dict[str, Any] = {"worker_group": group} if group else {}
    workflow = one_step(task=DURABLE_TYPE, retry=Fixed(max_attempts=1, initial_delay="100ms"), **settings)
    async with running(nats_server) as system, fake(system, handle, group=group) as worker:
        await system.client.register(workflow)
        run = await system.client.start("solo", {"n": 1})
        assert await run.result(timeout="30s") == {"got": {"n": 1}, "attempt": 2}
        assert [task["attempt"] for task in worker.tasks] == [1, 2]
        assert worker.tasks[0]["task_id"] == f"{run.run_id}.work"
        step = (await run.view()).steps[0]
        assert (step.attempts, step.worker_id) == (2, "fake-1")


async def test_what_old_workers_send_as_a_failure_is_understood(nats_server: EmbeddedServer) -> None:
    said: dict[str, Any] = {"text": "only a text", "object": {"error": "for good", "failure_type": "non_retriable"}}
    async with (
        running(nats_server) as system,
        fake(system, lambda task: ("step.failed", said[task["input"]])),
    ):
        await system.client.register(one_step(task=DURABLE_TYPE))
        for kind, error in (("text", "only a text"), ("object", "for good")):
            run = await system.client.start("solo", kind)
            with pytest.raises(RunFailed, match=error):
                await run.result(timeout="30s")


async def test_a_worker_written_from_the_description_turns_a_loop(nats_server: EmbeddedServer) -> None:
    def handle(task: dict[str, Any]) -> tuple[str, Any]:
        if task.get("iteration", 0) < 2:
            return "step.continue", task["input"] + 1
        return "step.completed", task["input"]

    workflow: Workflow[Any, Any] = Workflow("loop")

    @workflow.agent_loop(task=DURABLE_TYPE, max_iterations=5)
    async def turn(value: int) -> int:
        raise NotImplementedError

    async with running(nats_server) as system, fake(system, handle):
        await system.client.register(workflow)
        run = await system.client.start("loop", 10)
        assert await run.result(timeout="30s") == 12


async def test_a_worker_hears_that_its_run_was_cancelled_and_its_result_changes_nothing(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system, fake(system, lambda _: ("step.completed", "late")) as worker:
        heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def on_cancel(message: Any) -> None:
            heard.put_nowait(json.loads(message.data))

        async def meanwhile(task: dict[str, Any]) -> None:
            await system.client.handle(task["run_id"]).cancel()
            cancellation = await asyncio.wait_for(heard.get(), 20)
            assert cancellation == {"run_id": task["run_id"], "steps": [["work", 1]]}

        await system.client.register(one_step(task=DURABLE_TYPE))
        await worker.client.subscribe("dagnats.cancel.*", cb=on_cancel)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves its options without types
        await worker.client.flush()
        worker.between = meanwhile
        run = await system.client.start("solo")

        async def late() -> bool:
            return "step.completed" in [event.type for event in await run.history()]

        await until(late)
        assert (await run.view()).status == "cancelled"


async def test_checkpoints_signals_and_streams_are_where_the_description_says(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system, fake(system, lambda _: ("step.completed", "done")) as worker:

        async def meanwhile(task: dict[str, Any]) -> None:
            run_id, key = task["run_id"], f"{task['run_id']}.{task['step_id']}"
            await worker.client.request(f"$KV.checkpoints.{key}", b'{"page":3}')
            await worker.client.publish(f"stream.{key}", b"one chunk")
            await system.client.handle(run_id).signal("go", {"by": "ada"})
            subject = f"$JS.API.DIRECT.GET.KV_signals.$KV.signals.{run_id}.go"

            async def shown() -> bool:
                return (await worker.client.request(subject, b"")).data == b'{"by":"ada"}'

            await until(shown)

        await system.client.register(one_step(task=DURABLE_TYPE))
        worker.between = meanwhile
        run = await system.client.start("solo")
        assert await run.result(timeout="30s") == "done"
        ports = system.jetstream.ports
        held = await ports.checkpoints.load(run.run_id, "work")
        assert held is not None
        assert held.data == b'{"page":3}'
        assert [chunk.data for chunk in await ports.chunks.read(run.run_id, "work")] == [b"one chunk"]


@pytest.mark.parametrize("group", ["", "gpu"])
@pytest.mark.parametrize("extra", [{}, {"attempt": 0}, {"attempt": 3, "metadata": None, "dispatch_nonce": "n1"}])
async def test_our_worker_serves_tasks_that_were_published_by_hand(
    nats_server: EmbeddedServer, group: str, extra: dict[str, Any]
) -> None:
    seen: list[tuple[Any, int]] = []

    @handler(TYPE)
    async def work(value: Any, ctx: TaskContext) -> Any:
        seen.append((value, ctx.attempt))
        return {"ok": value}

    async with running(nats_server, engine=False) as system:
        system.start_worker([work], group=group)
        client = await nats.connect(nats_server.url, token=nats_server.token)  # pyright: ignore[reportUnknownMemberType]  # nats-py leaves its options without types
        task = {"task_id": "r1.s1", "run_id": "r1", "step_id": "s1", "input": {"a": 1}, **extra}
        subject = f"task.{TYPE}.{group}.r1" if group else f"task.{TYPE}.r1"
        headers = {"Nats-Msg-Id": "r1.s1.queued"}
        answer = await client.request(subject, json.dumps(task).encode(), headers=headers)
        assert json.loads(answer.data)["stream"] == "TASK_QUEUES"
        await client.close()
        entry = await asyncio.wait_for(system.jetstream.ports.log.wait_for("r1", (b'{"type":"step.completed"',)), 30)
        event = json.loads(entry.data)
        assert (event["run_id"], event["step_id"], event["payload"]) == ("r1", "s1", {"ok": {"a": 1}})
        assert event.get("attempt_number", 0) == extra.get("attempt", 0)
        assert seen == [({"a": 1}, extra.get("attempt") or 1)]


def test_the_name_of_a_consumer_is_made_as_the_description_says() -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    assert f"`orders.charge` is served by `{durable_name('orders.charge')}`" in page
    assert durable_name("charge") == "workers-charge"
    assert durable_name("charge", "gpu") == "workers-charge-gpu"


def test_the_description_names_every_member_of_a_task_and_everything_a_worker_says() -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    said = [event_type_of(kind) for kind in (*get_args(Result), *get_args(Sign))]
    assert [name for name in (*Task.__struct_fields__, *said) if f"`{name}`" not in page] == []


def event_type_of(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)
