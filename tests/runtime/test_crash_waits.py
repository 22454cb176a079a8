"""The engine dies at every boundary in turn, between the writes that waits, children and cancelling events take."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import ConflictError, Workflow, handler
from dagnats.runtime.core.child import child_id
from dagnats.runtime.jetstream.resources import prepare
from dagnats.runtime.position import decode_position
from tests.runtime.test_crash import TERMINAL, engine, shape
from tests.support.mortal import Fate
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer


@handler("crash.echo")
async def echo(value: Any) -> Any:
    return value


async def emit(system: System, type: str, run_id: str) -> None:
    """Two events for the run: the first one counts."""
    for n in (1, 2):
        body = json.dumps({"run": run_id, "n": n}).encode()
        await system.jetstream.ports.events.publish(type, body, id=f"{type}.{run_id}.{n}")


def waiting() -> Workflow:
    wf = Workflow("crash-wait")
    wait = wf.wait_for_event("wait", "it.came", match=wf.event["run"] == wf.input["run"], timeout="60s", lookback="1m")
    return wf.task("after", echo).after(wait) and wf


def withdrawn() -> Workflow:
    wf = Workflow("crash-withdrawn")
    wf.sleep("nap", "1h")
    wf.cancel_on("it.is.off", match=wf.event["run"] == wf.input["run"])
    return wf


def family() -> list[Workflow]:
    small = Workflow("crash-small")
    small.task("work", echo)
    wf = Workflow("crash-parent")
    wf.sub_workflow("child", "crash-small")
    return [small, wf]


def cascade() -> list[Workflow]:
    small = Workflow("crash-nap")
    small.sleep("nap", "1h")
    wf = Workflow("crash-cascade")
    wf.sub_workflow("child", "crash-nap")
    return [small, wf]


async def nothing(system: System, run_id: str) -> None: ...


async def cancelled(system: System, run_id: str) -> None:
    """The parent is cancelled when its child is there: by the clock it could be over before that."""

    async def has_child() -> bool:
        return await system.jetstream.ports.log.first(child_id(run_id, "child", 1)) > 0

    await until(has_child, what="a child")
    with suppress(ConflictError):  # it was, before the death
        await system.client.handle(run_id).cancel("enough")


async def before(system: System, run_id: str) -> None:
    """The events come when nobody may be waiting yet."""
    await emit(system, "it.came", run_id)


async def listened(system: System, run_id: str) -> None:
    """Wait until somebody waits, or all is over."""

    async def waits() -> bool:
        over = (await system.client.handle(run_id).view()).ended_ns > 0
        return over or bool(await system.jetstream.ports.waiters.all())

    await until(waits, what="a waiter")


async def during(system: System, run_id: str) -> None:
    """The events come when the waiter is there."""
    await listened(system, run_id)
    await emit(system, "it.came", run_id)


async def off(system: System, run_id: str) -> None:
    await listened(system, run_id)
    await emit(system, "it.is.off", run_id)


_DECIDING = {"log.append", "position.write", "tasks.put"}  # the others are those of any run: see test_crash
_WAITS = {"waiters.put", "waiters.drop", "correlated.write"}
CASES: dict[str, tuple[list[Workflow], Callable[[System, str], Awaitable[None]], set[str]]] = {
    "looked back": ([waiting()], before, _WAITS),
    "matched": ([waiting()], during, _WAITS),
    "withdrawn": ([withdrawn()], off, _WAITS),
    "family": (family(), nothing, {"log.append_after"}),
    "cascade": (cascade(), cancelled, {"log.append_after"}),
}


async def offspring(system: System, run_id: str) -> Any:
    """How the run's child ended, if it has one."""
    child = child_id(run_id, "child", 1)
    if not await system.jetstream.ports.log.first(child):
        return None
    view = await system.client.handle(child).wait(timeout="20s")
    await once(system, child)
    return _without_ids(shape(view), run_id)


def _without_ids(shown: dict[str, Any], run_id: str) -> Any:
    text = json.dumps(shown).replace(run_id, "RUN")
    return json.loads(re.sub(r"\(\d+\)", "(EVENT)", text))


async def once(system: System, run_id: str) -> None:
    """Nothing is in the history twice that may be there once."""
    history = await system.client.handle(run_id).history()
    events = [event.type for event in history]
    assert sum(kind in TERMINAL for kind in events) == 1, events
    counted = Counter(events)
    assert counted["workflow.started"] == 1
    # The engine after a dead one may say a second event too, before it has heard that the first one counts.
    matches = [event.payload["n"] for event in history if event.type == "step.wait.matched"]
    assert matches in ([], [1], [1, 2]), events


async def forget(system: System) -> None:
    """As when a server has lost what was not on disk: the next engine folds everything again."""
    await system.jetstream.link.api("STREAM.PURGE.ENGINE", {"filter": "engine.position"})
    await system.jetstream.link.api("STREAM.PURGE.KV_event_waiters")


