"""A process of `dev`: imports the project, registers its workflows, and works once it is told to.

`python -m dagnats.cli.recruit FD [OPTIONS] -- [TARGETS]`. FD is a socket to the process that has started it; when that
closes, this one ends.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dagnats.cli import failure, option
from dagnats.cli.connection import open_nats, run_long
from dagnats.cli.crew import GO, READY, STOP_S
from dagnats.cli.register import told
from dagnats.cli.worker import served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.cli.worker import Served
    from dagnats.client import AsyncClient
    from dagnats.dsl.discover import Found
    from dagnats.model.definition import WorkflowDef

_GRACE = timedelta(seconds=STOP_S - 1)
_CANCEL_GRACE = timedelta(seconds=0.5)


def main(words: Sequence[str]) -> int:
    """Do all of it; gives the exit code."""
    options, rest = option.split(words[1:])
    option.use(options)
    try:
        return run_long(_serve(socket.socket(fileno=int(words[0])), rest[1:]))
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  # the edge: whatever it is, it is told and not thrown
        return failure.report(error)


async def _serve(line: socket.socket, targets: list[str]) -> int:
    from dagnats.dsl.discover import discover

    definitions = built(discover(targets))
    found = served(targets)
    line.setblocking(False)
    async with open_nats("dagnats dev") as client:
        working = worker(client, found) if found else None
        await told(client, definitions)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(line, READY)
        if await loop.sock_recv(line, 1) != GO:
            return 0
        if working is None:
            await loop.sock_recv(line, 1)
            return 0
        await _work(working, line)
    return 0


async def _work(working: Any, line: socket.socket) -> None:
    from dagnats.cli.interrupt import interrupts

    async def until_closed() -> None:
        await asyncio.get_running_loop().sock_recv(line, 1)
        working.stop()

    closing = asyncio.create_task(until_closed(), name="dev: line")
    with interrupts(working.stop):
        await working.run()
    closing.cancel()


def worker(client: AsyncClient, found: Served) -> Any:
    """A worker that ends as soon as `dev` wants it to."""
    from dagnats.runtime.worker import Worker

    return Worker(
        client,
        found.handlers,
        lifespan=found.lifespan,
        trigger_types=found.trigger_types,
        grace=_GRACE,
        cancel_grace=_CANCEL_GRACE,
    )


def built(found: Found) -> list[WorkflowDef]:
    """The definitions of the workflows. Raises InvalidWorkflows, with everything that is wrong with each."""
    from dagnats.cli.failure import InvalidWorkflows
    from dagnats.cli.register import NOTHING_REGISTERED
    from dagnats.errors import DefinitionError

    definitions: list[WorkflowDef] = []
    invalid: list[DefinitionError] = []
    for workflow in found.workflows.values():
        try:
            definitions.append(workflow.build())
        except DefinitionError as error:
            invalid.append(error)
    if invalid:
        raise InvalidWorkflows(invalid, NOTHING_REGISTERED)
    return definitions


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
