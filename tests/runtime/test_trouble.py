"""What must not make an engine spin, or act when it leads no more."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats import Workflow
from dagnats.client import AsyncClient
from dagnats.model.event import Failure, StepFailed, encode_event
from dagnats.model.json import encode
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop, virtual_loop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import LogCut, Ports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    import pytest


def told(story: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story)


@asynccontextmanager
async def engine(ports: Ports, feeds: Any) -> AsyncGenerator[asyncio.Task[None]]:
    leading = asyncio.create_task(Engine(ports, feeds, keep=None).run())
    try:
        yield leading
    finally:
        leading.cancel()
        with suppress(asyncio.CancelledError):
            await leading


class _Cut:
    """Feeds of a log that is cut for as long as it takes."""

    def __init__(self, feeds: Any) -> None:
        self._feeds = feeds
        self.opened = 0
        self.heals_after = 2**60

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feeds, name)

    async def history(self, after: int) -> Any:
        self.opened += 1
        if self.opened < self.heals_after:
            raise LogCut("the log is not what it was")
        return await self._feeds.history(after)


def test_a_log_that_stays_cut_is_tried_ever_more_rarely_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        memory = MemoryServer().connect()
        workflow = Workflow("w")
        workflow.sleep("s", "1s")
        await AsyncClient(memory).register(workflow)
        cut = _Cut(memory.feeds)
        async with engine(memory.ports, cut):
            await asyncio.sleep(60)
            assert 10 < cut.opened < 25
            cut.heals_after = cut.opened + 1
            assert await AsyncClient(memory).run("w") is None
        assert [record.message for record in caplog.records] == ["taking over anew: the log is not what it was"]

    caplog.set_level(logging.WARNING, "dagnats.engine")
    told(story())


class _Held:
    """A port whose one method waits until it may go on."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.reached = asyncio.Event()
        self.allowed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def put(self, *args: Any, **kwargs: Any) -> Any:
        return self._put(*args, **kwargs)

    async def _put(self, *args: Any, **kwargs: Any) -> Any:
        answer = await self._port.put(*args, **kwargs)
        self.reached.set()
        await self.allowed.wait()
        return answer


def test_an_engine_that_was_frozen_sends_no_run_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        server, process = MemoryServer(), Process(virtual_loop())
        client = AsyncClient(server.connect())
        workflow = Workflow("w")
        workflow.task("s", "trouble.work")
        await client.register(workflow)
        memory = process.run(server.connect)
        letters = _Held(memory.ports.dead_letters)
        process.spawn(Engine(replace(memory.ports, dead_letters=letters), memory.feeds, keep=None).run())
        await asyncio.sleep(1)
        run = await client.start("w", run_id="r")
        failure = encode(Failure(error="boom", failure_type="non_retriable"))
        failed = StepFailed(run_id="r", step_id="s", attempt_number=1, payload=failure)
        await server.connect().ports.log.append("r", encode_event(failed), id="failed")
        await letters.reached.wait()
        process.freeze()
        letters.allowed.set()
        await asyncio.sleep(4.5)  # a standby may be about to take over
        process.thaw()
        assert (await run.wait()).status == "failed"
        process.kill()

    caplog.set_level(logging.WARNING, "dagnats.engine")
    told(story())
    assert caplog.records[0].message == "no longer leading: the lease was not renewed for 5.5 s"
