"""The workflows that are measured: handlers that do nothing."""

from __future__ import annotations

from dagnats import Workflow, handler


@handler("bench.pass")
async def pass_on(value: str) -> str:
    return value


@handler("bench.join")
async def join(values: dict[str, str]) -> int:
    return len(values)


def chain(name: str, length: int) -> Workflow:
    """Steps in a line."""
    workflow = Workflow(name)
    last = workflow.task("s0", pass_on)
    for at in range(1, length):
        last = workflow.task(f"s{at}", pass_on).after(last)
    return workflow


def fan(name: str, width: int) -> Workflow:
    """Steps side by side, and one that takes all their outputs."""
    workflow = Workflow(name)
    workflow.task("join", join).after(*(workflow.task(f"s{at}", pass_on) for at in range(width)))
    return workflow


chain3 = chain("chain3", 3)
chain40 = chain("chain40", 40)
fan1000 = fan("fan1000", 1_000)
