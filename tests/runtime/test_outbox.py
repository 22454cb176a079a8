"""The way out of the engine: what it concludes from the server's answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from dagnats.model.event import (
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    Start,
    TimerFired,
    WorkflowStarted,
    decode_event,
    encode_event,
)
from dagnats.model.pointer import Pointer
from dagnats.runtime.core.action import AppendEvent, StartChild
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.outbox import Outbox
from dagnats.runtime.pointer import Carriers
from dagnats.runtime.ports import LogCut
from dagnats.runtime.together import Errands

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dagnats.runtime.ports import Ports

OUTPUT = msgspec.Raw(Pointer(3, "output", 5_000).data)
TOLD = AppendEvent(
    id="child.3.0",
    run_id="parent",
    event=ChildCompleted(
        run_id="parent",
        step_id="s",
        attempt_number=1,
        payload=ChildOutcome(child_run_id="child", status="completed", output=OUTPUT),
    ),
)
BEGUN = StartChild(
    id="child.3.0",
    run_id="child",
    step_id="s",
    attempt=1,
    start=WorkflowStarted(run_id="grandchild", payload=Start(workflow="w", def_hash="", input=OUTPUT)),
    detached=False,
)


class Queue:
    """A task queue that ends at `end`, in a world that has moved on by the time it says so."""

    def __init__(self, end: int) -> None:
        self.tasks = self
        self.end = end
        self.outbox = outbox(self)

    async def last(self) -> int:
        self.outbox.newest_task += 1
        return self.end


def outbox(ports: object, *, errands: Errands | None = None, carriers: Carriers | None = None) -> Outbox:
    nothing = cast("Any", None)
    return Outbox(
        cast("Any", ports),
        nothing,
        aside=nothing,
        errands=errands or nothing,
        correlator=nothing,
        check=lambda: None,
        window_s=30,
        carriers=carriers or nothing,
    )


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


async def written(*run_ids: str) -> Ports:
    """A server whose log has an event for each of these runs."""
    ports = MemoryServer().connect().ports
    for at, run_id in enumerate(run_ids):
        await ports.log.append(run_id, encode_event(TimerFired(run_id=run_id, due_ns=1)), id=f"{at}")
    return ports


async def act(ports: Ports, action: AppendEvent | StartChild) -> None:
    """What an engine does that decided so by event 3."""
    await outbox(ports, errands=Errands(), carriers=Carriers(ports.log)).act([action])


async def test_tasks_that_are_stored_while_the_queue_is_asked_are_not_missed_in_it() -> None:
    queue = Queue(end=7)
    queue.outbox.newest_task = 7
    await queue.outbox.check_tasks()


async def test_a_queue_that_ends_before_a_task_that_it_had_taken_has_lost_its_tail() -> None:
    queue = Queue(end=6)
    queue.outbox.newest_task = 7
    with pytest.raises(LogCut, match="ends at 6; it had taken task 7"):
        await queue.outbox.check_tasks()


@pytest.mark.parametrize("action", [TOLD, BEGUN], ids=["told", "begun"])
@pytest.mark.parametrize("there", [("parent", "child"), ("parent", "child", "other")], ids=["short", "grown"])
def test_nothing_is_said_of_a_payload_that_went_with_the_end_of_the_log(
    there: tuple[str, ...], action: AppendEvent | StartChild
) -> None:
    async def main() -> None:
        ports = await written(*there)
        with pytest.raises(LogCut, match="event 3 is not there any more"):
            await act(ports, action)
        assert await ports.log.last() == len(there)

    run(main())


def test_a_parent_is_told_that_the_output_of_a_removed_child_is_lost() -> None:
    async def main() -> None:
        ports = await written("parent", "child", "child", "parent")
        await ports.log.remove("child", upto=4)
        await act(ports, TOLD)
        told = decode_event((await ports.log.read("parent"))[-1].data)
        assert isinstance(told, ChildFailed)
        assert "a payload of run child (5000 bytes) is lost" in told.payload.error

    run(main())
