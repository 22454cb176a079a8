"""The workflows that are measured: handlers that do nothing."""

from __future__ import annotations

from typing import Any

from dagnats import Workflow, handler


@handler("bench.pass")
async def pass_on(value: str) -> str:
    return value


@handler("bench.join")
async def join(values: dict[str, str]) -> int:
    return len(values)


@handler("bench.any")
async def give_back(value: Any) -> Any:  # a schema of 10,000 outputs would not fit a definition
    return value


@handler("bench.numbers")
async def numbers(count: int) -> list[int]:
    return list(range(count))


@handler("bench.item")
async def item(value: int) -> int:
    return value


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


def wide(name: str, width: int, *, at_once: int = 0) -> Workflow:
    """Steps side by side that nothing joins, at most `at_once` of them in flight; 0 for all."""
    workflow = Workflow(name)
    if at_once:
        workflow = workflow.with_concurrency(max_steps=at_once)
    for at in range(width):
        workflow.task(f"s{at}", give_back)
    return workflow


def mapped(name: str, size: int) -> Workflow:
    """A step that counts to its input, and a map over that."""
    workflow = Workflow(name)
    workflow.map("items", item).with_over(workflow.task("numbers", numbers)).with_max_items(size)
    return workflow


chain3 = chain("chain3", 3)
chain40 = chain("chain40", 40)
fan1000 = fan("fan1000", 1_000)
