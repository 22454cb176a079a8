"""`run retry`, `fork`, `retry-all`, `cancel-all`, `bulk`: runs made of runs, and many runs at once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from dagnats.cli import completion
from dagnats.cli.connection import open_client, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, one_line, paint, paint_err, say
from dagnats.cli.payload import json_bytes, lines_of
from dagnats.cli.progress import progress
from dagnats.cli.target import AFTER, BEFORE, BY, LAST, REASON, RUN_ID, expect, find, shifted, short

if TYPE_CHECKING:
    from dagnats.client import AnyClient, Done

app = typer.Typer()

_DRY_RUN = typer.Option(False, "--dry-run", help="Only say which runs.")


class Mode(StrEnum):
    """How a run is tried again."""

    rerun = "rerun"
    replay = "replay"


class Live(StrEnum):
    """Which runs are cancelled."""

    scheduled = "scheduled"
    pending = "pending"
    running = "running"
    all = "all"


_MODES: dict[Mode, Literal["rerun", "replay"]] = {Mode.rerun: "rerun", Mode.replay: "replay"}
_STATUSES: dict[Live, Literal["scheduled", "pending", "running", "all"]] = {
    Live.scheduled: "scheduled",
    Live.pending: "pending",
    Live.running: "running",
    Live.all: "all",
}


def _workflow(default: Any) -> Any:
    return typer.Option(
        default,
        "--workflow",
        metavar="NAME",
        help="The workflow.",
        show_default=False,
        autocompletion=completion.workflow_names,
    )


# -- one run ---------------------------------------------------------------------------------------------------


@app.command()
def retry(
    run_id: str = RUN_ID,
    input: str = typer.Argument("", metavar="INPUT", help="Another input, as JSON.", show_default=False),
    last: bool = LAST,
    mode: Mode = typer.Option(Mode.rerun, "--mode", help="rerun: a new run. replay: this run, where it broke."),
    by: str = BY,
) -> None:
    """Try a run again: anew, with its input and the newest definition; or where it broke, by its own."""
    run_id, input = shifted(last, run_id, input)
    if mode is Mode.replay and input:
        raise UsageError("a replay goes on with the run's own input", hint="--mode rerun takes another one")
    data = json_bytes(input) if input else b""
    old, workflow, new = run(_retry(run_id, last, mode, data, by))
    document = {"original_run_id": old, "workflow": workflow, "new_run_id": new}
    verb = "Retrying" if mode is Mode.rerun else "Replaying"
    _say(document, f"{paint(f'{verb} workflow {workflow}:', 'green')} {new}")


async def _retry(run_id: str, last: bool, mode: Mode, data: bytes, by: str) -> tuple[str, str, str]:
    async with open_client() as client:
        handle = await find(client, run_id, last)
        if mode is Mode.rerun:
            new = await handle.rerun_json(data, by=by)
        else:
            await handle.replay(by=by)
            new = handle
        return handle.run_id, (await new.view()).workflow, new.run_id


@app.command()
def fork(
    run_id: str = RUN_ID,
    last: bool = LAST,
    step: str = typer.Option(
        ...,
        "--from",
        metavar="STEP",
        help="Where the new run begins.",
        show_default=False,
        autocompletion=completion.step_ids,
    ),
    input: str = typer.Option("", "--input", metavar="JSON", help="Another input."),
    latest: bool = typer.Option(False, "--latest", help="Follow the newest definition, not the run's."),
    by: str = BY,
) -> None:
    """Start a new run at a step. What does not depend on that step and has completed is taken over."""
    data = json_bytes(input) if input else b""
    old, new, taken = run(_fork(run_id, last, step, data, latest, by))
    document = {"original_run_id": old, "from": step, "new_run_id": new, "taken_over": taken}
    _say(document, f"{paint('Forked:', 'green')} {new} (from {step}, {counted(len(taken), 'output')} taken over)")


async def _fork(run_id: str, last: bool, step: str, data: bytes, latest: bool, by: str) -> tuple[str, str, list[str]]:
    async with open_client() as client:
        handle = await find(client, run_id, last)
        new = await handle.fork_json(step, data, latest=latest, by=by)
        start = (await new.history())[0]
        return handle.run_id, new.run_id, list(start.payload.get("outputs", {}))


# -- many runs -------------------------------------------------------------------------------------------------


@app.command("cancel-all")
def cancel_all(
    workflow: str = _workflow(...),
    status: Live = typer.Option(Live.all, "--status", help="Only runs in this status."),
    after: str = AFTER,
    before: str = BEFORE,
    dry_run: bool = _DRY_RUN,
    force: bool = FORCE,
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Cancel every run of a workflow that has not ended."""

    async def do(client: AnyClient, *, dry_run: bool) -> list[Done]:
        with progress("cancelled") as told:
            return await client.cancel_all(
                workflow,
                status=_STATUSES[status],
                after=after or None,
                before=before or None,
                dry_run=dry_run,
                by=by,
                reason=reason,
                told=told,
            )

    async def whole() -> list[Done]:
        async with open_client() as client:
            if dry_run:
                return await do(client, dry_run=True)
            if not force:
                count = len(await do(client, dry_run=True))
                expect_consent(f"Cancel {counted(count, 'run')} of {workflow!r}?", force=count == 0)
            return await do(client, dry_run=False)

    done = run(whole())
    _tell_all(done, dry_run=dry_run, verb="cancel", past="Cancelled", listed=dry_run)


