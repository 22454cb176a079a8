"""A handler that blocks the event loop: it is named, and its task is not handed out twice."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import TaskContext, handler
from dagnats.model.event import event_type
from dagnats.model.json import encode
from dagnats.model.task import Task, encode_task
from dagnats.runtime.ports import LOOK_S
from dagnats.runtime.record import decoded
from dagnats.runtime.watchman import BLOCKED_S, Watchman
from tests.support.processes import until
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer


@handler("block.work")
async def block(looks: int) -> None:
    """Have the watchman look so often while the event loop stands still."""
    Blocked.run(looks)


class Blocked:
    """What looks from another thread."""

    watchman: Watchman

    @classmethod
    def run(cls, looks: int) -> None:
        def look() -> None:
            for _ in range(looks):
                cls.watchman.look()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()


def looks(seconds: float) -> int:
    """How often the watchman looks in that time: once more, since the first look only asks."""
    return int(seconds / LOOK_S) + 1


async def test_a_handler_that_blocks_the_loop_is_named_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "dagnats.worker")
    work: asyncio.Task[Any] = asyncio.create_task(block.function(looks(BLOCKED_S)))
    Blocked.watchman = Watchman(lambda task: block if task is work else None)
    await work
    (message,) = caplog.messages
    assert message.startswith("handler block of block.work blocks the event loop for 1 s, and with it everything else")
    assert f"{__file__}:" in message
    assert "(Blocked.run(looks))" in message
    assert ", inside " in message
    assert "threading.py" in message


async def test_it_is_said_again_sparsely_and_not_for_each_task_at_one_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "dagnats.worker")
    Blocked.watchman = Watchman(lambda _: block)

    async def go_round() -> None:
        """Let the loop answer."""
        for _ in range(3):
            await asyncio.sleep(0)

    for seconds in (0.5, 1, 1, 24.75):
        await block(looks(seconds))
        await go_round()
    assert [message.partition(", and")[0] for message in caplog.messages] == [
        "handler block of block.work blocks the event loop for 1 s",
        "handler block of block.work blocks the event loop for 5 s",
    ]


async def test_what_is_no_handler_is_named_by_its_task_and_a_slow_machine_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "dagnats.worker")
    Blocked.watchman = Watchman(lambda _: None)
    asyncio.get_running_loop().call_soon(Blocked.run, looks(BLOCKED_S))  # no task runs
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert caplog.messages == []
    await asyncio.create_task(block.function(looks(BLOCKED_S)), name="mine")
    assert caplog.messages[0].startswith("task 'mine' blocks the event loop for 1 s")


async def test_a_handler_that_blocks_the_loop_beyond_the_ack_wait_runs_once(
    nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    @handler("block.long")
    async def work(ctx: TaskContext) -> None:
        calls.append(1)
        time.sleep(2.5)  # noqa: ASYNC251  # the mistake that is tested

    async with running(nats_server, engine=False) as system:
        ports = system.jetstream.ports
        system.start_worker([work], ack_wait=timedelta(seconds=1), concurrency=4)
        task = Task(run_id="r1", step_id="work", attempt=1, input=encode(None))
        await ports.tasks.put("block.long", "r1", encode_task(task), id="r1")

        async def acknowledged() -> bool:
            return not (await system.jetstream.link.api("STREAM.INFO.TASK_QUEUES"))["state"]["messages"]

        await until(acknowledged)
        events = [event_type(record.event) for record in decoded(await ports.log.read("r1"))]
        assert calls == [1]
        assert events.count("step.completed") == 1
        assert "handler work of block.long blocks the event loop" in caplog.text
