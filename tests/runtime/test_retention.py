"""Old runs leave, whole, and nothing else does."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import NotFoundError, Workflow, handler
from dagnats.model.audit import AUDIT, Audited, encode_audited
from dagnats.model.event import CORE_VERSION, Start, StepCompleted, WorkflowStarted, encode_event
from dagnats.model.ops import TICKS, GateTicked, encode_fact
from dagnats.model.removal import RETENTION, Removal, decode_removal, encode_removal
from dagnats.model.waiter import Waiter, decode_waiter, encode_waiter
from dagnats.runtime import retention
from dagnats.runtime.engine import Engine
from dagnats.runtime.ports import OwnTask
from dagnats.runtime.position import decode_position
from dagnats.runtime.retention import Keep, Retention
from tests.support import mortal as mortality
from tests.support.mortal import Fate, Killed, mortal
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.ports import Ports

DAY_NS = 24 * 3600 * 1_000_000_000
LARGE = 300 * 1024


@handler("old.make")
async def make(size: int) -> str:
    return "x" * size


@handler("old.wait")
async def wait(_: int) -> None:
    await asyncio.Event().wait()


@handler("old.mend")
async def mend(_: object) -> None: ...


plain = Workflow("old-plain").with_sticky("soft")
plain.task("made", make).with_on_failure("mended")
plain.task("mended", mend)
lasting = Workflow("old-lasting")
lasting.task("waited", wait)


def retaining(ports: Ports, *, days: float = 31, keep: Keep | None = None) -> Retention:
    """Retention as it will be so many days from now."""
    return Retention(
        ports,
        keep or Keep(),
        check=lambda: None,
        now_ns=lambda: time.time_ns() + int(days * DAY_NS),
    )


async def settled(system: System) -> None:
    """Wait until everything in the log is decided, and every run that is over has its snapshot."""

    async def has_settled() -> bool:
        stored = await system.jetstream.ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        return position is not None and position.low > await system.jetstream.ports.log.last()

    await until(has_settled, what="snapshots of everything")


async def over(system: System, run_id: str, size: int = LARGE) -> None:
    """A run that has ended, with a snapshot."""
    await system.client.run(plain, size, run_id=run_id)
    await settled(system)


async def left_of(system: System, run_id: str) -> set[str]:
    """Where a run still has something."""
    ports = system.jetstream.ports
    found = {
        "history": bool(await ports.log.first(run_id)),
        "snapshot": await ports.snapshots.load(run_id) is not None,
        "blobs": run_id in await ports.blobs.run_ids(),
        "tasks": bool(await ports.tasks.waiting("old.mend", run_id)),
        "signals": await ports.signals.newest(run_id, "go") is not None,
        "checkpoints": await ports.checkpoints.load(run_id, "made") is not None,
        "pulses": bool(await ports.pulses.of(run_id)),
        "chunks": bool(await ports.chunks.read(run_id, "made")),
        "waiters": any(decode_waiter(data).run_id == run_id for data in await ports.waiters.all()),
    }
    return {name for name, there in found.items() if there}


async def ids_forgotten(system: System) -> None:
    """Wait until the server no longer knows the ids of what was sent before."""
    link, ports, windows = system.jetstream.link, system.jetstream.ports, count(100_000_000, 1_000_000)
    await ports.log.append("_ops.probe", b"", id="probe")
    await ports.tasks.put("probe", "probe", b"", id="probe")

    async def are_forgotten() -> bool:
        # Again and again: a server that is just forgetting something sets its clock by the window it had before.
        for stream in ("WORKFLOW_HISTORY", "TASK_QUEUES"):
            config = (await link.api(f"STREAM.INFO.{stream}"))["config"]
            await link.api(f"STREAM.UPDATE.{stream}", {**config, "duplicate_window": next(windows)})
        event = await ports.log.append("_ops.probe", b"", id="probe")
        task = await ports.tasks.put("probe", "probe", b"", id="probe")
        return not (event.duplicate or task.duplicate)

    await until(are_forgotten, what="the server to forget ids")


async def serving(system: System) -> None:
    for workflow in (plain, lasting):
        await system.client.register(workflow)
    system.start_worker([make, wait])


async def test_a_run_that_ended_long_ago_leaves_with_everything_it_had(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        ports = system.jetstream.ports
        await over(system, "old")
        await ports.tasks.put("old.mend", "old", b"left behind", id="x")
        await ports.tasks.put_own(OwnTask("gone", "old.mend", "old", "mended", 1), b"left behind", id="x")
        await ports.signals.put("old", "go", b"1")
        await ports.checkpoints.save("old", "made", b"1", attempt=1, revision=0)
        await ports.pulses.put("old", "made", b"1")
        await ports.chunks.append("old", "made", b"1", attempt=1)
        for run_id in ("old", "older"):
            waiter = Waiter(id=f"{run_id}.1.0", run_id=run_id, step_id="s", attempt=1, event="e")
            await ports.waiters.put(run_id, "s", 1, encode_waiter(waiter))
        everything = await left_of(system, "old")
        assert len(everything) == 9
        assert await retaining(ports, days=29).sweep() == 0
        assert await retaining(ports, days=31).sweep() == 1
        assert await left_of(system, "old") == set()
        assert await left_of(system, "older") == {"waiters"}
        with pytest.raises(NotFoundError):
            await system.client.handle("old").view()
        entry = await ports.log.newest(RETENTION)
        assert entry is not None
        assert [run_id for run_id, _ in decode_removal(entry.data).runs] == ["old"]
        assert await system.jetstream.ports.dead_letters.find(">") == []


async def test_a_run_that_is_under_way_stays_however_old_it_is(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        run = await system.client.start(lasting, 1)
        parked = await system.client.start(plain, 1, run_id="parked-by-nobody")
        await parked.result(timeout="10s")
        start = Start(workflow="old-plain", def_hash="0" * 64, core_version=CORE_VERSION + 1)
        newer = encode_event(WorkflowStarted(run_id="newer", payload=start))
        await system.jetstream.ports.log.append("newer", newer, id="newer")

        async def begun() -> bool:
            return (await run.view()).steps[0].status == "running"

        await until(begun)
        await settled(system)
        sweeper = retaining(system.jetstream.ports, days=400)
        assert await sweeper.sweep() == 1
        assert await sweeper.sweep() == 0
        assert await left_of(system, run.run_id) >= {"history"}
        await run.cancel()
        await run.wait(timeout="10s")
        await settled(system)
        assert await sweeper.sweep() == 1  # it was met before, and stayed
        assert await left_of(system, run.run_id) == set()


async def test_a_run_for_a_newer_core_stays(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        workflow = await system.client.workflow("old-plain")
        start = Start(workflow="old-plain", def_hash=workflow.identity, core_version=CORE_VERSION + 1)
        newer = encode_event(WorkflowStarted(run_id="newer", payload=start))
        await system.jetstream.ports.log.append("newer", newer, id="newer")
        await over(system, "old")
        assert await retaining(system.jetstream.ports).sweep() == 1
        assert await left_of(system, "newer") == {"history"}


async def test_a_run_whose_snapshot_is_gone_is_judged_by_its_history(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        await over(system, "old")
        await system.jetstream.ports.snapshots.purge()
        assert await retaining(system.jetstream.ports).sweep() == 1
        assert await left_of(system, "old") == set()


async def test_of_too_many_runs_those_that_started_first_leave(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        live = await system.client.start(lasting, 1)
        for number in range(5):
            await over(system, f"r{number}", 1)
        few = Keep(age=None, runs=2)
        assert await retaining(system.jetstream.ports, keep=few).sweep() == 3
        left = sorted(await system.jetstream.ports.log.run_ids())
        assert left == sorted(["r3", "r4", live.run_id])
        assert await retaining(system.jetstream.ports, keep=Keep(age=None, runs=None)).sweep() == 0


async def test_an_event_that_no_snapshot_covers_yet_keeps_its_run(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        await over(system, "old")
        await system.stop_engine()
        late = encode_event(StepCompleted(run_id="old", step_id="made", attempt_number=7))
        await system.jetstream.ports.log.append("old", late, id="late")
        assert await retaining(system.jetstream.ports).sweep() == 0
        system.start_engine()
        await settled(system)
        assert await retaining(system.jetstream.ports).sweep() == 1


async def test_a_late_result_of_a_removed_run_is_ignored_and_swept(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        ports = system.jetstream.ports
        await over(system, "old")
        await retaining(ports).sweep()
        late = encode_event(StepCompleted(run_id="old", step_id="made", attempt_number=1))
        await ports.log.append("old", late, id="late")
        await over(system, "next", 1)
        assert await retaining(ports, days=0.5, keep=Keep(age=timedelta(0))).sweep() == 1  # not within a day
        assert await left_of(system, "old") == {"history"}
        assert await retaining(ports).sweep() == 1
        assert await left_of(system, "old") == set()
        assert await system.jetstream.ports.dead_letters.find(">") == []


async def test_what_was_announced_is_finished_and_a_run_that_took_the_name_since_is_not_touched(
    nats_server: EmbeddedServer,
) -> None:
    async with running(nats_server) as system:
        await serving(system)
        ports = system.jetstream.ports
        await over(system, "old")
        await retaining(ports).sweep()
        await ids_forgotten(system)
        await over(system, "old")  # the name is used again
        await retaining(ports, days=0).sweep()
        assert await left_of(system, "old") == {"history", "snapshot", "blobs"}
        said = encode_removal(Removal(timestamp="", runs=(("old", await ports.log.last()), ("unknown", 3))))
        await ports.log.append(RETENTION, said, id="said")
        await retaining(ports, days=0).sweep()
        assert await left_of(system, "old") == set()


async def test_a_removal_killed_at_any_boundary_is_completed_by_the_next(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = {
        "log": {"append", "remove"},
        "tasks": {"drop"},
        **{name: {"remove"} for name in ("snapshots", "blobs", "signals", "waiters")},
    }
    monkeypatch.setattr(mortality, "WRITES", removals)
    async with running(nats_server) as system:
        await serving(system)
        ports = system.jetstream.ports
        live = await system.client.start(lasting, 1)
        clean = Fate()
        await over(system, "clean")
        assert await retaining(mortal(ports, clean)).sweep() == 1
        boundaries = [(name, at) for name, count in clean.passed.items() for at in range(1, count + 1)]
        assert len(boundaries) == 16
        for number, boundary in enumerate(boundaries):
            run_id = f"r{number}"
            await over(system, run_id)
            with pytest.raises(Killed):
                await retaining(mortal(ports, Fate(boundary))).sweep()
            await retaining(ports).sweep()
            assert await left_of(system, run_id) == set(), boundary
        assert await left_of(system, live.run_id) >= {"history"}


async def test_announcements_leave_when_they_are_old_except_the_newest(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        ports = system.jetstream.ports
        sweeper = retaining(ports)
        for run_id in ("a", "b", "c"):
            await over(system, run_id, 1)
            await sweeper.sweep()
        await over(system, "d", 1)
        await sweeper.sweep()
        assert len(await ports.log.read(RETENTION)) == 1


@pytest.mark.parametrize(("days", "kept"), [(89, 1), (91, 0)])
async def test_what_runs_have_asked_of_the_control_plane_is_kept_for_90_days(
    nats_server: EmbeddedServer, days: int, kept: int
) -> None:
    async with running(nats_server, engine=False) as system:
        ports = system.jetstream.ports
        await ports.log.append(AUDIT, encode_audited(Audited(action="budget", granted=True)), id="audited")
        await ports.definitions.set_newest("agent.gone.made", b"of a later version", revision=0)
        sweeper = retaining(ports, days=days)
        await sweeper.collect()
        assert len(await ports.log.read(AUDIT)) == kept


async def test_histories_that_are_dagnats_own_are_no_runs(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        for name in ("_ops.retention", "_gates.tasks", "_ops"):
            await system.jetstream.ports.log.append(name, b"not a run's event", id=name)
        assert await system.client.run(plain, 1) == "x"
        await settled(system)
        assert await system.jetstream.ports.dead_letters.find(">") == []
        assert await retaining(system.jetstream.ports, days=0).sweep() == 0  # what it cannot read it leaves


async def test_payloads_of_a_start_that_never_came_leave_after_a_day(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        ports = system.jetstream.ports
        await ports.blobs.put("never", "0" * 64, b"x")
        await over(system, "old")
        await retaining(ports, days=0.9).sweep()
        assert await ports.blobs.run_ids() == ["never", "old"]
        await retaining(ports, days=1.1).sweep()
        assert await ports.blobs.run_ids() == ["old"]


async def test_the_leader_removes_what_it_is_told_not_to_keep_and_the_next_one_goes_on(
    nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.05)
    async with running(nats_server, engine=False) as system:
        await serving(system)

        async def lead() -> Any:
            engine = Engine(system.jetstream.ports, system.jetstream.feeds, keep=Keep(age=timedelta(0)))
            return asyncio.create_task(engine.run())

        async def none_left() -> bool:
            return not await system.jetstream.ports.log.run_ids()

        for _ in range(2):
            engine = await lead()
            assert await system.client.run(plain, LARGE) == "x" * LARGE
            await until(none_left, what="the run to leave")
            engine.cancel()
            await asyncio.gather(engine, return_exceptions=True)


async def test_only_runs_are_counted_as_runs(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        for name in ("_ops.retention", TICKS, "_ops.task.a.b"):
            await system.jetstream.ports.log.append(name, b"", id=name)
        assert await system.client.run(plain, 1) == "x"
        assert (await system.jetstream.ports.server.overview()).runs == 1


async def test_ticks_of_the_gates_leave_when_they_are_decided(nats_server: EmbeddedServer) -> None:
    async with running(nats_server) as system:
        await serving(system)
        log = system.jetstream.ports.log
        tick = encode_fact(GateTicked(due_ns=1, timestamp=""))
        for at in range(3):
            await log.append(TICKS, tick, id=f"tick-{at}")
        await over(system, "run", 1)
        await retaining(system.jetstream.ports, days=29).sweep()
        assert await log.first(TICKS) == 0
        assert await log.first("run") > 0
