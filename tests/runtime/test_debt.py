"""What ended runs owe to others, when the log lost its tail and is folded again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.model.event import (
    Failure,
    Outcome,
    StepFailed,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    decode_event,
    encode_event,
    event_type,
)
from dagnats.model.json import encode
from dagnats.model.removal import RETENTION, Removal, encode_removal
from dagnats.runtime.core.child import child_id
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.position import Position
from dagnats.runtime.together import cancelled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from dagnats.model.event import AnyEvent

HOUR_S = 3600.0


def told(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story)


class Site:
    """A server in memory whose engines come and go."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.connection = self.server.connect()
        self.ports = self.connection.ports
        self.client = AsyncClient(self.connection)

    @asynccontextmanager
    async def engine(self) -> AsyncGenerator[None]:
        """An engine, until everything has come to rest."""
        own = self.server.connect()
        leading = asyncio.create_task(Engine(own.ports, own.feeds, keep=None).run(alone=True))
        yield
        await asyncio.sleep(30)
        await cancelled([leading])

    async def fold_anew(self) -> None:
        """An engine that has to fold the log again from its beginning."""
        cell = await self.ports.position.read()
        await self.ports.position.write(encode(Position(anew=True)), revision=cell.revision if cell else 0)
        async with self.engine():
            pass

    async def say(self, *events: AnyEvent) -> None:
        for event in events:
            await self.ports.log.append(event.run_id, encode_event(event), id=f"{event.run_id}.{event_type(event)}")

    def lose(self, run_id: str, *kinds: str) -> None:
        """Lose the last of a run's events, which are of these kinds; none: all of them."""
        messages = self.server.history.of(f"history.{run_id}")
        lost = messages[-len(kinds) :] if kinds else messages
        assert not kinds or tuple(event_type(decode_event(message.data)) for message in lost) == kinds
        for message in lost:
            self.server.history.remove(message.seq)

    def kinds(self, run_id: str) -> list[str]:
        return [event_type(decode_event(message.data)) for message in self.server.history.of(f"history.{run_id}")]


def napping(name: str, hours: int) -> Workflow:
    workflow = Workflow(name)
    workflow.sleep("nap", f"{hours}h")
    return workflow


def above(*, detach: bool = False) -> Workflow:
    workflow = Workflow("above")
    workflow.sub_workflow("child", "below").with_detach(detach)
    return workflow


CHILD = child_id("r", "child", 1)


async def begun(site: Site, *workflows: Workflow) -> None:
    """A run `r` of the first one; all that follows from its start is done."""
    await site.client.register_all([workflow.build() for workflow in workflows])
    async with site.engine():
        await site.client.start(workflows[0].name, run_id="r")


def test_a_parent_hears_of_the_end_of_its_child_though_the_report_is_lost() -> None:
    async def story() -> None:
        site = Site()
        await begun(site, above(), napping("below", 1))
        async with site.engine():
            await site.say(WorkflowCompleted(run_id=CHILD))
        site.lose("r", "workflow.child.completed", "workflow.completed")
        await site.fold_anew()
        assert site.kinds("r")[-2:] == ["workflow.child.completed", "workflow.completed"]

    told(story())


def test_a_child_hears_of_the_end_of_its_parent_though_that_is_lost() -> None:
    async def story() -> None:
        site = Site()
        await begun(site, above(), napping("below", 1))
        async with site.engine():
            await site.say(WorkflowCancelled(run_id="r"))
        site.lose(CHILD, "workflow.cancelled")
        await site.fold_anew()
        assert site.kinds(CHILD)[-1] == "workflow.cancelled"

    told(story())


def test_the_child_of_a_run_that_has_ended_is_started_though_its_start_is_lost() -> None:
    async def story() -> None:
        site = Site()
        await begun(site, above(detach=True), napping("below", 1))
        site.lose(CHILD)
        await site.fold_anew()
        assert site.kinds(CHILD)[0] == "workflow.started"

    told(story())


def test_a_detached_child_that_was_removed_long_ago_is_not_started_again() -> None:
    async def story() -> None:
        site = Site()
        parent = above(detach=True)
        parent.sleep("nap", "10h")
        await begun(site, parent, napping("below", 1))
        await asyncio.sleep(2 * HOUR_S)
        site.lose(CHILD)  # as retention does, and it has forgotten that it did
        await site.client.start("below", run_id="later")
        await site.fold_anew()
        assert site.kinds("r")[-1] != "workflow.completed", "it is still under way"
        assert "workflow.started" not in site.kinds(CHILD)

    told(story())


def test_a_detached_child_whose_removal_is_in_the_log_is_not_started_again() -> None:
    async def story() -> None:
        site = Site()
        await begun(site, above(detach=True), napping("below", 1))
        site.lose(CHILD)
        said = encode_removal(Removal(timestamp="", runs=((CHILD, 99),)))
        await site.ports.log.append(RETENTION, said, id="said")
        await site.fold_anew()
        assert "workflow.started" not in site.kinds(CHILD)

    told(story())


def test_an_attached_child_that_was_removed_is_not_started_again_by_a_parent_under_way() -> None:
    async def story() -> None:
        site = Site()
        parent = above()
        parent.sleep("nap", "10h")
        await begun(site, parent, napping("below", 1))
        async with site.engine():
            await site.say(WorkflowCompleted(run_id=CHILD))
        site.lose(CHILD)
        await site.fold_anew()
        assert "workflow.started" not in site.kinds(CHILD)

    told(story())


async def failed(site: Site) -> None:
    workflow = Workflow("fails")
    workflow.task("work", "debt.work")
    await begun(site, workflow)
    failure = encode(Failure(error="boom", failure_type="non_retriable"))
    async with site.engine():
        await site.say(StepFailed(run_id="r", step_id="work", attempt_number=1, payload=failure))
    assert site.kinds("r")[-1] == "workflow.failed"


@pytest.mark.parametrize("late", [False, True])
def test_a_dead_letter_is_sent_again_only_when_it_may_have_been_lost(late: bool) -> None:
    async def story() -> None:
        site = Site()
        await failed(site)
        assert [message.subject for message in site.server.letters.fitting(">")] == ["dead.debt.work.r.work"]
        site.server.letters.purge(">")  # somebody has discarded it, or the disk did not get it
        site.server.letters.forget_ids()
        if late:
            await asyncio.sleep(2 * HOUR_S)
            await site.say(WorkflowFailed(run_id="later", payload=Outcome()))
        await site.fold_anew()
        assert len(site.server.letters) == (0 if late else 1)

    told(story())
