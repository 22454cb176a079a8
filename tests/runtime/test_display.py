"""What the gates hold, as people see it with the `nats` tool."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.model.instant import parse_rfc3339
from dagnats.model.run import Run
from dagnats.runtime.core.gate.fold import Gates, Tally
from dagnats.runtime.display import Display, appointments_of, lines_of
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.link import Link
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import Entry
from dagnats.runtime.schedule import MOST, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.runtime.memory.link import Call


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


def limited() -> Workflow[Any, Any]:
    """A run at a time of each region; one task at a time, one a minute."""
    workflow = Workflow("limited")
    workflow.with_singleton("cancel", key="region")
    workflow.with_concurrency(max_runs=2)
    work = workflow.task("work", "display.work").with_task_concurrency(1)
    work.with_keyed_rate_limit("region", 1, "1m")
    return workflow


class Plant:
    """A server in memory, and an engine that can be killed."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.client = AsyncClient(self.server.connect())

    def engine(self) -> Process:
        process = Process(virtual_loop(), "engine")
        memory = process.run(self.server.connect)
        process.spawn(Engine(memory.ports, memory.feeds).run())
        return process

    async def start(self, *regions: str) -> None:
        for region in regions:
            await self.client.start("limited", {"region": region}, run_id=f"r-{region.split()[0]}")
        await asyncio.sleep(3)

    @property
    def shown(self) -> dict[str, Any]:
        return {f"{bucket}/{key}": json.loads(data) for (bucket, key), data in sorted(self.server.board.items())}


def test_what_the_gates_hold_is_shown_and_goes_when_they_hold_nothing() -> None:
    async def body() -> None:
        plant = Plant()
        plant.engine()
        await plant.client.register(limited())
        assert plant.shown == {}
        await plant.start("eu", "us", "asia")
        full_at = plant.shown["rate_limits/display.work.eu"].pop("full_at")
        left_s = (parse_rfc3339(full_at) - plant.server.clock.now_ns()) / 1e9
        assert 50 < left_s <= 60
        assert plant.shown == {
            "concurrency_runs/workflow.limited": {"active": 2, "waiting": 1},
            "concurrency_tasks/task.display.work": {"in_flight": 1, "waiting": 1},
            "rate_limits/display.work.eu": {"full_at": full_at},
            "singleton_locks/limited.asia": {"run_id": "r-asia"},
            "singleton_locks/limited.eu": {"run_id": "r-eu"},
            "singleton_locks/limited.us": {"run_id": "r-us"},
        }
        for region in ("asia", "us", "eu"):
            await plant.client.handle(f"r-{region}").cancel()
        await asyncio.sleep(3)
        assert set(plant.shown) == {"rate_limits/display.work.eu"}

    run(body())


def test_what_an_engine_that_died_had_shown_is_put_right_by_the_next() -> None:
    async def body() -> None:
        plant = Plant()
        engine = plant.engine()
        await plant.client.register(limited())
        await plant.start("eu", "us")
        right = plant.shown
        engine.kill()
        plant.server.board["singleton_locks", "gone"] = b'{"run_id":"long-ago"}'
        plant.server.board["concurrency_tasks", "task.display.work"] = b'{"in_flight":9,"waiting":9}'
        del plant.server.board["concurrency_runs", "workflow.limited"]
        plant.engine()
        await asyncio.sleep(20)
        assert plant.shown == right

    run(body())