@app.command("retry-all")
def retry_all(
    workflow: str = _workflow(""),
    mode: Mode = typer.Option(..., "--mode", help="rerun: new runs. replay: the same ones.", show_default=False),
    after: str = AFTER,
    before: str = BEFORE,
    dry_run: bool = _DRY_RUN,
    by: str = BY,
) -> None:
    """Try every run again that has failed, of a workflow or of a time."""
    if not (workflow or after or before):
        raise UsageError("which runs?", hint="name a --workflow, or give --after or --before")

    async def whole() -> list[Done]:
        async with open_client() as client:
            with progress("retried") as told:
                return await client.retry_all(
                    workflow,
                    mode=_MODES[mode],
                    after=after or None,
                    before=before or None,
                    dry_run=dry_run,
                    by=by,
                    told=told,
                )

    done = run(whole())
    how = "replayed" if mode is Mode.replay else "rerun"
    _tell_all(done, dry_run=dry_run, verb="retry", past="Retried", listed=True, how="" if dry_run else how)


def _tell_all(done: list[Done], *, dry_run: bool, verb: str, past: str, listed: bool, how: str = "") -> None:
    """What was done with many runs, and what could not be."""
    fine = [each for each in done if not each.problem and each.is_new]
    refused = [each for each in done if each.problem]
    if current().json:
        emit(_many_document(fine, refused, done, dry_run=dry_run, past=past))
    else:
        say(f"[dry-run] Would {verb} {counted(len(fine), 'run')}" if dry_run else f"{past} {counted(len(fine), 'run')}")
        for each in fine if listed else ():
            said = f" ({how}{f' as {each.new_run_id}' if each.new_run_id else ''})" if how else ""
            say(f"  {short(each.run_id)}{said}")
        for each in refused:
            say(f"{paint_err('not done:', 'yellow')} {short(each.run_id)}: {one_line(each.problem)}", err=True)
    if refused:
        raise typer.Exit(NO)


def _many_document(
    fine: list[Done], refused: list[Done], done: list[Done], *, dry_run: bool, past: str
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run_ids": [each.run_id for each in fine],
        "total": len(fine),
        "dry_run": dry_run,
        "problems": [{"run_id": each.run_id, "message": each.problem} for each in refused],
    }
    new = {each.run_id: each.new_run_id for each in done if each.new_run_id}
    return {past.lower(): 0 if dry_run else len(fine), **document, **({"new_run_ids": new} if new else {})}


@app.command()
def bulk(
    inputs: list[str] = typer.Argument(None, metavar="INPUTS", help="Inputs, each as JSON.", show_default=False),
    workflow: str = _workflow(...),
    from_file: Path | None = typer.Option(
        None, "--from-file", metavar="FILE", help="Inputs, one a line; - for what is piped in."
    ),
    batch: str = typer.Option(
        "", "--batch", metavar="NAME", help="Starts the lines of the same file once more, under another name."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only check the inputs."),
    by: str = BY,
) -> None:
    """Start many runs. The lines of a file are started once: the same command again starts what is missing."""
    typed = [json_bytes(expect(text.strip(), "INPUTS")) for text in inputs or []]
    lines = lines_of(from_file) if from_file is not None else []
    if not typed and not lines:
        raise UsageError("there are no inputs", hint="give them as JSON, or --from-file with one a line")
    done = run(_bulk(workflow, typed, lines, batch, dry_run=dry_run, by=by))
    _tell_bulk(done, len(typed) + len(lines), dry_run=dry_run)


async def _bulk(
    workflow: str, typed: list[bytes], lines: list[bytes], batch: str, *, dry_run: bool, by: str
) -> list[Done]:
    from dagnats.client.bulk import check_inputs, ids_of

    async with open_client() as client:
        definition = await client.workflow(workflow)
        data = [*typed, *lines]
        if dry_run:
            check_inputs(definition, data)
            return []
        run_ids = [*([""] * len(typed)), *ids_of(workflow, lines, batch)]
        with progress("started") as told:
            return await client.start_all_json(definition, data, run_ids, by=by, told=told)


def _tell_bulk(done: list[Done], count: int, *, dry_run: bool) -> None:
    started = [each for each in done if each.is_new and not each.problem]
    there = [each for each in done if not each.is_new]
    refused = [each for each in done if each.problem]
    if current().json:
        run_ids = [each.run_id for each in done if not each.problem]
        document: dict[str, Any] = {"run_ids": run_ids, "total": count if dry_run else len(run_ids)}
        document |= {"dry_run": True} if dry_run else {}
        document |= {"existing": [each.run_id for each in there]} if there else {}
        document |= {"problems": [each.problem for each in refused]} if refused else {}
        emit(document)
    elif dry_run:
        say(f"[dry-run] Would start {counted(count, 'run')}")
    else:
        again = f" ({len(there)} had been started before)" if there else ""
        say(f"Started {counted(len(started), 'run')}{again}:")
        for each in started:
            say(f"  {each.run_id}")
        for each in refused:
            say(f"{paint_err('not started:', 'yellow')} {one_line(each.problem)}", err=True)
    if refused:
        raise typer.Exit(NO)


def _say(document: dict[str, Any], line: str) -> None:
    if current().json:
        emit(document)
    else:
        say(line)
