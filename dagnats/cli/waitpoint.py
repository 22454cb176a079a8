"""`waitpoint …`: what runs wait for that somebody outside has to bring."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli import completion
from dagnats.cli.connection import open_client, place, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.option import current
from dagnats.cli.output import emit, paint, paint_err, room, say, table
from dagnats.cli.payload import json_bytes
from dagnats.cli.target import BY, LAST, REASON, RUN_ID, find, shifted, short

if TYPE_CHECKING:
    from dagnats.client.waitpoint import Waitpoint

app = typer.Typer(help="Look at what runs wait for: approvals and events.")

HEADER = ("RUN_ID", "WORKFLOW", "STEP", "KIND", "AGE", "UNTIL", "RESUMED BY")

_STEP = typer.Argument(
    "",
    metavar="STEP",
    help="The step; may be left out when there is one.",
    show_default=False,
    autocompletion=completion.step_ids,
)
_SECOND = 1_000_000_000


@app.command("list")
def list_waitpoints(
    workflow: str = typer.Option(
        "", "--workflow", metavar="NAME", help="Only of this workflow.", autocompletion=completion.workflow_names
    ),
    limit: int = typer.Option(1_000, "--limit", metavar="N", min=1, help="Look at the newest so many runs."),
    wide: bool = typer.Option(False, "--wide", help="Do not cut lines to the terminal."),
) -> None:
    """List every open wait of runs that go on, the oldest first: its age, and what would resume it."""
    found = run(_all(workflow, limit))
    if current().json:
        emit([_document(each) for each in found])
    elif not found:
        say("No run waits for an approval or an event.")
    else:
        now_ns = time.time_ns()
        for line in table(HEADER, [_row(each, now_ns, whole=wide) for each in found], None if wide else room()):
            say(line)


@app.command()
def show(run_id: str = RUN_ID, step: str = _STEP, last: bool = LAST) -> None:
    """Show one open wait."""
    run_id, step = shifted(last, run_id, step)
    found = run(_one(run_id, step, last))
    if current().json:
        emit(_document(found))
        return
    told = (
        ("Run", found.run_id),
        ("Workflow", found.workflow),
        ("Step", found.step_id),
        ("Kind", found.kind),
        ("Event", found.event),
        ("Match", found.match),
        ("Age", _age(found.since_ns, time.time_ns())),
        ("Until", _until(found)),
        ("Resumed by", found.resumed_by),
        ("From outside", f"dagnats waitpoint token {found.run_id} {found.step_id}"),
    )
    for label, value in told:
        if value:
            say(f"{label}: {value}")


@app.command()
def complete(
    run_id: str = RUN_ID,
    step: str = _STEP,
    body: str = typer.Argument("", metavar="BODY", help="The answer or the event, as JSON.", show_default=False),
    last: bool = LAST,
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Let a run go on by hand: with a yes to its approval, or with the event that it waits for."""
    run_id, step, body = shifted(last, run_id, step, body)
    if not body and step[:1] in ("{", "[", '"'):  # no step is called so: this is the body of the one that waits
        step, body = "", step
    done = run(_complete(run_id, step, json_bytes(body, what="the body") if body else b"", last, by, reason))
    _say({**_name(done), "completed": True}, f"{paint('Completed:', 'green')} {done.step_id}")


@app.command()
def cancel(
    run_id: str = RUN_ID,
    step: str = _STEP,
    last: bool = LAST,
    force: bool = FORCE,
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Give up a wait: its step fails for good, and what the workflow says of that follows."""
    run_id, step = shifted(last, run_id, step)
    found = run(_one(run_id, step, last))
    expect_consent(f"Fail step {found.step_id} of run {found.run_id}?", force=force)
    run(_cancel(found, by, reason))
    _say({**_name(found), "cancelled": True}, f"{paint('Cancelled:', 'yellow')} {found.step_id}")


@app.command()
def token(run_id: str = RUN_ID, step: str = _STEP, last: bool = LAST) -> None:
    """Make a token that lets anybody bring what a step waits for, once; also before it begins to wait."""
    from dagnats.model.address import without_secrets
    from dagnats.runtime.waitpoint import completion_path

    run_id, step = shifted(last, run_id, step)
    found, made = run(_token(run_id, step, last))
    where, path = place(), completion_path(made)
    url = f"{without_secrets(where.url).rstrip('/')}{path}" if where.is_http else None
    if current().json:
        emit({**found, "token": made, "path": path, "url": url})
        return
    say(made)
    told = f"curl -X POST {url} -d '{{…}}'" if url else f"POST {path}, at any `dagnats serve`, with the body"
    say(f"{paint_err('Whoever has it completes', 'green')} {found['step_id']} by: {told}", err=True)


async def _all(workflow: str, limit: int) -> list[Waitpoint]:
    async with open_client() as client:
        return await client.waitpoints(workflow=workflow, limit=limit)


async def _one(run_id: str, step: str, last: bool) -> Waitpoint:
    async with open_client() as client:
        return await client.waitpoint((await find(client, run_id, last)).run_id, step)


async def _token(run_id: str, step: str, last: bool) -> tuple[dict[str, str], str]:
    async with open_client() as client:
        run_id = (await find(client, run_id, last)).run_id
        step = step or (await client.waitpoint(run_id)).step_id
        return {"run_id": run_id, "step_id": step}, await client.handle(run_id).waitpoint_token(step)


async def _complete(run_id: str, step: str, body: bytes, last: bool, by: str, reason: str) -> Waitpoint:
    import msgspec

    from dagnats.client.waitpoint import complete

    async with open_client() as client:
        found = await client.waitpoint((await find(client, run_id, last)).run_id, step)
        await complete(client, found, msgspec.json.decode(body) if body else None, by=by, reason=reason)
        return found


async def _cancel(found: Waitpoint, by: str, reason: str) -> None:
    async with open_client() as client:
        await client.handle(found.run_id).fail_step(found.step_id, reason or "its wait was given up", by=by)


def _row(each: Waitpoint, now_ns: int, *, whole: bool) -> tuple[str, ...]:
    run_id = each.run_id if whole else short(each.run_id)
    age = _age(each.since_ns, now_ns)
    return (run_id, each.workflow, each.step_id, each.kind, age, _until(each) or "-", each.resumed_by)


def _until(each: Waitpoint) -> str:
    from dagnats.model.instant import second_text

    return second_text(each.until_ns) if each.until_ns else ""


def _age(since_ns: int, now_ns: int) -> str:
    seconds = max(now_ns - since_ns, 0) // _SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _name(each: Waitpoint) -> dict[str, Any]:
    return {"run_id": each.run_id, "step_id": each.step_id}


def _document(each: Waitpoint) -> dict[str, Any]:
    import msgspec

    from dagnats.client.installation import waitpoint_document

    return msgspec.to_builtins(waitpoint_document(each))


def _say(document: dict[str, Any], line: str) -> None:
    if current().json:
        emit(document)
    else:
        say(line)
