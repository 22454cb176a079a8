"""The engine dies at every boundary in turn, between folding, publishing, storing position and snapshot."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Abort, Compensation, Fixed, TaskContext, Workflow, handler
from dagnats.model.run import decode_run
from dagnats.runtime.engine import Engine
from dagnats.runtime.position import decode_position
from tests.support.mortal import Fate, Killed, MortalFeeds, mortal
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.client.view import RunView
    from dagnats.runtime.embedded import EmbeddedServer

TERMINAL = {"workflow.completed", "workflow.failed", "workflow.cancelled", "compensate.completed", "compensate.failed"}


@handler("crash.book")
async def book(order: str) -> str:
    return order


@handler("crash.pay")
async def pay(order: str, ctx: TaskContext) -> str:
    if ctx.attempt == 1:
        raise RuntimeError("busy")
    return order


@handler("crash.send")
async def send(order: str) -> str:
    if order == "lost":
        raise Abort("no such street")
    return order


@handler("crash.unbook")
async def unbook(undo: Compensation[str]) -> None: ...


@handler("crash.late")
async def late(order: str, ctx: TaskContext) -> str:
    if ctx.attempt == 1:
        await asyncio.sleep(60)
    return order


saga = Workflow("crash-saga", timeout="60s")
_book = saga.task("book", book).with_compensation("unbook")
_pay = saga.task("pay", pay).after(_book).with_retry(Fixed(max_attempts=2, initial_delay="20ms"))
saga.task("send", send).after(_pay)
saga.task("unbook", unbook)

fan = Workflow("crash-fan")
_left, _right = fan.task("left", book), fan.task("right", pay).with_retry(Fixed(max_attempts=1, initial_delay="20ms"))


@fan.step(after=[_left, _right])
async def join(both: dict[str, str]) -> int:
    return len(both)


slow = Workflow("crash-slow")
slow.task("late", late).with_timeout("100ms").with_retry(Fixed(max_attempts=1, initial_delay="20ms"))

CASES = {"undone": (saga, "lost"), "fan": (fan, "x"), "timeout": (slow, "x")}


def shape(view: RunView) -> dict[str, Any]:
    """A run's end, without what depends on the time of day."""
    return {
        "status": view.status,
        "output": view.output,
        "error": view.error,
        "steps": [(step.id, step.status, step.attempts, step.output) for step in view.steps],
    }


@asynccontextmanager
async def engine(system: System, fate: Fate) -> AsyncGenerator[asyncio.Task[None]]:
    """An engine with a fate; gone without a trace at the end."""
    ports = mortal(system.jetstream.ports, fate)
    mortals = Engine(ports, MortalFeeds(system.jetstream.feeds, fate), save_after=timedelta(0))
    task = asyncio.create_task(mortals.run(alone=True))
    try:
        yield task
    finally:
        fate.kill()
        task.cancel()
        with suppress(Killed, asyncio.CancelledError):
            await task


async def ended(system: System, run_id: str) -> RunView:
    """The run's end, once its snapshot and the position are stored as well."""
    view = await system.client.handle(run_id).wait(timeout="20s")

    async def stored() -> bool:
        snapshot = await system.jetstream.ports.snapshots.load(run_id)
        cell = await system.jetstream.ports.position.read()
        position = decode_position(cell.data) if cell is not None else None
        if snapshot is None or position is None:
            return False
        return decode_run(snapshot.data).ended and position.seq >= view.seq and position.low > view.seq

    await until(stored, what=f"the snapshot of {run_id}")
    return view


@pytest.mark.parametrize("case", CASES)
async def test_an_engine_killed_at_any_boundary_leaves_the_same_end(nats_server: EmbeddedServer, case: str) -> None:
    workflow, order = CASES[case]
    async with running(nats_server, engine=False) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        clean = Fate()
        async with engine(system, clean):
            await system.client.start(workflow, order, run_id="clean")
            wanted = shape(await ended(system, "clean"))
        boundaries = clean.boundaries()
        assert {name.split(":")[0] for name, _ in boundaries} >= {"tasks.put", "position.write", "snapshots.save"}

        deaths = 0
        for at, boundary in enumerate(boundaries):
            run_id = f"killed-{at}"
            fate = Fate(boundary)
            async with engine(system, fate):
                await system.client.start(workflow, order, run_id=run_id)
                finished = asyncio.create_task(ended(system, run_id))
                died = asyncio.create_task(fate.died.wait())
                await asyncio.wait([finished, died], return_when=asyncio.FIRST_COMPLETED)
                finished.cancel()
                died.cancel()
                await asyncio.gather(finished, died, return_exceptions=True)
                deaths += fate.died.is_set()
            async with engine(system, Fate()):
                view = await ended(system, run_id)
            assert shape(view) == wanted, f"after a death at {boundary}"
            events = [event.type for event in await system.client.handle(run_id).history()]
            assert sum(kind in TERMINAL for kind in events) == 1, f"after a death at {boundary}: {events}"
            snapshot = await system.jetstream.ports.snapshots.load(run_id)
            assert snapshot is not None
            assert decode_run(snapshot.data).seq == view.seq
        assert deaths >= len(boundaries) * 0.8, "positions and snapshots come as time goes, the rest every time"


async def test_a_snapshot_never_overtakes_its_actions(nats_server: EmbeddedServer) -> None:
    """With tasks that are never acknowledged as stored, nothing of the run may be saved."""
    async with running(nats_server, engine=False) as system:
        await system.client.register(fan)
        fate = Fate()
        fate.hanging = {"tasks.put"}
        async with engine(system, fate):
            await system.client.start(fan, "x", run_id="stuck")

            async def sent() -> bool:
                return fate.passed["tasks.put:sent"] == 2

            await until(sent)
            other = await system.client.start(fan, "x", run_id="other")
            await asyncio.sleep(0.3)  # three times as long as snapshots and positions wait
            assert await system.jetstream.ports.snapshots.load("stuck") is None
            cell = await system.jetstream.ports.position.read()
            position = decode_position(cell.data) if cell is not None else None
            assert position is None or position.anew or position.seq == 0
        system.start_worker([fan])
        async with engine(system, Fate()):
            for run in (system.client.handle("stuck"), other):
                assert await run.result(int, timeout="10s") == 2


async def test_a_run_is_not_seen_as_failed_before_its_task_is_in_the_dead_letters(nats_server: EmbeddedServer) -> None:
    alone = Workflow("crash-alone")
    alone.task("send", send)
    async with running(nats_server, engine=False) as system:
        await system.client.register(alone)
        system.start_worker([alone])
        fate = Fate()
        fate.hanging = {"dead_letters.put"}
        async with engine(system, fate):
            run = await system.client.start(alone, "lost")

            async def sent() -> bool:
                return fate.passed["dead_letters.put:sent"] == 1

            await until(sent)
            await asyncio.sleep(0.3)  # an end that did not wait would be there by then
            assert [event.type for event in await run.history()] == ["workflow.started", "step.failed"]
        async with engine(system, Fate()):
            assert (await run.wait(timeout="10s")).status == "failed"
            (letter,) = await system.client.dead_letters(run.run_id)
            assert letter.step_id == "send"
