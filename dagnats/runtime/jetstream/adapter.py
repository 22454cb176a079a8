"""Everything behind one NATS connection, as the ports the shell asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import RefusedError
from dagnats.runtime.blob import BlobCache
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.jetstream.audit import JetStreamAudit
from dagnats.runtime.jetstream.batch import GroupCommit
from dagnats.runtime.jetstream.blob import JetStreamBlobs
from dagnats.runtime.jetstream.board import JetStreamBoard
from dagnats.runtime.jetstream.cell import JetStreamCell
from dagnats.runtime.jetstream.checkpoint import JetStreamCheckpoints
from dagnats.runtime.jetstream.chunk import JetStreamChunks
from dagnats.runtime.jetstream.claim import JetStreamClaims
from dagnats.runtime.jetstream.dial import JetStreamDial
from dagnats.runtime.jetstream.directory import JetStreamDirectory
from dagnats.runtime.jetstream.event import JetStreamEvents
from dagnats.runtime.jetstream.feed import JetStreamEventFeed, JetStreamLogFeed
from dagnats.runtime.jetstream.history import JetStreamLog
from dagnats.runtime.jetstream.inquiry import JetStreamInquiries
from dagnats.runtime.jetstream.keeper import JetStreamKeeper
from dagnats.runtime.jetstream.letter import JetStreamDeadLetters
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.notice import JetStreamNotices
from dagnats.runtime.jetstream.peer import peers_of
from dagnats.runtime.jetstream.policy import Policy, Settings
from dagnats.runtime.jetstream.pulse import JetStreamPulses
from dagnats.runtime.jetstream.queue import JetStreamTaskFeed, JetStreamTaskQueue, hear_cancellations
from dagnats.runtime.jetstream.read import streams_of
from dagnats.runtime.jetstream.record import JetStreamRecords, JetStreamTenures
from dagnats.runtime.jetstream.request import JetStreamRequests
from dagnats.runtime.jetstream.resources import (
    HISTORY,
    IMPORTS,
    NOT_FOUND,
    TRIGGER_TYPES,
    TRIGGERS,
    defects,
    prepare,
    stream_names,
)
from dagnats.runtime.jetstream.secret import JetStreamSecrets
from dagnats.runtime.jetstream.signal import JetStreamSignals
from dagnats.runtime.jetstream.snapshot import JetStreamSnapshots
from dagnats.runtime.jetstream.store import JetStreamDefinitions
from dagnats.runtime.jetstream.telemetry import JetStreamTelemetry
from dagnats.runtime.jetstream.timers import JetStreamTimers, JetStreamWakeupFeed
from dagnats.runtime.jetstream.token import JetStreamTokens
from dagnats.runtime.jetstream.waiter import JetStreamWaiters
from dagnats.runtime.ports import Defect, EventFeed, Holding, LogFeed, Overview, Ports, TaskFeed, WakeupFeed
from dagnats.runtime.room import MeasuredRoom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from dagnats.runtime.ports import Peer, Sync, TaskDelivery, TaskKeeper


class _Identity(msgspec.Struct):
    id: str


class _Answer(msgspec.Struct):
    server: _Identity


class JetStreamServer:
    """`ports.Server`."""

    def __init__(self, link: Link, policy: Policy) -> None:
        self._link = link
        self._policy = policy

    async def overview(self) -> Overview:
        streams = stream_names() & set(await streams_of(self._link))
        # A run's history has no dots. Both counts at once: a tick that leaves in between would count as a run.
        state = (await self._link.api(f"STREAM.INFO.{HISTORY}", {"subjects_filter": "history.*.>"}))["state"]
        own: dict[str, int] = state.get("subjects") or {}
        runs = max(state.get("num_subjects", 0) - len(own), 0)
        return Overview(jetstream=True, streams=len(streams), runs=runs, namespace=self._link.namespace)

    async def defects(self) -> list[Defect]:
        return await defects(self._link)

    async def holding(self) -> Holding:
        account, log = await asyncio.gather(self._link.api("INFO"), self._log())
        used, limit = int(account.get("storage", 0)), int(account.get("limits", {}).get("max_storage", 0))
        whole = [Holding(used, limit, "account")] if limit > 0 else []
        if most := await self._most_bytes():
            whole.append(Holding(used, most, "server"))
        return max(Holding(used, 0), *whole, log, key=lambda each: (each.limit > 0, each.share))

    async def _most_bytes(self) -> int:
        """How much the server stores at most. It tells no account; who has started it has noted it."""
        said = self._policy.settings
        return said.most_bytes if said.most_bytes and said.server == await self.start() else 0

    async def _log(self) -> Holding:
        try:
            found = await self._link.api(f"STREAM.INFO.{HISTORY}")
        except RefusedError as error:
            if error.code != NOT_FOUND:
                raise
            return Holding(0, 0)  # nobody has prepared the server yet
        limit = int(found["config"].get("max_bytes", 0))
        return Holding(int(found["state"]["bytes"]), limit, "log") if limit > 0 else Holding(0, 0)

    async def peers(self) -> list[Peer]:
        return peers_of(await self._link.api(f"STREAM.INFO.{HISTORY}"))

    async def sync(self) -> Sync:
        await self._policy.read()
        return self._policy.sync

    async def start(self) -> str:
        # A server makes itself a new id whenever it is started. Of several, this is the one we are connected to.
        answer = await self._link.request("$SYS.REQ.USER.INFO")
        try:
            return msgspec.json.decode(answer.data, type=_Answer).server.id
        except msgspec.DecodeError:  # an account that may not ask
            return ""

    async def prepare(self, *, sync: Sync | None = None, most_bytes: int = 0) -> None:
        await prepare(self._link)
        if sync is not None:
            await self._policy.write(Settings(sync, most_bytes, await self.start() if most_bytes else ""))

    async def close(self) -> None:
        await self._link.close()


class JetStreamFeeds:
    """`ports.EngineFeeds` and `ports.WorkerFeeds`."""

    def __init__(self, link: Link, dial: Callable[[], Awaitable[Link]]) -> None:
        self._link = link
        self._dial = dial

    async def history(self, after: int) -> LogFeed:
        return await JetStreamLogFeed.open(self._link, after)

    async def wakeups(self) -> WakeupFeed:
        return await JetStreamWakeupFeed.open(self._link, JetStreamDeadLetters(self._link))

    async def events(self, after: int) -> EventFeed:
        return await JetStreamEventFeed.open(self._link, after)

    async def tasks(self, task_type: str, *, ack_wait_s: float, most: int, group: str = "") -> TaskFeed:
        return await JetStreamTaskFeed.open(self._link, task_type, ack_wait_s=ack_wait_s, most=most, group=group)

    def keeper(
        self, held: Callable[[], Sequence[TaskDelivery]], *, every_s: float, look: Callable[[], None]
    ) -> TaskKeeper:
        return JetStreamKeeper(self._dial, held, every_s, look)

    def cancellations(self, told: Callable[[str, bytes], None]) -> Callable[[], None]:
        return hear_cancellations(self._link, told)


class JetStream:
    """An open connection: its ports, and the feeds engines and workers read. Closes with `async with`.

    Args:
        link: The connection.
        policy: How the server stores.
        dial: Opens another connection to the same server.
    """

    def __init__(self, link: Link, policy: Policy, dial: Callable[[], Awaitable[Link]]) -> None:
        self.link = link
        self.feeds = JetStreamFeeds(link, dial)
        clock, server = SystemClock(), JetStreamServer(link, policy)
        self.ports = Ports(
            server=server,
            room=MeasuredRoom(server),
            log=JetStreamLog(link, GroupCommit(link, policy)),
            # One full queue must not hold up the runs that need it not: their tasks wait in the same line.
            tasks=JetStreamTaskQueue(link, GroupCommit(link, policy, refused_when_full=True)),
            snapshots=JetStreamSnapshots(link, GroupCommit(link, policy)),
            definitions=JetStreamDefinitions(link, clock),
            timers=JetStreamTimers(link),
            dead_letters=JetStreamDeadLetters(link),
            telemetry=JetStreamTelemetry(link),
            claims=JetStreamClaims(link),
            blobs=BlobCache(JetStreamBlobs(link)),
            imports=JetStreamBlobs(link, stream=IMPORTS, root="imported"),
            events=JetStreamEvents(link),
            waiters=JetStreamWaiters(link),
            signals=JetStreamSignals(link),
            checkpoints=JetStreamCheckpoints(link),
            pulses=JetStreamPulses(link),
            chunks=JetStreamChunks(link),
            notices=JetStreamNotices(link),
            inquiries=JetStreamInquiries(link),
            directory=JetStreamDirectory(link),
            secrets=JetStreamSecrets(link),
            tokens=JetStreamTokens(link),
            audit=JetStreamAudit(link),
            lease=JetStreamCell(link, "engine.lease"),
            position=JetStreamCell(link, "engine.position"),
            correlated=JetStreamCell(link, "engine.correlated"),
            dial=JetStreamDial(link),
            board=JetStreamBoard(link),
            trigger_types=JetStreamRecords(link, TRIGGER_TYPES),
            triggers=JetStreamRecords(link, TRIGGERS),
            tenures=JetStreamTenures(link),
            requests=JetStreamRequests(link),
            clock=clock,
        )

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats", namespace: str = "") -> JetStream:
        """Connect to NATS, within a namespace if one is given. Raises UnavailableError when nothing answers there."""

        def dial(name: str) -> Awaitable[Link]:
            return Link.connect(url, token=token, name=name, namespace=namespace)

        link = await dial(name)
        policy = Policy(link)
        await policy.read()
        return cls(link, policy, lambda: dial(f"{name} keeper"))

    async def close(self) -> None:
        await self.link.close()

    async def __aenter__(self) -> JetStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
