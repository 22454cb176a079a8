"""A server that may store a few megabytes: it fills, takes nothing new, is cleaned, and takes it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import dagnats
from dagnats import Workflow
from dagnats.errors import FullError
from dagnats.runtime.embedded import ServerOptions
from dagnats.runtime.serve import Serving, serve
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

MOST = 4 * 1024 * 1024


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
        under_way = await client.start("slow")
        last = under_way

        async def is_full() -> bool:
            nonlocal last
            try:
                last = await client.start("quick", "x" * 100_000)
            except FullError as error:
                return f"of {MOST:,} bytes" in str(error) and "`max_store_bytes`" in error.hint
            return False

        await until(is_full, what="a refusal")
        assert (await client.health()).engine.leads
        await last.wait(timeout="20s")
        await under_way.approve("ask")
        assert (await under_way.wait(timeout="20s")).status == "completed"

        async def has_room() -> bool:
            await client.clean(["runs"])
            try:
                await client.start("quick")
            except FullError:
                return False
            return True

        await until(has_room, what="room")
    stop.set()
    await serving
