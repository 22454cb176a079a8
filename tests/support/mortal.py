"""Ports of an engine that dies at a chosen boundary: before a write is sent, or after it is stored.

A boundary is `("tasks.put:stored", 3)`: the third time that a task's acknowledgement came. From then on nothing that
the engine asks for happens; what it had sent before goes on being stored, as with a killed process.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from dagnats.runtime.ports import Ports

WRITES = {
    "log": {"append", "append_after", "append_new"},
    "tasks": {"put"},
    "timers": {"set"},
    "dead_letters": {"put"},
    "blobs": {"put"},
    "snapshots": {"save"},
    "position": {"write"},
    "waiters": {"put", "drop"},
    "correlated": {"write"},
}


EVERY = os.environ.get("CRASH_POINTS") == "all"
"""Whether a boundary is tried at each of its passages: `make crash`.

Otherwise once: before a write is sent at the first passage, after it is stored at the last one. What is decided is the
same wherever the log is, and `tests/simulation/test_crash_points.py` takes far more deaths for that, in memory.
"""


class Killed(Exception):
    """The engine is dead."""


class Fate:
    """Where the engine dies, and how often it passed each boundary before."""

    def __init__(self, boundary: tuple[str, int] | None = None) -> None:
        self.boundary = boundary
        self.passed: Counter[str] = Counter()
        self.died = asyncio.Event()
        self.hanging: set[str] = set()
        """Writes that never return."""

    def cross(self, name: str) -> None:
        self.check()
        self.passed[name] += 1
        if self.boundary == (name, self.passed[name]):
            self.died.set()
            raise Killed(name)

    def check(self) -> None:
        if self.died.is_set():
            raise Killed("dead")

    def kill(self) -> None:
        self.died.set()

    def boundaries(self, *writes: str) -> list[tuple[str, int]]:
        """Where an engine can die that does the same again; only at some of the writes, if any are named."""
        passed = {name: count for name, count in self.passed.items() if not writes or name.split(":")[0] in writes}
        if EVERY:
            return [(name, at) for name, count in passed.items() for at in range(1, count + 1)]
        return [(name, 1 if name.endswith(":sent") else count) for name, count in passed.items()]


class _Port:
    def __init__(self, name: str, port: Any, fate: Fate) -> None:
        self._name = name
        self._port = port
        self._fate = fate

    def __getattr__(self, call: str) -> Any:
        attribute = getattr(self._port, call)
        if not callable(attribute):
            return attribute
        if call in WRITES.get(self._name, ()):
            return self._write(f"{self._name}.{call}", attribute)

        def checked(*args: Any, **kwargs: Any) -> Any:
            self._fate.check()
            return attribute(*args, **kwargs)

        return checked

    def _write(self, name: str, call: Any) -> Any:
        def write(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            self._fate.cross(f"{name}:sent")
            if name in self._fate.hanging:
                return asyncio.get_running_loop().create_future()
            return _Stored(call(*args, **kwargs), lambda: self._fate.cross(f"{name}:stored"))

        return write


class _Stored:
    """A write under way. Unlike a coroutine it may be left alone, as the dead do."""

    def __init__(self, under_way: Awaitable[Any], cross: Callable[[], None]) -> None:
        self._under_way = under_way
        self._cross = cross

    def __await__(self) -> Generator[Any, None, Any]:
        answer = yield from self._under_way.__await__()
        self._cross()
        return answer


class MortalFeeds:
    """The engine's feeds, dead with it."""

    def __init__(self, feeds: Any, fate: Fate) -> None:
        self._feeds = feeds
        self._fate = fate

    async def history(self, after: int) -> Any:
        self._fate.check()
        return _Port("feed", await self._feeds.history(after), self._fate)

    async def events(self, after: int) -> Any:
        self._fate.check()
        return _Port("feed", await self._feeds.events(after), self._fate)

    async def wakeups(self) -> Any:
        self._fate.check()
        return _Port("feed", await self._feeds.wakeups(), self._fate)


def mortal(ports: Ports, fate: Fate) -> Ports:
    """`ports` as an engine with this fate has them."""
    names = {field.name for field in fields(ports)} - {"server"}
    wrapped: dict[str, Any] = {name: _Port(name, getattr(ports, name), fate) for name in names}
    return replace(ports, **wrapped)
