"""Everything behind one connection to a server in memory, as the ports the shell asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.audit import MemoryAudit
from dagnats.runtime.memory.blob import MemoryBlobs
from dagnats.runtime.memory.board import MemoryBoard
from dagnats.runtime.memory.cell import MemoryCell
from dagnats.runtime.memory.checkpoint import MemoryCheckpoints
from dagnats.runtime.memory.chunk import MemoryChunks
from dagnats.runtime.memory.claim import MemoryClaims
from dagnats.runtime.memory.dial import MemoryDial
from dagnats.runtime.memory.directory import MemoryDirectory
from dagnats.runtime.memory.event import MemoryEvents
from dagnats.runtime.memory.feed import MemoryEventFeed, MemoryLogFeed
from dagnats.runtime.memory.history import MemoryLog
from dagnats.runtime.memory.inquiry import MemoryInquiries
from dagnats.runtime.memory.letter import MemoryDeadLetters
from dagnats.runtime.memory.link import Call
from dagnats.runtime.memory.notice import MemoryNotices
from dagnats.runtime.memory.pulse import MemoryPulses
from dagnats.runtime.memory.queue import MemoryKeeper, MemoryTaskFeed, MemoryTaskQueue
from dagnats.runtime.memory.record import MemoryRecords, MemoryRequests, MemoryTenures
from dagnats.runtime.memory.secret import MemorySecrets
from dagnats.runtime.memory.signal import MemorySignals
from dagnats.runtime.memory.snapshot import MemorySnapshots
from dagnats.runtime.memory.store import MemoryDefinitions
from dagnats.runtime.memory.telemetry import MemoryTelemetry
from dagnats.runtime.memory.timers import MemoryTimers, MemoryWakeupFeed
from dagnats.runtime.memory.token import MemoryTokens
from dagnats.runtime.memory.waiter import MemoryWaiters
from dagnats.runtime.ports import Defect, EventFeed, Holding, LogFeed, Overview, Peer, Ports, TaskFeed, WakeupFeed
from dagnats.runtime.room import MeasuredRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.ports import Clock, Sync, TaskDelivery, TaskKeeper


class MemoryServerPort:
    """`ports.Server`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def overview(self) -> Overview:
        def look() -> Overview:
            runs = self._server.history.subjects("history.*")  # DagNats's own have a dot
            return Overview(True, len(self._server.streams), len(runs))

        return await self._link.request(Call("server.overview", "server", look))

    async def defects(self) -> list[Defect]:
        """None: everything is there from the beginning."""
        return []

    async def holding(self) -> Holding:
        def look() -> Holding:
            log = self._server.history
            if log.max_bytes:
                return Holding(log.bytes, log.max_bytes, "log")
            return Holding(sum(stream.bytes for stream in self._server.streams), 0)

        return await self._link.request(Call("server.holding", "server", look))

    async def peers(self) -> list[Peer]:
        return []

    async def sync(self) -> Sync:
        return "always"

    async def start(self) -> str:
        return await self._link.request(Call("server.start", "server", lambda: f"start-{self._server.generation}"))

    async def prepare(self, *, sync: Sync | None = None, most_bytes: int = 0) -> None:
        """Everything is there from the beginning."""

    async def close(self) -> None:
        self._link.close()


class MemoryFeeds:
    """`ports.EngineFeeds` and `ports.WorkerFeeds`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def history(self, after: int) -> LogFeed:
        return await MemoryLogFeed.open(self._server, self._link, after)

    async def wakeups(self) -> WakeupFeed:
        return MemoryWakeupFeed(self._server, self._link)

    async def events(self, after: int) -> EventFeed:
        return await MemoryEventFeed.open(self._server, self._link, after)

    async def tasks(self, task_type: str, *, ack_wait_s: float, most: int, group: str = "") -> TaskFeed:
        return await MemoryTaskFeed.open(
            self._server, self._link, task_type, ack_wait_s=ack_wait_s, most=most, group=group
        )

    def keeper(
        self, held: Callable[[], Sequence[TaskDelivery]], *, every_s: float, look: Callable[[], None]
    ) -> TaskKeeper:
        return MemoryKeeper(held, every_s)

    def cancellations(self, told: Callable[[str, bytes], None]) -> Callable[[], None]:
        hearer = (told, self._link)
        self._server.cancellations.append(hearer)
        return lambda: self._server.cancellations.remove(hearer)


class Memory:
    """An open connection: its ports, and the feeds engines and workers read. Closes with `async with`."""

    def __init__(self, server: MemoryServer, link: Link, clock: Clock) -> None:
        self.server = server
        self.link = link
        self.feeds = MemoryFeeds(server, link)
        port = MemoryServerPort(server, link)
        self.ports = Ports(
            server=port,
            room=MeasuredRoom(port),
            log=MemoryLog(server, link),
            tasks=MemoryTaskQueue(server, link),
            snapshots=MemorySnapshots(server, link),
            definitions=MemoryDefinitions(server, link),
            timers=MemoryTimers(server, link),
            dead_letters=MemoryDeadLetters(server, link),
            telemetry=MemoryTelemetry(server, link),
            claims=MemoryClaims(server, link),
            lease=MemoryCell(server, link, "engine.lease"),
            position=MemoryCell(server, link, "engine.position"),
            correlated=MemoryCell(server, link, "engine.correlated"),
            dial=MemoryDial(server, link),
            board=MemoryBoard(server, link),
            events=MemoryEvents(server, link),
            waiters=MemoryWaiters(server, link),
            signals=MemorySignals(server, link),
            checkpoints=MemoryCheckpoints(server, link),
            pulses=MemoryPulses(server, link),
            chunks=MemoryChunks(server, link),
            notices=MemoryNotices(server, link),
            inquiries=MemoryInquiries(server, link),
            directory=MemoryDirectory(server, link),
            secrets=MemorySecrets(server, link),
            tokens=MemoryTokens(server, link),
            audit=MemoryAudit(server, link),
            blobs=MemoryBlobs(server.blobs, link),
            imports=MemoryBlobs(server.imports, link),
            trigger_types=MemoryRecords(server.trigger_types, link),
            triggers=MemoryRecords(server.triggers, link),
            tenures=MemoryTenures(server, link),
            requests=MemoryRequests(server, link),
            clock=clock,
        )

    async def close(self) -> None:
        self.link.close()

    async def __aenter__(self) -> Memory:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
