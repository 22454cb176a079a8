"""A handler that sleeps, and writes down that it did: for worker processes. NAP_S is how long, LEDGER the file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from dagnats import TaskContext, Workflow, handler

NAP_S = float(os.environ.get("NAP_S", "0.05"))
PARTS = 3


def write(line: str) -> None:
    """One write of one line to a file opened for appending is atomic, whoever else writes or dies."""
    descriptor = os.open(Path(os.environ["LEDGER"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@handler("naps.quiet")
async def quiet() -> None:
    await asyncio.sleep(NAP_S)


@handler("naps.told")
async def told(ctx: TaskContext) -> str:
    write(f"begin {ctx.run_id} {os.getpid()}")
    await asyncio.sleep(NAP_S)
    write(f"end {ctx.run_id} {os.getpid()}")
    return ctx.worker_id


@handler("naps.staged")
async def staged(ctx: TaskContext) -> int:
    """Naps in parts, with a checkpoint after each."""
    begun_at = await ctx.load_checkpoint(int) or 0
    write(f"from {ctx.run_id} {os.getpid()} {begun_at}")
    for part in range(begun_at, PARTS):
        await asyncio.sleep(NAP_S)
        write(f"part {ctx.run_id} {os.getpid()} {part}")
        await ctx.checkpoint(part + 1)
        write(f"kept {ctx.run_id} {os.getpid()} {part + 1}")
    return begun_at


wf = Workflow("naps")
wf.task("nap", told)
