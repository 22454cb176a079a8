"""The process that runs a project's handlers for `dev`, and the next one, which is made ready beside it.

A new process imports the project and registers its workflows first. Only then does the one before it end, so that code
that does not work changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dagnats.model.namespace import NONE

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping, Sequence

READY, GO = b"r", b"g"
"""What a new process says once it could begin, and what it is told then."""

STOP_S = 5.0


class Crew(Protocol):
    """Whoever runs the handlers."""

    async def replace(self) -> bool:
        """Run the code as it is now. False when it does not work, which has been told: what ran before goes on.

        Cancelled, it gives the new code up; `stop` still ends what ran before.
        """
        ...

    async def stop(self) -> None:
        """End what runs. May be called again."""
        ...


class _Member(NamedTuple):
    """A process, and our end of the line to it, which closes when we end, however that happens."""

    process: Process
    line: socket.socket


class Processes:
    """`Crew`: each state of the code in a process of its own.

    Args:
        targets: What it imports.
        env: Its environment.
        options: Of every command.
        lost: Called when a process ends that nobody has told to.
        stop_s: How long one may take to end before it is killed.
    """

    def __init__(
        self,
        targets: Sequence[str],
        env: Mapping[str, str],
        options: Sequence[str],
        lost: Callable[[int], None],
        *,
        stop_s: float = STOP_S,
    ) -> None:
        self._words = (*options, "--", *targets)
        self._env = env
        self._lost = lost
        self._stop_s = stop_s
        self._working: _Member | None = None
        self._next: _Member | None = None
        self._watching: asyncio.Task[None] | None = None

    async def replace(self) -> bool:
        await self._give_up()
        member = self._next = await self._start()
        said = b""
        try:
            said = await asyncio.get_running_loop().sock_recv(member.line, 1)
        finally:
            if said != READY:
                await self._give_up()
        if said != READY:
            return False
        await self._dismiss()
        self._working, self._next = member, None
        member.line.send(GO)
        self._watching = asyncio.create_task(self._watch(member.process), name="dev: crew")
        return True

    async def _start(self) -> _Member:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dagnats.cli.recruit",
                str(theirs.fileno()),
                *self._words,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # A ctrl-C in the terminal is for us, and we tell it.
                start_new_session=True,
            )
        return _Member(process, ours)

    async def _watch(self, process: Process) -> None:
        code = await process.wait()
        if self._working is not None:
            self._working.line.close()
        self._working = None
        self._lost(code)

    async def stop(self) -> None:
        await self._dismiss()
        await self._give_up()

    async def _give_up(self) -> None:
        if self._next is not None:
            await self._end(self._next)
        self._next = None

    async def _dismiss(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._working is not None:
            await self._end(self._working)
        self._working = None  # not before: who is cancelled meanwhile ends it once more

    async def _end(self, member: _Member) -> None:
        """SIGTERM, and SIGKILL when that does not end it."""
        process, line = member
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._stop_s):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        finally:
            line.close()


def environment(url: str, token: str, namespace: str) -> dict[str, str]:
    """What a process of the crew has: ours, the server, and that it is one."""
    others = {name: value for name, value in os.environ.items() if name != "DAGNATS_TOKEN_FILE"}
    # No bytecode: it is found by the second of a file's change, and two changes may lie in one.
    return {
        **others,
        "DAGNATS_URL": url,
        "DAGNATS_TOKEN": token,
        "DAGNATS_NAMESPACE": namespace or NONE,
        "DAGNATS_DEV_MODE": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
