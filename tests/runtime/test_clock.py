"""A server whose clock is set back: nothing is early, nothing stands still."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Fixed, TaskContext, Workflow, handler
from dagnats.runtime.engine import Engine
from tests.support.system import running

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer

BACK_NS = 600 * 1_000_000_000
DELAY_S = 1.0


class Skew:
    """Adapters of an engine whose server's clock is `back_ns` behind what it was before.

    Durable wake-ups are swallowed: by that clock they would come ten minutes late.
    """

    def __init__(self, feeds: Any, timers: Any) -> None:
        self._feeds = feeds
        self._timers = timers
        self.back_ns = 0

    async def history(self, after: int) -> Any:
        return _SkewedFeed(await self._feeds.history(after), self)

    async def wakeups(self) -> Any:
        return await self._feeds.wakeups()

    async def events(self, after: int) -> Any:
        return await self._feeds.events(after)

    def set(self, run_id: str, **settings: Any) -> Any:
        settings["due_ns"] += 10 * BACK_NS
        return self._timers.set(run_id, **settings)

    async def drop(self, run_id: str, seq: int) -> None:
        await self._timers.drop(run_id, seq)

    async def all(self) -> Any:
        return await self._timers.all()


class _SkewedFeed:
    def __init__(self, feed: Any, skew: Skew) -> None:
        self._feed = feed
        self._skew = skew

    async def batch(self) -> list[Any]:
        back_ns, entries = self._skew.back_ns, await self._feed.batch()
        return [msgspec.structs.replace(entry, time_ns=entry.time_ns - back_ns) for entry in entries]

    async def close(self) -> None:
        await self._feed.close()


@pytest.mark.alone
async def test_a_server_clock_that_is_set_back_makes_nothing_early_and_freezes_nothing(
    nats_server: EmbeddedServer,
) -> None:
    failed_at: dict[str, float] = {}
    again_at: dict[str, float] = {}
    first = asyncio.Event()

    @handler("clock.flaky")
    async def flaky(value: str, ctx: TaskContext) -> str:
        if ctx.attempt == 1:
            failed_at[value] = time.monotonic()
            first.set()
            raise RuntimeError("busy")
        again_at[value] = time.monotonic()
        return value

    workflow = Workflow("clock", timeout="60s")
    workflow.task("work", flaky).with_retry(Fixed(max_attempts=1, initial_delay=f"{DELAY_S}s")).with_timeout("30s")
    async with running(nats_server, engine=False) as system:
        await system.client.register(workflow)
        system.start_worker([workflow])
        skew = Skew(system.jetstream.feeds, system.jetstream.ports.timers)
        ports = replace(system.jetstream.ports, timers=skew)
        engine = asyncio.create_task(Engine(ports, skew).run())
        try:
            before = await system.client.start(workflow, "before")
            await first.wait()
            skew.back_ns = BACK_NS
            after = await system.client.start(workflow, "after")
            assert await after.result(timeout="10s") == "after"
            assert await before.result(timeout="10s") == "before"
        finally:
            engine.cancel()
            with suppress(asyncio.CancelledError):
                await engine
    for value, failed in failed_at.items():
        waited_s = again_at[value] - failed
        assert DELAY_S <= waited_s < DELAY_S + 1.0, f"{value} waited {waited_s:.2f} s"