@pytest.mark.parametrize(
    ("case", "forgotten"), [*((case, False) for case in CASES), ("matched", True), ("family", True), ("cascade", True)]
)
async def test_an_engine_killed_at_any_boundary_loses_no_match_and_no_child(
    nats_server: EmbeddedServer, case: str, forgotten: bool
) -> None:
    workflows, then, writes = CASES[case]
    name = workflows[-1].name
    async with running(nats_server, engine=False) as system:
        await system.client.register_all([workflow.build() for workflow in workflows])
        system.start_worker([echo])
        clean = Fate()
        async with engine(system, clean):
            wanted = await outcome(system, name, "clean", then)
        assert {call.split(":")[0] for call in clean.passed} >= writes
        for at, boundary in enumerate(clean.boundaries(*writes, *_DECIDING)):
            run_id = f"killed-{at}"
            fate = Fate(boundary)
            async with engine(system, fate):
                finished = asyncio.create_task(outcome(system, name, run_id, then))
                died = asyncio.create_task(fate.died.wait())
                await asyncio.wait([finished, died], return_when=asyncio.FIRST_COMPLETED)
                for task in (finished, died):
                    task.cancel()
                await asyncio.gather(finished, died, return_exceptions=True)
            if forgotten:
                await forget(system)
            async with engine(system, Fate()):
                assert await outcome(system, name, run_id, then) == wanted, f"after a death at {boundary}"
                assert await system.jetstream.ports.waiters.all() == [], f"after a death at {boundary}"


async def outcome(system: System, name: str, run_id: str, then: Any) -> Any:
    """Start a run, unless it is there, and give its end with all that belongs to it."""
    await system.client.start(name, {"run": run_id}, run_id=run_id)
    await then(system, run_id)
    view = await system.client.handle(run_id).wait(timeout="20s")
    await once(system, run_id)

    async def free() -> bool:
        return not await system.jetstream.ports.waiters.all()

    await until(free, what="no waiters")
    return _without_ids(shape(view), run_id), await offspring(system, run_id)


async def test_an_outage_longer_than_the_server_remembers_ids_starts_and_tells_nobody_twice(
    nats_server: EmbeddedServer,
) -> None:
    window_s = 0.5
    async with running(nats_server, engine=False, prepared=False) as system:
        await prepare(system.jetstream.link, window_s=window_s)
        workflows = [*family(), waiting()]
        await system.client.register_all([workflow.build() for workflow in workflows])
        system.start_worker([echo])
        fate = Fate()
        async with engine(system, fate):
            await system.client.run("crash-small", "x")
            fate.hanging = {"position.write"}  # it acts, and nobody will know how far it was
            for at in range(5):
                await outcome(system, "crash-parent", f"parent-{at}", nothing)
            await outcome(system, "crash-wait", "wait-0", before)
        forgotten = time.monotonic() + window_s * 2

        async def long_ago() -> bool:
            return time.monotonic() > forgotten

        await until(long_ago)
        async with engine(system, Fate()):
            assert (await system.client.run("crash-parent", {"run": "x"})) == {"run": "x"}
        for at in range(5):
            await once(system, f"parent-{at}")
            kinds = Counter(event.type for event in await system.client.handle(f"parent-{at}").history())
            assert set(kinds.values()) == {1}, kinds
            await offspring(system, f"parent-{at}")
        await once(system, "wait-0")


async def test_the_events_are_not_done_with_before_their_matches_are_stored(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(waiting())
        system.start_worker([echo])
        fate = Fate()
        async with engine(system, fate):
            run = await system.client.start("crash-wait", {"run": "r"})
            await listened(system, run.run_id)
            fate.hanging = {"log.append"}
            passed = fate.passed["log.append:sent"]
            await emit(system, "it.came", "r")

            async def sent() -> bool:
                return fate.passed["log.append:sent"] > passed

            await until(sent)
            await asyncio.sleep(0.6)  # the position is stored more than twice in that time, when it moves
            cell = await system.jetstream.ports.correlated.read()
            assert cell is not None
            assert json.loads(cell.data).get("seq", 0) == 0
        async with engine(system, Fate()):
            assert await run.result(timeout="10s") == {"run": "r", "n": 1}


async def test_an_event_is_not_decided_before_its_waiter_is_stored(nats_server: EmbeddedServer) -> None:
    async with running(nats_server, engine=False) as system:
        await system.client.register(waiting())
        system.start_worker([echo])
        fate = Fate()
        fate.hanging = {"waiters.put"}
        async with engine(system, fate):
            run = await system.client.start("crash-wait", {"run": "r"})

            async def sent() -> bool:
                return fate.passed["waiters.put:sent"] > 0

            await until(sent)
            await asyncio.sleep(0.3)  # several times as long as positions wait
            cell = await system.jetstream.ports.position.read()
            position = decode_position(cell.data) if cell is not None else None
            assert position is None or position.anew or position.seq == 0
        async with engine(system, Fate()):
            await emit(system, "it.came", "r")
            assert await run.result(timeout="10s") == {"run": "r", "n": 1}
