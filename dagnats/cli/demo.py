"""`demo`: the quickstart. Starts everything in a temporary folder, runs real workflows and shows what happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dagnats.cli.connection import run_long
from dagnats.cli.failure import NO
from dagnats.cli.option import current
from dagnats.cli.output import columns, emit, paint, say, table
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client import AsyncClient, RunView
    from dagnats.dsl.workflow import Workflow
    from dagnats.model.run import RunStatus

_PATIENCE_S = 30.0
_WIDEST = 140  # longer lines are hard to read, however wide the terminal is


class Topic(StrEnum):
    """What can be shown alone."""

    order = "order"
    hello = "hello"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of the demo.

    Attributes:
        file: The workflow's file, without `.py`.
        title: It in a few words.
        says: What is about to happen.
        input: What the run is started with.
        ends: How it has to end.
    """

    file: str
    title: str
    says: str
    input: Any
    ends: RunStatus = "completed"


class Shown(NamedTuple):
    """A scenario and the run it became."""

    scenario: Scenario
    view: RunView


SCENARIOS = (
    Scenario(
        "hello",
        "three steps in a line",
        "Three steps in a line, each on the output of the one before it.",
        "World",
    ),
    Scenario(
        "order",
        "a good order",
        "An order: reserve the stock, charge the card; ship and book side by side.",
        {"id": "A-2", "amount_cents": 4990},
    ),
    Scenario(
        "order",
        "a declined card",
        "The card is declined, and trying again cannot help: the stock is released.",
        {"id": "A-3", "amount_cents": 4990, "card": "declined"},
        ends="compensated",
    ),
    Scenario(
        "order",
        "a carrier that is down",
        "The carrier does not answer, twice: shipping is tried again until it does.",
        {"id": "A-4", "amount_cents": 4990, "carrier_down": 2},
    ),
)


def demo(
    topic: Topic | None = typer.Argument(None, metavar="TOPIC", help="Show only this one.", show_default=False),
) -> None:
    """See it work: start a server, an engine and a worker in a temporary folder, and run the example workflows."""
    import logging

    if not current().debug:
        logging.getLogger("dagnats").setLevel(logging.ERROR)
    chosen = [it for it in SCENARIOS if topic is None or it.file == topic.value]
    shown = run_long(_show(chosen))
    if current().json:
        from dagnats.cli.report import run_document

        emit({"runs": [{"title": it.scenario.title, **run_document(it.view)} for it in shown]})
    else:
        _say_summary(shown)
    _refuse_surprises(shown)


def _refuse_surprises(shown: Sequence[Shown]) -> None:
    """A demo that goes wrong says so: it is the first thing people run."""
    for scenario, view in shown:
        if view.status != scenario.ends:
            told = f"the run for {scenario.title!r} ended {view.status}; it should have ended {scenario.ends}"
            say(told, err=True)
            raise typer.Exit(NO)


async def _show(scenarios: Sequence[Scenario]) -> list[Shown]:
    import asyncio

    from dagnats.cli.stage import everything, load_workflow
    from dagnats.runtime.worker import Worker

    workflows = {scenario.file: load_workflow(scenario.file) for scenario in scenarios}
    _say("Starting a NATS server, the engine and a worker in a temporary folder.", "dim")
    async with everything() as client:
        for workflow in workflows.values():
            await client.register(workflow)
        worker = Worker(client, workflows.values())
        working = asyncio.create_task(worker.run(), name="demo worker")
        try:
            return [await _run(client, workflows[it.file], it, at) for at, it in enumerate(scenarios, 1)]
        finally:
            worker.stop()
            await working


async def _run(client: AsyncClient, workflow: Workflow, scenario: Scenario, at: int) -> Shown:
    import asyncio

    from dagnats.cli.tree import tree_lines

    _say()
    _say(f"{at}. {scenario.says}", "bold")
    _say(f"   dagnats run start {workflow.name} '{_typed(scenario.input)}'", "dim")
    _say()
    run = await client.start(workflow, scenario.input)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            view = await run.wait()
    except TimeoutError:
        raise DagnatsError(
            f"the run for {scenario.title!r} did not end within {_PATIENCE_S:g} s",
            hint="`dagnats demo --debug` shows what the engine and the worker did",
        ) from None
    for line in tree_lines(view, width=min(columns(), _WIDEST) - 3, paint=paint):
        _say(f"   {line}")
    return Shown(scenario, view)


def _typed(value: Any) -> str:
    """A JSON value as short as people type it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _say(text: str = "", *styles: str) -> None:
    if not current().json:
        say(paint(text, *styles))


def _say_summary(shown: Sequence[Shown]) -> None:
    from dagnats.cli.report import COLOURS
    from dagnats.cli.tree import milliseconds

    rows = [
        (it.scenario.title, it.view.workflow, it.view.status, milliseconds(it.view.ended_ns - it.view.created_ns))
        for it in shown
    ]
    say()
    header, *lines = table(("RUN", "WORKFLOW", "STATUS", "TIME"), rows, columns())
    say(paint(header, "dim"))
    for line, it in zip(lines, shown, strict=True):
        status = it.view.status
        say(line.replace(f"  {status}  ", f"  {paint(status, COLOURS[status])}  "))
    say()
    say("Next: `dagnats serve`, then `dagnats register` and `dagnats worker` elsewhere.")
    say("Then: `dagnats run start hello-pipeline '\"World\"' --watch`.")
