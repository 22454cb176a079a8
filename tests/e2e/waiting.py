"""A workflow whose only step fails once and waits for its retry. Run by worker processes."""

from __future__ import annotations

import os

from dagnats import Fixed, TaskContext, Workflow, handler

WAIT_S = int(os.environ.get("WAITING_SECONDS", "6"))


@handler("waiting.flaky")
async def flaky(value: int, ctx: TaskContext) -> int:
    if ctx.attempt == 1:
        raise RuntimeError("busy")
    return value


wf = Workflow("waiting")
wf.task("work", flaky).with_retry(Fixed(max_attempts=1, initial_delay=f"{WAIT_S}s"))
