"""`run replay`: a run's history folded once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, one_line, paint, say
from dagnats.cli.target import LAST, RUN_ID, find

if TYPE_CHECKING:
    from dagnats.client.rehearsal import Rehearsal
    from dagnats.model.definition import WorkflowDef

app = typer.Typer()


@app.command()
def replay(
    run_id: str = RUN_ID,
    last: bool = LAST,
    by: str = typer.Option(
        "", "--with", metavar="TARGET", help="By this definition: a module, file or folder as for `build`, or JSON."
    ),
) -> None:
    """Fold a run's history once more, and compare.

    With --with, find the first event at which another definition would have decided otherwise. Nothing is carried out,
    and nothing is stored; `run retry --mode replay` lets a run go on. Exits with 1 on a difference.
    """
    found = run(_rehearsed(run_id, last, _definitions(by) if by else []))
    if current().json:
        from msgspec import to_builtins

        from dagnats.client.rehearsal import rehearsal_document

        emit(to_builtins(rehearsal_document(found)))
    else:
        _tell(found)
    if not found.is_same:
        raise typer.Exit(NO)


def _definitions(target: str) -> list[WorkflowDef]:
    from dagnats.cli.definition import compiled

    return compiled([target], consequence="nothing was replayed")


async def _rehearsed(run_id: str, last: bool, definitions: list[WorkflowDef]) -> Rehearsal:
    async with open_client() as client:
        handle = await find(client, run_id, last)
        definition = _fitting(definitions, (await handle.view()).workflow) if definitions else None
        return await client.rehearse(handle.run_id, definition)


def _fitting(definitions: list[WorkflowDef], workflow: str) -> WorkflowDef:
    for definition in definitions:
        if definition.name == workflow:
            return definition
    names = ", ".join(definition.name for definition in definitions)
    raise UsageError(f"the run is of workflow {workflow!r}, which is not in what --with names", hint=f"it has {names}")


def _tell(found: Rehearsal) -> None:
    by = f" by {found.by_hash[:12]} instead of {found.def_hash[:12]}" if found.by_hash != found.def_hash else ""
    what = f"{found.run_id} ({found.workflow}), {counted(found.events, 'event')}{by}"
    if found.is_same:
        say(f"{paint('Replayed:', 'green')} {what}: {found.status}, no difference")
        return
    say(f"{paint('Differs:', 'red')} {what}")
    for problem in found.problems:
        say(f"  {one_line(problem)}")
    if found.turn is not None:
        turn = found.turn
        say(f"At event {turn.seq}, {turn.type}{f' of step {turn.step_id!r}' if turn.step_id else ''}:")
        for word, lines in (("did", turn.did), ("would", turn.would)):
            for line in lines or ("nothing else",):
                say(f"  {paint(f'{word}:'.ljust(6), 'yellow')} {one_line(line)}")