class Counting(Link):
    """Knows what was asked; brings nothing to the server while it is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.is_cut = False

    def carry(self, call: Call[Any], arrive: Callable[[], None]) -> None:
        self.asked.append(call.kind)
        if not self.is_cut:
            arrive()


def test_only_what_differs_is_written_and_what_could_not_be_is_written_later() -> None:
    async def body() -> None:
        server, link, decided = MemoryServer(), Counting(), 1
        server.board["singleton_locks", "old"] = b"{}"
        ports = server.connect(link).ports

        def display() -> Display:
            return Display(ports.board, Gates(), Schedule(), ports.log, check=lambda: None, decided=lambda: decided)

        keeping = asyncio.create_task(display().keep())
        await asyncio.sleep(10)
        assert link.asked == ["board.read", "board.drop"]
        decided = 2
        await asyncio.sleep(10)
        assert len(link.asked) == 2, "nothing differs"
        keeping.cancel()
        server.board["singleton_locks", "other"] = b"{}"
        link.is_cut = True
        keeping = asyncio.create_task(display().keep())
        await asyncio.sleep(10)
        assert server.board
        link.is_cut = False
        await asyncio.sleep(10)
        assert not server.board
        keeping.cancel()

    run(body())


def test_a_value_that_no_key_can_have_is_shown_under_another() -> None:
    tally = Tally([], [(("order", "a b"), 1, 0)], [("mail/ü", 0), ("mail", 0)], [("order/", "r1")])
    keys = [place for place, _ in lines_of(tally)]
    assert keys[0][1].startswith("workflow.order.a-b-")
    assert keys[1][1].startswith("mail.--")
    assert keys[2:] == [("rate_limits", "mail._global"), ("singleton_locks", "order")]
    assert all(key.isascii() and " " not in key for _, key in keys)


def test_runs_that_are_to_begin_later_are_shown_until_they_begin_or_are_cancelled() -> None:
    async def body() -> None:
        plant = Plant()
        engine = plant.engine()
        workflow = Workflow("report")
        workflow.task("work", "display.report")
        await plant.client.register(workflow)
        later_ns = plant.server.clock.now_ns() + 100 * 1_000_000_000
        for run_id, minutes in (("soon", 1), ("later", 2), ("never", 3), ("tomorrow", 1440)):
            await plant.client.start("report", run_id=run_id, at=timedelta(minutes=minutes))
        await plant.client.start("report", run_id="now")
        await asyncio.sleep(3)
        soon = plant.shown["scheduled_runs/soon"]
        assert abs(parse_rfc3339(soon["run_at"]) - parse_rfc3339(soon["created_at"]) - 60e9) < 1e9
        assert (soon["run_id"], soon["workflow_id"], soon["status"]) == ("soon", "report", "scheduled")
        assert set(plant.shown) == {f"scheduled_runs/{each}" for each in ("soon", "later", "never", "tomorrow")}
        await plant.client.handle("never").cancel()
        await asyncio.sleep(65)
        assert set(plant.shown) == {"scheduled_runs/later", "scheduled_runs/tomorrow"}
        assert parse_rfc3339(plant.shown["scheduled_runs/later"]["run_at"]) > later_ns
        engine.kill()
        await plant.client.start("report", run_id="new", at=timedelta(days=1))
        for gone in ("unknown", "now"):
            plant.server.board["scheduled_runs", gone] = b"{}"
        plant.engine()
        await asyncio.sleep(20)
        assert set(plant.shown) == {f"scheduled_runs/{each}" for each in ("later", "tomorrow", "new")}
        await asyncio.sleep(60)
        assert set(plant.shown) == {"scheduled_runs/tomorrow", "scheduled_runs/new"}
        for run_id in ("tomorrow", "new"):
            await plant.client.handle(run_id).cancel()
        await asyncio.sleep(3)
        assert plant.shown == {}

    run(body())


def test_of_very_many_runs_that_begin_later_some_are_shown() -> None:
    schedule = Schedule()
    for n in range(MOST + 1):
        schedule.note(Run(run_id=f"r{n}", workflow_id="w", run_at_ns=n + 1))
    assert len(list(appointments_of(schedule))) == MOST
    schedule.note(Run(run_id="r0", workflow_id="w", run_at_ns=0))
    schedule.note(Run(run_id="r1", workflow_id="w", run_at_ns=5, status="cancelled"))
    schedule.note(Run(run_id="other", workflow_id="w", run_at_ns=7))
    assert {each.run_id for each in schedule} == {f"r{n}" for n in range(2, MOST)} | {"other"}


@pytest.mark.parametrize("data", [b"no event", b'{"type":"workflow.completed","run_id":"r","payload":{}}'])
def test_what_is_no_start_of_a_run_is_not_shown_on(data: bytes) -> None:
    schedule = Schedule()
    schedule.adopt(Entry(1, 0, "r", data))
    assert list(schedule) == []
