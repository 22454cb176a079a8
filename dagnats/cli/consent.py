"""Asking before something is destroyed."""

from __future__ import annotations

import sys

import typer

from dagnats.cli.option import UsageError, current
from dagnats.cli.output import paint_err, say

FORCE = typer.Option(False, "--force", help="Do not ask first. Needed where nobody can be asked.")

_YES = ("y", "yes")


def expect_consent(question: str, *, force: bool) -> None:
    """Return when it may be done: somebody at a terminal says so, or `--force` does.

    Raises:
        UsageError: Nobody can be asked.
        typer.Exit: The answer is no.
    """
    if force:
        return
    if current().json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"nobody can be asked here: {question}", hint="--force does it unasked")
    say(f"{paint_err(question, 'yellow')} [y/N]", err=True)
    if sys.stdin.readline().strip().lower() not in _YES:
        say("Nothing was done.", err=True)
        raise typer.Exit(1)
