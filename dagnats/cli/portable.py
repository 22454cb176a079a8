"""`run export`, `import`, `imported`: a run's history out of one installation, and into another to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, pour, room, say, size_text, table
from dagnats.cli.target import LAST, RUN_ID, find, shifted

if TYPE_CHECKING:
    from dagnats.client.imported import Guest, Taken
    from dagnats.client.portable import Document

app = typer.Typer()


@app.command("export")
def export_run(
    run_id: str = RUN_ID,
    file: str = typer.Argument("", metavar="FILE", help="Where to; printed when left out.", show_default=False),
    last: bool = LAST,
    children: bool = typer.Option(False, "--children", help="With the runs that it has started, and theirs."),
) -> None:
    """Write a run's whole history as one JSON document.

    Its definition and its large payloads are in it, too.
    """
    from dagnats.client.portable import encode_document

    run_id, file = shifted(last, run_id, file)
    document = run(_exported(run_id, last, children))
    data = encode_document(document)
    if not file:
        pour(data)
        return
    _write(Path(file), data)
    first = document.runs[0]
    if current().json:
        emit({"run_id": first.run_id, "file": file, "runs": [each.run_id for each in document.runs]})
        return
    others = f" and {counted(len(document.runs) - 1, 'other run')}" if len(document.runs) > 1 else ""
    what = f"{first.run_id}{others}, {counted(len(first.history), 'event')}"
    say(f"{paint('Exported:', 'green')} {what} in {file} ({size_text(len(data))})")


@app.command("import")
def import_run(
    file: Path = typer.Argument(metavar="FILE", help="What `dagnats run export` has written."),
) -> None:
    """Take in a run of another installation, to look at.

    Nothing of it is carried out, and no list has it. `run status`, `events`, `inspect`, `tree` and `replay` show it.
    """
    taken = run(_taken_in(file))
    if current().json:
        emit({"runs": [each._asdict() for each in taken]})
        return
    for each in taken:
        colour = "green" if each.action == "imported" else "dim"
        said = f"{each.run_id} ({each.workflow}, {counted(each.events, 'event')})"
        say(f"{paint(f'{each.action.capitalize()}:', colour)} {said}")


@app.command("imported")
def imported(
    remove: str = typer.Option("", "--remove", metavar="RUN_ID", help="Forget this one."),
) -> None:
    """List the runs that were imported."""
    if remove:
        run(_removed(remove))
        if current().json:
            emit({"removed": remove})
        else:
            say(f"{paint('Removed:', 'green')} {remove}")
        return
    rows = run(_listed())
    if current().json:
        emit([{"run_id": run_id, "workflow_id": workflow, "status": status} for run_id, workflow, status in rows])
    elif not rows:
        say("No runs were imported.")
    else:
        for line in table(("RUN ID", "WORKFLOW", "STATUS"), rows, room()):
            say(line)


async def _exported(run_id: str, last: bool, children: bool) -> Document:
    async with open_client() as client:
        return await client.export_run((await find(client, run_id, last)).run_id, children=children)


def _write(file: Path, data: bytes) -> None:
    from dagnats.runtime.local import write_secret

    if file.is_dir() or not file.absolute().parent.is_dir():
        why = "a folder" if file.is_dir() else "in a folder that does not exist"
        raise UsageError(f"{str(file)!r} is {why}", hint="name a file: `dagnats run export RUN_ID run.json`")
    write_secret(file, data)


async def _taken_in(file: Path) -> list[Taken]:
    from dagnats.client.portable import read_document

    document = read_document(file.read_bytes(), name=str(file))
    async with open_client() as client:
        return await client.import_runs(document)


async def _removed(run_id: str) -> None:
    async with open_client() as client:
        await client.remove_imported(run_id)


async def _listed() -> list[Guest]:
    async with open_client() as client:
        return await client.imported_runs()
