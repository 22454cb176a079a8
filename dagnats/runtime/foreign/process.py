"""A command as a child process: input in, output out, and nothing of it left when we are done.

The child leads a process group of its own. Whatever ends our wait, the group is gone before we go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, cast

from dagnats.runtime.embedded import die_with_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STOP_S = 5.0  # less than a worker's patience with a handler that has to end
_DRAIN_S = 1.0  # for what is still in the pipes of a child that has ended
_TAIL_BYTES = 8 * 1024
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Outcome(NamedTuple):
    """What became of a command.

    Attributes:
        code: Its exit code; below zero the number of the signal that ended it.
        output: What it printed.
        error: The end of what it printed on stderr.
        is_too_large: It printed more than it may, and was ended for that.
    """

    code: int
    output: bytes
    error: bytes
    is_too_large: bool


async def run_command(
    argv: Sequence[str],
    *,
    data: bytes,
    env: Mapping[str, str],
    cwd: str,
    max_output_bytes: int,
    stop_s: float = STOP_S,
) -> Outcome:
    """Run a command to its end. No shell is involved.

    When our task is cancelled, its group gets SIGTERM, and SIGKILL if it is still there after `stop_s`.

    Args:
        data: Its stdin.
        env: Its whole environment.
        cwd: Its folder; "" for ours.
        max_output_bytes: With more output it is ended.

    Raises:
        OSError: It cannot be started.
    """
    spawning = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(max_output_bytes),
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd=cwd or None,
            start_new_session=True,
            preexec_fn=die_with_us(os.getpid()) if sys.platform == "linux" else None,
        )
    )
    try:
        transport, child = await asyncio.shield(spawning)
    except asyncio.CancelledError:
        # asyncio would wait until nobody has the pipes any more, and its children have them too.
        with contextlib.suppress(OSError):
            await _end(*await spawning, stop_s)
        raise
    try:
        child.feed(data)
        await child.exited.wait()
        await _within(_DRAIN_S, child.drained)
    finally:
        await _end(transport, child, stop_s)
    code = transport.get_returncode()
    assert code is not None, "it has exited"
    return Outcome(code, bytes(child.output), bytes(child.error), child.is_too_large)


async def _end(transport: asyncio.SubprocessTransport, child: _Child, stop_s: float) -> None:
    """Leave nothing of a command, whether it has ended or not."""
    try:
        if not child.exited.is_set():
            _signal_group(child.pid, signal.SIGTERM)
            await _within(stop_s, child.exited)
    finally:
        _signal_group(child.pid, signal.SIGKILL)  # what the command left behind, too
        await _within(_DRAIN_S, child.exited)
        transport.close()


class _Child(asyncio.SubprocessProtocol):
    """Collects what a child prints, as far as anybody will look at it."""

    def __init__(self, max_output_bytes: int) -> None:
        self.pid = 0
        self.output = bytearray()
        self.error = bytearray()
        self.is_too_large = False
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self._open = {_STDOUT, _STDERR}
        self._max_output_bytes = max_output_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()

    def feed(self, data: bytes) -> None:
        """Give it its input; a child that does not want it may close the pipe, or have ended."""
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(_STDIN))
        with contextlib.suppress(RuntimeError):  # uvloop's word for a pipe that is closed
            pipe.write(data)
            pipe.write_eof()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self.error += data
            del self.error[:-_TAIL_BYTES]
            return
        room = self._max_output_bytes - len(self.output)
        self.output += data[:room]
        if len(data) > room and not self.is_too_large:
            self.is_too_large = True
            _signal_group(self.pid, signal.SIGKILL)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group whose members are all gone
        os.killpg(pid, number)
