"""Which run a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagnats.cli import completion
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import say

if TYPE_CHECKING:
    from dagnats.client import AnyClient, AnyRun

RUN_ID = typer.Argument(
    "",
    metavar="RUN_ID",
    help="The run: its id, or the first 8 characters or more.",
    show_default=False,
    autocompletion=completion.run_ids,
)
LAST = typer.Option(False, "--last", help="The newest run, instead of an id.")

BY = typer.Option("", "--by", metavar="NAME", help="Who does it; the history keeps it.")
REASON = typer.Option("", "--reason", metavar="TEXT", help="Why; the history keeps it.")
AFTER = typer.Option("", "--after", metavar="TIME", help="Only runs that were started then or later.")
BEFORE = typer.Option("", "--before", metavar="TIME", help="Only runs that were started before then.")

_SHORT = 8
_OURS = 32


async def find(client: AnyClient, run_id: str, last: bool) -> AnyRun:
    """The run that is meant: an id or a prefix of it, or the newest one."""
    if last and run_id:
        raise UsageError(f"--last and the run id {run_id!r} say two things", hint="leave one of them out")
    if not last and not run_id:
        raise UsageError("which run?", hint="give a run id, or --last for the newest run")
    handle = await client.newest() if last else await client.find(run_id)
    if handle.imported and not current().json:
        say(f"run {handle.run_id} was imported: this is how it was when it was exported", err=True)
    return handle


def shifted(last: bool, *words: str) -> tuple[str, ...]:
    """The words behind a command, run id first: with `--last` there is no id, and each word stands one place on.

    Raises:
        UsageError: There is one word too many.
    """
    if not last:
        return words
    if words[-1]:
        raise UsageError(f"--last and the run id {words[0]!r} say two things", hint="leave one of them out")
    return ("", *words[:-1])


def expect(word: str, name: str) -> str:
    """A word that has to be there, which typer cannot know where `--last` shifts them. Raises UsageError."""
    if not word:
        raise UsageError(f"missing argument {name!r}", hint="--help shows what is needed, in order")
    return word


def short(run_id: str) -> str:
    """A run's id as tables show it: the beginning of one that DagNats made, all of one that somebody chose."""
    is_ours = len(run_id) == _OURS and not set(run_id) - set("0123456789abcdef")
    return run_id[:_SHORT] if is_ours else run_id
