"""Everything behind one NATS connection, as the ports the shell asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.history import JetStreamLog, JetStreamLogFeed
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.queue import JetStreamTaskFeed, JetStreamTaskQueue
from dagnats.runtime.jetstream.resources import HISTORY, prepare
from dagnats.runtime.jetstream.store import (
    JetStreamDeadLetters,
    JetStreamDefinitions,
    JetStreamLease,
    JetStreamSnapshots,
)
from dagnats.runtime.jetstream.timers import JetStreamTimers, JetStreamWakeupFeed
from dagnats.runtime.ports import LogFeed, Overview, Ports, TaskFeed, WakeupFeed

if TYPE_CHECKING:
    from types import TracebackType


class JetStreamServer:
    """`ports.Server`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def overview(self) -> Overview:
        account = await self._link.api("INFO")
        state = (await self._link.api(f"STREAM.INFO.{HISTORY}"))["state"]
        return Overview(jetstream=True, streams=account.get("streams", 0), runs=state.get("num_subjects", 0))

    async def prepare(self) -> None:
        await prepare(self._link)

    async def close(self) -> None:
        await self._link.close()


class JetStreamFeeds:
    """`ports.EngineFeeds` and `ports.WorkerFeeds`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def history(self) -> LogFeed:
        return await JetStreamLogFeed.open(self._link)

    async def wakeups(self) -> WakeupFeed:
        return await JetStreamWakeupFeed.open(self._link)

    async def tasks(self, task_type: str, *, ack_wait_s: float, most: int) -> TaskFeed:
        return await JetStreamTaskFeed.open(self._link, task_type, ack_wait_s=ack_wait_s, most=most)


class JetStream:
    """An open connection: its ports, and the feeds engines and workers read. Closes with `async with`."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.feeds = JetStreamFeeds(link)
        self.ports = Ports(
            server=JetStreamServer(link),
            log=JetStreamLog(link),
            tasks=JetStreamTaskQueue(link),
            snapshots=JetStreamSnapshots(link),
            definitions=JetStreamDefinitions(link),
            timers=JetStreamTimers(link),
            dead_letters=JetStreamDeadLetters(link),
            lease=JetStreamLease(link),
        )

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats") -> JetStream:
        """Connect to NATS. Raises UnavailableError when nothing answers there."""
        return cls(await Link.connect(url, token=token, name=name))

    async def close(self) -> None:
        await self.link.close()

    async def __aenter__(self) -> JetStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
