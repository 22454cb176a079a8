"""What a step streams, from any place on, until the step is done."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from typing import Any

    from dagnats.runtime.ports import Chunk, Chunks


async def streamed(
    chunks: Chunks, run_id: str, step_id: str, *, start: int, over: Coroutine[Any, Any, None]
) -> AsyncGenerator[Chunk]:
    """A step's chunks from offset `start`; those that follow as they come, until `over` is."""
    ending = asyncio.ensure_future(over)
    try:
        async with aclosing(chunks.watch(run_id, step_id, start=start)) as watched:
            while (chunk := await _next(watched, ending)) is not None:
                yield chunk
                start = chunk.offset + 1
        ending.result()
        for chunk in await chunks.read(run_id, step_id, start=start):  # what came just before the end
            yield chunk
    finally:
        ending.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([ending])


async def _next(watched: AsyncGenerator[Chunk], ending: asyncio.Future[None]) -> Chunk | None:
    """The next chunk; None when the step is done before there is one."""
    coming = asyncio.ensure_future(anext(watched))
    try:
        await asyncio.wait([coming, ending], return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        await asyncio.wait([coming])
