"""What happened in an execution, as lines people read and as one hash of all that was stored."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message


class Trace:
    """The faults, and the streams' messages, in order.

    Args:
        keep: Whether the messages are kept as lines, too; the faults always are.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.lines: list[str] = []
        self.now: Callable[[], float] = lambda: 0.0
        self._keep = keep
        self._hash = hashlib.blake2b(digest_size=16)

    def watch(self, server: MemoryServer) -> None:
        """Note all that is stored from now on."""
        for stream in (server.history, server.tasks, server.own_tasks, server.engine, server.letters, server.timers):
            stream.listen(self._stored)

    def say(self, line: str) -> None:
        """Note what somebody did."""
        self.lines.append(f"{self.now():9.4f}  {line}")

    def _stored(self, message: Message) -> None:
        self._hash.update(b"%d %d %s %s" % (message.seq, message.time_ns, message.subject.encode(), message.data))
        if self._keep:
            text = message.data.decode(errors="replace")
            self.say(f"    {message.subject} [{message.seq}] {text}")

    @property
    def hash(self) -> str:
        """Of every message that was stored: its place, time, subject and bytes."""
        return self._hash.hexdigest()
