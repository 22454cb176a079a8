"""Applies what may change in a configuration while a server runs: its workflows and its policy. All of it or nothing.

What a newer file says wrongly is told once, and what was loaded before stays in force.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol

import msgspec

from dagnats.config.watch import needs_restart
from dagnats.errors import DagnatsError, DefinitionError, InputError, Problem
from dagnats.model.instant import rfc3339
from dagnats.runtime.loaded import LOADED, Fault, Loaded
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagnats.config.load import Configuration
    from dagnats.config.watch import Watch
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.plane.charter import Charter
    from dagnats.runtime.ports import Clock, Inquiries

log = logging.getLogger("dagnats.config")

_EVERY_S = 0.5


class Registrar(Protocol):
    """A client, seen from here."""

    async def register_all(self, definitions: Sequence[WorkflowDef]) -> object: ...


class Reloader:
    """Keeps a server as its configuration says.

    Args:
        watch: The configuration.
        client: Registers its workflows.
        charter: Has its policy.
    """

    def __init__(self, watch: Watch, client: Registrar, charter: Charter, clock: Clock) -> None:
        self._watch = watch
        self._client = client
        self._charter = charter
        self._clock = clock
        self.state = Loaded(
            host=socket.gethostname(), pid=os.getpid(), file=str(watch.first.file or ""), loaded_at=self._now()
        )

    async def begin(self) -> None:
        """Apply what the configuration said at first. Raises DefinitionError: a workflow runs one that is unknown."""
        await self._apply(self._watch.first)

    async def run(self) -> NoReturn:
        """Apply what changes, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            if self._watch.has_changed():
                await self.reload()

    async def reload(self) -> None:
        """Read the configuration, and apply it if it can be."""
        try:
            found = await asyncio.to_thread(self._watch.read)
            await self._apply(found)
        except DagnatsError as error:
            self._refuse(error)
            return
        restart = needs_restart(self._watch.first, found)
        self.state = msgspec.structs.replace(
            self.state, loaded_at=self._now(), refused_at="", problems=(), restart=restart
        )
        later = f"; from the next start: {', '.join(restart)}" if restart else ""
        log.info("%s was read again, and is in force%s", self.state.file or "the configuration", later)

    async def _apply(self, found: Configuration) -> None:
        if found.workflows:
            await persist(partial(self._client.register_all, found.workflows))
        self._charter.replace(found.settings.policy.control_plane)

    def _refuse(self, error: DagnatsError) -> None:
        if isinstance(error, InputError | DefinitionError):
            title, problems = error.title, error.problems
        else:  # the server does not take it: a definition is too large, for instance
            title, problems = "the configuration cannot be applied", (Problem("", "refused", str(error), error.hint),)
        listed = "\n".join(f"  {_told(problem)}" for problem in problems)
        log.warning("%s; what was read at %s stays in force\n%s", title, self.state.loaded_at, listed)
        problems = tuple(_fault(problem) for problem in problems)
        self.state = msgspec.structs.replace(self.state, refused_at=self._now(), problems=problems)

    def _now(self) -> str:
        return rfc3339(self._clock.now_ns())


def _told(problem: Problem) -> str:
    where = f" ({problem.source})" if problem.source else ""
    return "; ".join(part for part in (f"{problem.message}{where}", problem.hint) if part)


def _fault(problem: Problem) -> Fault:
    return Fault(
        path=problem.path, rule=problem.rule, message=problem.message, hint=problem.hint, source=problem.source
    )


def tell_loaded(inquiries: Inquiries, reloader: Reloader) -> Callable[[], None]:
    """Answer what is loaded; what is returned ends it."""

    async def answer(data: bytes) -> bytes:
        return msgspec.json.encode(reloader.state)

    return inquiries.answer(LOADED, answer)
