"""A handler that sleeps, and writes down that it did: for worker processes. NAP_S is how long, LEDGER the file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from dagnats import TaskContext, Workflow, handler

NAP_S = float(os.environ.get("NAP_S", "0.05"))


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


wf = Workflow("naps")
wf.task("nap", told)
