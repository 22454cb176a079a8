"""`dlq …`: what nothing more could be done with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import emit, emit_line, one_line, paint, room, say, table
from dagnats.cli.target import BY, short

if TYPE_CHECKING:
    from dagnats.client import AnyClient, DeadLetter

app = typer.Typer(help="Manage the dead-letter queue.")

HEADER = ("SEQ", "SUBJECT", "RUN_ID", "STEP_ID", "TASK", "ERROR", "TIMESTAMP")

_SEQ = typer.Argument(metavar="SEQ", help="The dead letter's number.", show_default=False)
_RUN = typer.Option("", "--run", metavar="RUN_ID", help="Only those of this run.")
_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")


@app.command("list")
def list_letters(
    run_id: str = _RUN,
    limit: int = typer.Option(50, "--limit", metavar="N", min=1, help="The newest so many."),
    wide: bool = _WIDE,
) -> None:
    """List dead letters, oldest first."""
    found = run(_letters(run_id))
    listed = found[-limit:]
    if current().json:
        emit([_document(letter) for letter in listed])
        return
    if not listed:
        say("There are no dead letters.")
        return
    for line in table(HEADER, [_row(letter) for letter in listed], None if wide else room()):
        say(line)
    if len(found) > len(listed):
        say(f"{paint('hint:', 'cyan')} these are the newest of {len(found)}; --limit shows more", err=True)


@app.command()
def inspect(seq: int = _SEQ) -> None:
    """Show a dead letter whole: why, and the message itself."""
    letter = run(_letter(seq))
    if current().json:
        emit({**_document(letter), "headers": dict(letter.headers), "body": _body(letter)})
        return
    from dagnats.model.instant import table_time

    told = (
        ("Sequence", str(letter.seq)),
        ("Subject", letter.subject),
        ("Run", letter.run_id),
        ("Step", letter.step_id),
        ("Task", letter.task),
        ("Attempts", str(letter.attempts) if letter.attempts else ""),
        ("Time", f"{table_time(letter.time_ns)} UTC"),
        ("Error", one_line(letter.error)),
    )
    for name, value in told:
        if value:
            say(f"{name}: {value}")
    say()
    say("Body:")
    say(f"  {_body(letter)}")


@app.command()
def replay(
    seq: int = typer.Argument(0, metavar="SEQ", help="The dead letter's number.", show_default=False),
    run_id: str = typer.Option("", "--run", metavar="RUN_ID", help="All of this run, instead of one."),
    by: str = BY,
) -> None:
    """Try again: the run goes on at the step that failed. The letter goes when the step succeeds."""
    if bool(seq) is bool(run_id):
        raise UsageError("which dead letter?", hint="give its number, or --run for all of a run")
    done, whole = run(_replay(seq, run_id, by))
    if current().json:
        emit({"replayed": [letter.seq for letter in done], "run_id": whole})
    elif run_id:
        for letter in done:
            say(f"Replayed dead letter {letter.seq} ({letter.what})")
        say(f"Replayed {len(done)} dead letters for run {whole}")
    else:
        say(f"Replayed dead letter {seq}")


@app.command()
def discard(seq: int = _SEQ, force: bool = FORCE) -> None:
    """Drop a dead letter for good. Its run stays as it is."""
    letter = run(_letter(seq))
    expect_consent(f"Drop dead letter {seq} ({letter.what}: {one_line(letter.error)})?", force=force)
    run(_discard(seq))
    if current().json:
        emit({"seq": seq, "discarded": True})
    else:
        say(f"Discarded dead letter {seq}")


@app.command()
def watch(
    interval: str = typer.Option("30s", "--interval", metavar="DURATION", help="How often to look."),
    max_replays: int = typer.Option(3, "--max-replays", metavar="N", min=1, help="How often each step is tried again."),
    run_id: str = _RUN,
) -> None:
    """Replay dead letters as they come, until Ctrl-C. With --json, one line for each action."""
    from dagnats.cli.vigil import vigil
    from dagnats.model.duration import parse_duration

    try:
        interval_s = parse_duration(interval).total_seconds()
    except ValueError as error:
        raise UsageError(f"--interval: {error}") from None
    if interval_s <= 0:
        raise UsageError(f"--interval {interval} is no time", hint="write '30s'")
    if not current().json:
        say(f"Watching DLQ every {interval} (max {max_replays} replays per message)")
    run(_watch(interval_s, max_replays, run_id, vigil))


async def _watch(interval_s: float, most: int, run_id: str, vigil: Any) -> None:
    async with open_client() as client:
        whole = (await client.find(run_id)).run_id if run_id else ""
        await vigil(client, interval_s=interval_s, most=most, run_id=whole, act=_print_action)


def _print_action(action: str, letter: DeadLetter, count: int, most: int) -> None:
    if current().json:
        emit_line(
            {
                "action": action,
                "seq": letter.seq,
                "task": letter.task,
                "run_id": letter.run_id,
                "step_id": letter.step_id,
                "replays": count,
                "max_replays": most,
                "error": letter.error,
            }
        )
        return
    told = f"[{action} {count}/{most}] seq={letter.seq} task={letter.what} run={short(letter.run_id)}"
    say(f"{told} err={one_line(letter.error)}" if action == "replay" else told)


async def _whole_id(client: AnyClient, run_id: str) -> str:
    """A run's whole id; a dead letter may be of a run that is gone."""
    from dagnats.errors import NotFoundError

    try:
        return (await client.find(run_id)).run_id
    except NotFoundError:
        return run_id


async def _letters(run_id: str) -> list[DeadLetter]:
    async with open_client() as client:
        return await client.dead_letters(await _whole_id(client, run_id) if run_id else "")


async def _letter(seq: int) -> DeadLetter:
    async with open_client() as client:
        return await client.dead_letter(seq)


async def _replay(seq: int, run_id: str, by: str) -> tuple[list[DeadLetter], str]:
    async with open_client() as client:
        if not run_id:
            letter = await client.replay_dead_letter(seq, by=by)
            return [letter], letter.run_id
        whole = (await client.find(run_id)).run_id
        return await client.replay_dead_letters(whole, by=by), whole


async def _discard(seq: int) -> None:
    async with open_client() as client:
        await client.discard_dead_letter(seq)


def _row(letter: DeadLetter) -> tuple[str, ...]:
    from dagnats.model.instant import table_time

    when = table_time(letter.time_ns)
    cells = (short(letter.run_id), letter.step_id, letter.task, letter.error)
    return (str(letter.seq), _subject(letter), *(cell or "-" for cell in cells), when)


def _subject(letter: DeadLetter) -> str:
    """Its subject without the run and the step, which have columns of their own."""
    return letter.subject.removesuffix(f".{letter.run_id}.{letter.step_id}")


def _document(letter: DeadLetter) -> dict[str, Any]:
    from dagnats.model.instant import rfc3339

    return {
        "seq": letter.seq,
        "subject": letter.subject,
        "run_id": letter.run_id,
        "step_id": letter.step_id,
        "task": letter.task,
        "error": letter.error,
        "timestamp": rfc3339(letter.time_ns),
        "attempts": letter.attempts,
        "consumer": letter.consumer,
    }


def _body(letter: DeadLetter) -> str:
    """The message as text; what is no text shows as its Python bytes do."""
    try:
        return letter.body.decode()
    except UnicodeDecodeError:
        return repr(letter.body)
