"""`worker`: run the handlers of workflows, until somebody stops it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import configuration, open_client, run_long
from dagnats.cli.definition import TARGETS_HELP
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, paint, say
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.handling.handler import Handler
    from dagnats.runtime.worker import Worker

_CONCURRENCY = 64  # the default of `Worker`, which takes too long to import for `--help`


def worker(
    targets: list[str] | None = typer.Argument(None, metavar="TARGETS", help=TARGETS_HELP, show_default=False),
    concurrency: int = typer.Option(_CONCURRENCY, "--concurrency", metavar="N", min=1, help="Tasks at a time."),
) -> None:
    """Serve the handlers of workflows, and the commands and URLs that dagnats.yaml configures for task types.

    The first Ctrl-C or SIGTERM lets running tasks finish; the second one stops at once, and their tasks go back.
    """
    import logging

    if not current().debug:
        logging.getLogger("dagnats").setLevel(logging.INFO)
    handlers = _handlers(targets or [])
    if not handlers:
        where = ", ".join(targets or []) or "workflows/"
        raise DagnatsError(f"there is no handler in {where}", hint="a handler is a function with @handler or @wf.step")
    run_long(_work(handlers, concurrency))
    _leave_threads_behind()


def _handlers(targets: list[str]) -> list[Handler[..., Any]]:
    """What the targets hold, and what is configured; without targets and `workflows/`, only that."""
    from dagnats.dsl.discover import DEFAULT_TARGET, discover
    from dagnats.runtime.foreign.handler import foreign_handlers

    found = configuration()
    configured = foreign_handlers(found.settings.worker, found.worker_origin)
    if configured and not targets and not Path(DEFAULT_TARGET).is_dir():
        return configured
    return [*discover(targets).handlers.values(), *configured]


async def _work(handlers: Sequence[Handler[..., Any]], concurrency: int) -> None:
    import asyncio

    from dagnats.cli.interrupt import interrupts
    from dagnats.runtime.worker import Worker

    async with open_client("dagnats worker") as client:
        working = Worker(client, handlers, concurrency=concurrency)
        with interrupts(lambda: _stop(working)) as taken:
            _announce(working, concurrency)
            try:
                await working.run()
            except asyncio.CancelledError:
                if not taken.at_once:
                    raise


def _announce(working: Worker, concurrency: int) -> None:
    if current().json:
        emit({"worker_id": working.worker_id, "task_types": list(working.task_types), "concurrency": concurrency})
        return
    count = counted(len(working.task_types), "task type")
    say(f"{paint('Working', 'green', 'bold')} on {count}, {counted(concurrency, 'task')} at a time:")
    for task_type in sorted(working.task_types):
        say(f"  {task_type}")
    say("Ctrl-C stops when running tasks are done, a second one at once.")


def _stop(working: Worker) -> None:
    if not current().json:
        say("Stopping: running tasks finish first.", err=True)
    working.stop()


def _leave_threads_behind() -> None:
    """End the process even where a sync handler still runs: Python would wait for its thread without end."""
    busy = [thread for thread in threading.enumerate() if thread.name.startswith("dagnats-handler")]
    for thread in busy:
        thread.join(timeout=0.2)
    if any(thread.is_alive() for thread in busy):
        sys.stdout.flush()
        os._exit(0)
