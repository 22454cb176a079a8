"""`run result` and `run tree`: what came of a run, and where its time went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import current
from dagnats.cli.output import columns, emit, paint, say
from dagnats.cli.target import LAST, RUN_ID, find
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from dagnats.client import AnyClient, RunView

app = typer.Typer()

_WIDEST = 10_000  # cells: as good as no limit
_DEEPEST = 8  # generations that are drawn; a workflow may run itself


@app.command()
def result(
    run_id: str = RUN_ID,
    last: bool = LAST,
    timeout: str = typer.Option("", "--timeout", metavar="DURATION", help="Wait no longer than this."),
) -> None:
    """Wait until a run ends, and print its output. Exit code 1 when it ends otherwise, or not in time."""
    from dagnats.cli.report import blame, output_document, output_text
    from dagnats.errors import ResultTimeout

    try:
        view = run(_ended(run_id, last, timeout))
    except ResultTimeout as error:
        if current().json:
            emit({"run_id": error.run_id, "status": "running", "outputs": {}})
        else:
            say(f"run {error.run_id} has not ended within {timeout}; it goes on", err=True)
        raise typer.Exit(NO) from None
    if current().json:
        emit({**output_document(view), "error": view.error})
    elif view.status == "completed":
        say(output_text(view))
    else:
        why = f": {blame(view)}" if view.error else ""
        say(f"run {view.run_id} has no output, it ended {view.status}{why}", err=True)
    if view.status != "completed":
        raise typer.Exit(NO)


@app.command()
def tree(
    run_id: str = RUN_ID,
    last: bool = LAST,
    gantt: bool = typer.Option(False, "--gantt", help="Draw when each step waited and worked."),
    wide: bool = typer.Option(False, "--wide", help="Do not cut lines to the terminal."),
) -> None:
    """Draw a run, and the runs that its steps have started, with how long each step took."""
    family = run(_family_of(run_id, last))
    if current().json:
        emit(_document(family))
        return
    for line in _lines(family, _WIDEST if wide else columns(), gantt=gantt):
        say(line)


class Family(NamedTuple):
    """A run, and the runs that its steps have started, by step."""

    view: RunView
    children: dict[str, Family]


async def _ended(run_id: str, last: bool, timeout: str) -> RunView:
    async with open_client() as client:
        return await (await find(client, run_id, last)).wait(timeout=timeout or None)


async def _family_of(run_id: str, last: bool) -> Family:
    async with open_client() as client:
        handle = await find(client, run_id, last)
        return await _family(client, await handle.view(), 1)


async def _family(client: AnyClient, view: RunView, depth: int) -> Family:
    children: dict[str, Family] = {}
    for step in view.steps:
        if step.child_run_id and depth < _DEEPEST:
            try:
                child = await client.handle(step.child_run_id).view()
            except DagnatsError:  # it was removed, or has not begun
                continue
            children[step.id] = await _family(client, child, depth + 1)
    return Family(view, children)


def _lines(family: Family, width: int, *, gantt: bool) -> list[str]:
    from dagnats.cli.timeline import timeline_lines
    from dagnats.cli.tree import tree_lines

    if gantt:
        lines = timeline_lines(family.view, now_ns=time.time_ns(), width=width, paint=paint)
    else:
        lines = tree_lines(family.view, width=width, paint=paint)
    for step_id, child in family.children.items():
        lines += ["", f"{paint('↳', 'cyan')} {step_id}:"]
        lines += [f"  {line}".rstrip() for line in _lines(child, max(width - 2, 40), gantt=gantt)]
    return lines


def _document(family: Family) -> dict[str, Any]:
    from dagnats.cli.report import run_document

    children = {step_id: _document(child) for step_id, child in family.children.items()}
    return {**run_document(family.view), "children": children}
