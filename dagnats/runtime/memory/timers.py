"""Durable wake-ups: waiting on `sleep.<run>.<seq>`, due ones on `due.<run>.<seq>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call
from dagnats.runtime.memory.queue import Pull
from dagnats.runtime.ports import Outstanding, Receipt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message
    from dagnats.runtime.ports import Wakeup

_BATCH = 256


class MemoryTimers:
    """`ports.Timers`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._stream = server.timers
        self._link = link

    def set(self, run_id: str, *, due_ns: int, seq: int, replaces: int, id: str) -> Awaitable[object]:
        subject = f"sleep.{run_id}.{seq}"

        def store() -> Receipt:
            receipt = self._stream.put(subject, b"%d" % due_ns, id=id)
            if receipt.duplicate:
                return receipt
            if replaces:  # if it has fired by now, it has fired
                self._stream.purge(f"sleep.{run_id}.{replaces}")
            self._server.arm(self._stream.at(receipt.seq))
            return receipt

        return self._link.surely(Call("timers.set", subject, store))

    async def drop(self, run_id: str, seq: int) -> None:
        subject = f"sleep.{run_id}.{seq}"
        await self._link.request(Call("timers.drop", subject, lambda: self._stream.purge(subject)))

    async def all(self) -> list[Outstanding]:
        found = await self._link.request(Call("timers.all", ">", lambda: self._stream.fitting(">")))
        names = [(message.subject.split("."), message.data) for message in found]
        return [Outstanding(run_id, int(seq), int(data)) for (_, run_id, seq), data in names]


class MemoryWakeup:
    """`ports.Wakeup`."""

    __slots__ = ("_message", "_pull", "due_ns", "run_id", "seq")

    def __init__(self, pull: Pull, message: Message) -> None:
        self._pull = pull
        self._message = message
        _, self.run_id, seq = message.subject.split(".")
        self.seq = int(seq)
        self.due_ns = int(message.data)

    def acknowledge(self) -> None:
        self._pull.acknowledge(self._message)


class MemoryWakeupFeed:
    """`ports.WakeupFeed`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._pull = Pull(link, server.wakeups, "wakeups")

    async def batch(self) -> Sequence[Wakeup]:
        return [MemoryWakeup(self._pull, message) for message, _ in await self._pull.take(_BATCH)]

    async def close(self) -> None:
        self._pull.close()
