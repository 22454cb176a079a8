"""`worker.<task type>.exec`: a command that gets the input on stdin and prints the output.

Its exit code says how an attempt ended:

    0                 completed
    64, 65, 77, 78    failed for good: usage, data, permission, configuration (sysexits.h)
    75                try again later; when, a line `retry-after: 30s` on stderr says
    any other         failed; the step's retry policy decides
"""

from __future__ import annotations

import os
import re
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

from dagnats.errors import Abort, Retry
from dagnats.handling.verdict import InWords
from dagnats.model.duration import parse_duration
from dagnats.runtime.foreign.output import output_of
from dagnats.runtime.foreign.process import run_command

if TYPE_CHECKING:
    import msgspec

    from dagnats.config.worker import WorkerSettings
    from dagnats.handling.context import TaskContext
    from dagnats.runtime.foreign.process import Outcome

FOR_GOOD = (64, 65, 77, 78)
LATER = 75
DEFAULT_DELAY = timedelta(seconds=10)
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""All of the worker's environment that a command gets unasked: tokens are elsewhere in it."""

_MOST_SHOWN = 2_000
_RETRY_AFTER = re.compile(r"^retry-after:\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)


class CommandFailed(InWords):
    """A command did not do it; another attempt may."""


async def execute(worker: WorkerSettings, data: bytes, context: TaskContext) -> msgspec.Raw:
    """Run the command for one attempt.

    Raises:
        Abort: Trying again cannot help.
        Retry: It asked to be tried again later.
        CommandFailed: Anything else.
    """
    assert worker.exec is not None, "it has a command"
    argv = worker.exec
    try:
        outcome = await run_command(
            argv,
            data=data,
            env=environment(worker, context),
            cwd=worker.cwd,
            max_output_bytes=worker.max_output_bytes,
        )
    except OSError as error:
        where = f" in {worker.cwd!r}" if worker.cwd else ""
        raise CommandFailed(f"{argv[0]!r} cannot be started{where}: {error.strerror or error}") from None
    if outcome.is_too_large:
        raise Abort(f"{argv[0]!r} printed more than {worker.max_output_bytes} bytes")
    if outcome.code:
        raise _failure(argv[0], outcome)
    return output_of(outcome.output, f"what {argv[0]!r} printed")


def environment(worker: WorkerSettings, context: TaskContext) -> dict[str, str]:
    """A command's whole environment."""
    inherited = {name: os.environ[name] for name in (*INHERITED, *worker.env) if name in os.environ}
    return {
        **inherited,
        "DAGNATS_RUN_ID": context.run_id,
        "DAGNATS_STEP_ID": context.step_id,
        "DAGNATS_ATTEMPT": str(context.attempt),
        "DAGNATS_RETRY_COUNT": str(context.attempt - 1),
    }


def _failure(program: str, outcome: Outcome) -> Exception:
    said = outcome.error.decode("utf-8", "backslashreplace").strip()
    tail = f": {said[-_MOST_SHOWN:]}" if said else ""
    if outcome.code < 0:
        return CommandFailed(f"{program!r} was ended by {_signal_name(-outcome.code)}{tail}")
    text = f"{program!r} exited with {outcome.code}{tail}"
    if outcome.code in FOR_GOOD:
        return Abort(text)
    return Retry(text, after=_delay(said)) if outcome.code == LATER else CommandFailed(text)


def _delay(said: str) -> timedelta:
    """How long a command wants us to wait: seconds, or a duration with its unit."""
    asked = _RETRY_AFTER.findall(said)
    if not asked:
        return DEFAULT_DELAY
    try:
        return parse_duration(f"{asked[-1]}s" if asked[-1].isdigit() else asked[-1])
    except ValueError:
        return DEFAULT_DELAY


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
