"""A server that may store a few megabytes: it fills, takes nothing new, is cleaned, and takes it again.

Even where it is full to the brim, so that the engine cannot renew its lease: cleaning makes room all the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import dagnats
from dagnats import Workflow
from dagnats.errors import FullError
from dagnats.runtime.embedded import ServerOptions
from dagnats.runtime.ports import StoreFull
from dagnats.runtime.position import decode_position
from dagnats.runtime.serve import Serving, serve
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats.client import AsyncClient

MOST = 4 * 1024 * 1024


async def fill_up(client: AsyncClient) -> None:
    """Let the server have no room for anything: for no event, and for no lease."""
    ports = client.connection.ports
    last = await ports.log.last()

    async def is_decided() -> bool:
        stored = await ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        return position is not None and position.low > last

    await until(is_decided, what="a position that has everything behind it")
    for _ in range(MOST // 50_000):
        ports.telemetry.put("logs.test.INFO", b"x" * 50_000)

    async def is_full() -> bool:
        return (await ports.server.holding()).share >= 1

    await until(is_full, what="the brim")
    with pytest.raises(StoreFull):
        await client.handle("slow-0001").pause()


async def test_a_store_that_fills_refuses_starts_until_it_is_cleaned_and_runs_under_way_end_meanwhile(
    tmp_path: Path,
) -> None:
    stop, up = asyncio.Event(), asyncio.Queue[Serving]()
    options = ServerOptions(max_store_bytes=MOST)
    serving = asyncio.create_task(serve(folder=tmp_path, port=0, options=options, ready=up.put, stop=stop))
    at = await up.get()
    quick, slow = Workflow("quick"), Workflow("slow")
    quick.sleep("nap", "1ms")
    slow.approval("ask", subject="approvals.test", timeout="1h")
    async with await dagnats.connect(at.url, token=at.token) as client:
        await client.register(quick)
        await client.register(slow)
        first, second = [await client.start("slow", run_id=f"slow-000{n}") for n in range(2)]
        last = first

        async def is_full() -> bool:
            nonlocal last
            try:
                last = await client.start("quick", "x" * 100_000)
            except FullError as error:
                return f"of {MOST:,} bytes are used (8" in str(error) and "`max_store_bytes`" in error.hint
            return False

        await until(is_full, what="a refusal")
        await last.wait(timeout="20s")
        await first.approve("ask")
        assert (await first.wait(timeout="20s")).status == "completed"
        await fill_up(client)

        async def has_room() -> bool:
            await client.clean(["runs"])
            try:
                await client.start("quick")
            except FullError:
                return False
            return True

        await until(has_room, what="room")
        await second.approve("ask")
        assert (await second.wait(timeout="20s")).status == "completed"
    stop.set()
    await serving
