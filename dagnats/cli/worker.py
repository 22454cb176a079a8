"""`worker`: run the handlers of workflows, until somebody stops it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from dagnats.cli.connection import configuration, open_nats, run_long
from dagnats.cli.definition import TARGETS_HELP
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, say
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from datetime import timedelta

    from dagnats.handling.handler import Handler
    from dagnats.handling.trigger_type import TriggerType
    from dagnats.runtime.worker import Worker

_CONCURRENCY = 64  # the default of `Worker`, which takes too long to import for `--help`


def worker(
    targets: list[str] | None = typer.Argument(None, metavar="TARGETS", help=TARGETS_HELP, show_default=False),
    concurrency: int = typer.Option(_CONCURRENCY, "--concurrency", metavar="N", min=1, help="Tasks at a time."),
    limit: list[str] | None = typer.Option(
        None, "--limit", metavar="TYPE=N", help="Tasks of one type at a time; may be repeated.", show_default=False
    ),
    processes: int = typer.Option(
        0, "--processes", metavar="N", min=0, help="Handlers with process=True at a time; 0: one for each processor."
    ),
    group: str = typer.Option("", "--group", metavar="G", help="Serve the steps for this worker group only."),
    worker_id: str = typer.Option(
        "", "--worker-id", metavar="ID", help="How it is named in histories and in `workers`; made up if left out."
    ),
    grace: str = typer.Option(
        "30s", "--grace", metavar="DURATION", help="How long running tasks may go on after the first signal."
    ),
) -> None:
    """Serve handlers and trigger types, and the commands and URLs that dagnats.yaml configures for task types.

    What a module calls lifespan, a context manager without parameters, gives ctx.resources.
    The first Ctrl-C or SIGTERM lets running tasks finish; the second one stops at once, and their tasks go back.
    """
    import logging

    if not current().debug:
        logging.getLogger("dagnats").setLevel(logging.INFO)
    settings: dict[str, Any] = {
        "concurrency": concurrency,
        "limits": _limits(limit or []),
        "processes": processes or None,
        "group": group,
        "worker_id": worker_id,
        "grace": _grace(grace),
    }
    found = served(targets or [])
    if not found:
        where = ", ".join(targets or []) or "workflows/"
        raise DagnatsError(f"there is no handler in {where}", hint="a handler is a function with @handler or @wf.step")
    run_long(_work(found, settings))
    _leave_threads_behind()


def _limits(given: Sequence[str]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for each in given:
        task_type, _, count = each.rpartition("=")
        if not task_type or not count.isascii() or not count.isdigit():
            raise UsageError(f"--limit {each!r} is no limit", hint="write it as --limit payment.charge=4")
        limits[task_type] = int(count)
    return limits


def _grace(given: str) -> timedelta:
    from dagnats.model.duration import parse_duration

    try:
        return parse_duration(given)
    except ValueError as error:
        raise UsageError(f"--grace {given!r}: {error}", hint="write it as --grace 30s") from None


class Served(NamedTuple):
    """What a worker is made of. False when there is nothing to do."""

    handlers: list[Handler[..., Any]]
    lifespan: Callable[[], Any] | None = None
    trigger_types: tuple[TriggerType[Any], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.handlers or self.trigger_types)


def served(targets: list[str]) -> Served:
    """What the targets hold, and what is configured; without targets and `workflows/`, only that."""
    from dagnats.dsl.discover import DEFAULT_TARGET, discover
    from dagnats.runtime.foreign.handler import foreign_handlers

    found = configuration()
    configured = foreign_handlers(found.settings.worker, found.worker_origin)
    if configured and not targets and not Path(DEFAULT_TARGET).is_dir():
        return Served(configured)
    discovered = discover(targets)
    lifespan = discovered.lifespan
    return Served(
        [*discovered.handlers.values(), *configured],
        None if lifespan is None else _told(lifespan),
        tuple(discovered.trigger_types.values()),
    )


def _told(lifespan: Callable[[], Any]) -> Callable[[], Any]:
    """A lifespan whose failure to open is told as the user's, with its line."""
    from contextlib import AsyncExitStack, asynccontextmanager

    from dagnats.dsl.discover import TargetError
    from dagnats.handling.source import shown_source, source_of
    from dagnats.runtime.lifespan import opened

    shown = shown_source(source_of(lifespan))

    @asynccontextmanager
    async def told() -> AsyncGenerator[Any]:
        async with AsyncExitStack() as stack:
            try:
                resources = await stack.enter_async_context(opened(lifespan))
            except DagnatsError:
                raise
            except (Exception, SystemExit) as error:  # the user's code may raise anything
                why = f"{type(error).__name__}: {error}"
                raise TargetError(f"lifespan ({shown}) could not be opened: {why}") from error
            yield resources

    return told


async def _work(found: Served, settings: dict[str, Any]) -> None:
    import asyncio

    from dagnats.cli.interrupt import interrupts
    from dagnats.runtime.telemetry.sdk import begin_tracing
    from dagnats.runtime.worker import Worker

    begin_tracing()

    async with open_nats("dagnats worker") as client:
        try:
            working = Worker(
                client, found.handlers, lifespan=found.lifespan, trigger_types=found.trigger_types, **settings
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        with interrupts(lambda: _stop(working)) as taken:
            _announce(working, settings["concurrency"])
            try:
                await working.run()
            except asyncio.CancelledError:
                if not taken.at_once:
                    raise


def _announce(working: Worker, concurrency: int) -> None:
    if current().json:
        watched = {"trigger_types": list(working.trigger_types)} if working.trigger_types else {}
        emit(
            {
                "worker_id": working.worker_id,
                "task_types": list(working.task_types),
                **watched,
                "concurrency": concurrency,
            }
        )
        return
    count = counted(len(working.task_types), "task type")
    say(f"{paint('Working', 'green', 'bold')} on {count}, {counted(concurrency, 'task')} at a time:")
    for task_type in sorted(working.task_types):
        say(f"  {task_type}")
    if working.trigger_types:
        say(f"Watching for triggers of {', '.join(sorted(working.trigger_types))}, while no other worker does.")
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
