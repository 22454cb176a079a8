"""`doctor`: each situation that it knows is made, and what is said of it read.

In memory, with a real engine; where it takes another machine, one port is that machine's. On a real server where the
server is what is wrong.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

import pytest

from dagnats import Abort, Workflow, handler
from dagnats.client import AsyncClient, connect
from dagnats.client.ailment import Ailment, Kind, unreachable
from dagnats.errors import RefusedError, UnavailableError
from dagnats.model.worker import WorkerEntry, encode_worker
from dagnats.runtime.api.app import Api
from dagnats.runtime.embedded import find_binary
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.memory.clock import MemoryClock
from dagnats.runtime.ports import JetStreamOff
from dagnats.runtime.telemetry.entry import LogEntry, encode_log
from tests.api.site import Caller
from tests.client.scene import TASK, Scene, Situations, one_step, played
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats.runtime.embedded import EmbeddedServer

SITUATIONS = Situations()
ON_A_SERVER = {
    "unreachable",
    "jetstream-off",
    "stream-missing",
    "stream-misconfigured",
    "consumer-missing",
    "sync-weaker",
}
"""Found below, on servers that are really so."""
Told = tuple[Ailment, tuple[str, ...]]


@handler("scene.aborts")
async def aborts(value: Any) -> Any:
    raise Abort("no such card")


@SITUATIONS.of("no-engine")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    scene.engine.kill()
    await asyncio.sleep(60)
    return await scene.ailment("no-engine"), ("no engine has renewed its lease for 6", "dagnats serve")


@SITUATIONS.of("engine-behind")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    scene.engine.freeze()
    await asyncio.gather(*(scene.ports.log.append("other-0001", b"{}", id=str(at)) for at in range(1_001)))
    return await scene.ailment("engine-behind"), ("1,001 events behind", "late")


@SITUATIONS.of("clock-skew")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    clock = MemoryClock()
    clock.jump(3_600_000_000_000)
    behind = AsyncClient(scene.server.connect(clock=clock))
    return await scene.ailment("clock-skew", client=behind), ("by this machine's clock 36", "the server's clock")


@SITUATIONS.of("timer-overdue")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    lost_ns = scene.server.clock.now_ns() - 90_000_000_000
    scene.server.timers.put("sleep.run-0001.1", b"%d" % lost_ns)  # a schedule that NATS has not fired
    return await scene.ailment("timer-overdue"), ("1 wake-ups have not been taken up, the oldest for 9", "queue repair")


@SITUATIONS.of("store-near-limit")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    scene.server.history.max_bytes = int(scene.server.history.bytes / 0.82)
    return await scene.ailment("store-near-limit"), ("(82%)", "dagnats clean --older-than=7d")


@SITUATIONS.of("store-full")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    scene.server.history.max_bytes = scene.server.history.bytes
    return await scene.ailment("store-full"), ("(100%)", "no run begins")


@SITUATIONS.of("queue-paused")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.client.register(one_step())
    await scene.client.pause_queue(TASK, by="ann")
    assert (await scene.ailment("queue-paused")).grade == "note"  # it holds nothing
    await scene.client.start("solo", run_id="run-0001")
    await until(lambda: scene.is_ill("queue-paused"))
    found = await scene.ailment("queue-paused", TASK)
    await scene.fix_all("queue-paused")
    return found, ("paused by ann, and 1 tasks wait", f"dagnats queue resume {TASK}")


@SITUATIONS.of("queue-full")
async def _(scene: Scene) -> Told:
    scene.lead(most_queued=2)
    await scene.client.register(one_step())
    for at in range(1, 3):
        await scene.client.start("solo", run_id=f"run-000{at}")
    await asyncio.sleep(2)  # now they are counted
    await scene.client.start("solo", run_id="run-0003")
    return await scene.ailment("queue-full"), ("takes no more than its 2 tasks; 1 wait in line", "dagnats worker")


@SITUATIONS.of("no-worker")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([aborts])
    await scene.handed_out(await scene.start(one_step(task="scene.abort")), "scene.abort")
    return await scene.ailment("no-worker"), (
        "1 tasks wait in queue scene.abort, and no worker serves it; workers serve 'scene.aborts'",
        "dagnats worker",
    )


@SITUATIONS.of("worker-stale")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.ports.directory.put("w9", encode_worker(WorkerEntry(worker_id="w9", task_types=(TASK,))))
    await scene.handed_out(await scene.start(one_step()))
    await asyncio.sleep(6)
    return await scene.ailment("worker-stale"), ("w9 should serve it, and nobody takes tasks from it", "dagnats worker")


@SITUATIONS.of("concurrency")
async def _(scene: Scene) -> Told:
    scene.lead()
    workflow = Workflow("solo")
    workflow.task("work", TASK).with_task_concurrency(1)
    await scene.handed_out(await scene.start(workflow))
    await scene.client.start("solo", run_id="run-0002")
    return await scene.ailment("concurrency"), ("are in flight (run-0001/work), and 1 wait", "--concurrency 2")


@SITUATIONS.of("workflow-paused")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.client.register(one_step())
    await scene.client.pause_workflow("solo", by="ann")
    await scene.client.start("solo", run_id="run-0001")
    await until(lambda: scene.is_ill("workflow-paused"))
    found = await scene.ailment("workflow-paused")
    await scene.fix_all("workflow-paused")
    return found, ("paused by ann, and 1 runs wait", "dagnats workflow resume solo")


@SITUATIONS.of("max-runs")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.handed_out(await scene.start(one_step().with_concurrency(max_runs=1)))
    await scene.client.start("solo", run_id="run-0002")
    return await scene.ailment("max-runs"), ("1 of at most 1 runs of solo go on (run-0001), and 1 wait", "--max-runs 2")


@SITUATIONS.of("dead-letters")
async def _(scene: Scene) -> Told:
    scene.lead()
    await scene.serve([aborts])
    run = await scene.start(one_step(task=aborts))
    await run.wait(timeout="1h")
    return await scene.ailment("dead-letters"), ("there are 1 dead letters (scene.aborts: 1)", "dagnats dlq list")


@SITUATIONS.of("telemetry-export")
async def _(scene: Scene) -> Told:
    """What an exporter says of a collector that does not answer; that it says so is tested with the exporter."""
    scene.lead()
    await scene.handed_out(await scene.start(one_step()))
    told = {"process": "serve-1", "export": "failing", "endpoint": "http://collector:4318/v1/logs"}
    said = LogEntry(severity="WARN", body="it answers 400", service_name="telemetry", attributes=dict(told))
    assert scene.ports.telemetry.put(said.subject, encode_log(said))
    return await scene.ailment("telemetry-export"), ("serve-1: it answers 400", "http://collector:4318/v1/logs")


@pytest.mark.parametrize("kind", SITUATIONS)
def test_a_situation_that_is_really_so_is_found_and_told(kind: str) -> None:
    found, words = played(SITUATIONS[kind])
    assert found.kind == kind
    said = "\n".join((found.seen, found.why, found.cure))
    assert [word for word in words if word not in said] == [], said


def test_whatever_can_be_found_of_the_whole_has_its_situation() -> None:
    assert SITUATIONS.keys() | ON_A_SERVER == set(get_args(Kind))
    assert not SITUATIONS.keys() & ON_A_SERVER


async def test_what_a_server_lacks_is_told_and_made(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        client, link = system.client, system.jetstream.link

        async def kinds() -> set[str]:
            return {f"{each.kind} {each.subject}".strip() for each in (await client.checkup(asked_sync="always")).found}

        async def is_well() -> bool:
            return await kinds() == {"sync-weaker"}

        await until(is_well, what="nothing but the policy, which nobody has set")

        async def is_missed() -> bool:
            """The engine makes it again, mostly after we have looked."""
            with suppress(RefusedError):
                await link.api("CONSUMER.DELETE.SLEEP_TIMERS.sleep-timer")
            return await kinds() == {"sync-weaker", "consumer-missing sleep-timer"}

        await until(is_missed)
        await system.stop_engine()  # it could not go on without the events
        await link.api("STREAM.DELETE.TELEMETRY")
        await link.api("STREAM.DELETE.EVENTS")
        await link.api("STREAM.CREATE.EVENTS", {"name": "EVENTS", "subjects": ["evt.>"], "storage": "memory"})
        assert {"stream-missing TELEMETRY", "stream-misconfigured EVENTS"} <= await kinds()
        await link.api("STREAM.DELETE.EVENTS")
        fixed = (await client.checkup(fix=True)).fixed
        assert {each.kind for each in fixed} == {"stream-missing"}
        assert not {"stream-missing TELEMETRY", "stream-missing EVENTS"} & await kinds()


async def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(UnavailableError) as caught:
        await connect("nats://127.0.0.1:9")
    found = unreachable(caught.value)
    assert (found.kind, found.cure) == ("unreachable", "dagnats serve")


async def test_a_server_that_stores_nothing_is_told(tmp_path: Path) -> None:
    ports = tmp_path / "ports"
    ports.mkdir()
    command = (str(find_binary()), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(ports))
    server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        file = ports / f"nats-server_{server.pid}.ports"

        async def is_up() -> bool:
            return file.exists() and bool(file.read_text())

        await until(is_up)
        url = json.loads(file.read_text())["nats"][0]
        async with await JetStream.connect(url) as jetstream:
            (found,) = (await AsyncClient(jetstream).checkup()).found
            answer = await Caller(Api(jetstream).app()).get("/health")
        assert (found.kind, found.grade) == ("jetstream-off", "wrong")
        with pytest.raises(JetStreamOff) as caught:
            await connect(url)
        assert (str(caught.value), caught.value.hint) == (found.seen, found.cure)
        assert "nats-server --jetstream" in found.cure
        assert unreachable(caught.value) == found
        assert (answer.status, answer.json["detail"]) == (503, f"{found.seen}; {found.cure}")
    finally:
        server.terminate()
        await server.wait()
