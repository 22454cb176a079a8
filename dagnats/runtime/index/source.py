"""Where the index gets the log from: an engine that reads it anyway, and a feed of its own where there is none.

Reading the log a second time would cost the server and this process as much as reading it once. So an engine of the
same process reads through a `Tap`, and the index listens there. While the engine is silent, or was further ahead when
the index came, the index reads for itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from dagnats.model.removal import RETENTION
from dagnats.runtime.index.fold import may_concern
from dagnats.runtime.index.store import Place
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.runtime.ports import EngineFeeds, Entry, EventFeed, LogFeed, Ports, WakeupFeed
    from dagnats.runtime.telemetry.meter import Meter

SILENT_S = 2.0  # of an engine: then the index looks for itself whether there is more
_MOST = 50_000  # events that wait to be written, of those that count


class Source:
    """What has come of the log since it was asked last.

    Attributes:
        place: How far the log was read.
        news: Set while there is something to take.
    """

    def __init__(
        self, ports: Ports, feeds: EngineFeeds, *, silent_s: float = SILENT_S, meter: Meter | None = None
    ) -> None:
        self._silent_s = silent_s
        self._meter = meter
        self._ports = ports
        self._feeds = feeds
        self._loop = asyncio.get_running_loop()
        self.place = Place()
        self.news = asyncio.Event()
        self._waiting: list[Entry] = []
        self._room = asyncio.Event()
        self._is_open = False
        self._heard = asyncio.Event()
        self._heard_at = 0.0
        self._cut: LogCut | None = None

    def open(self, place: Place) -> None:
        """Begin behind `place`."""
        self.place, self._is_open, self._cut = place, True, None
        self._waiting.clear()
        self._heard.clear()
        self._room.set()

    def close(self) -> None:
        """Take nothing in until it is opened again."""
        self._is_open = False

    def take(self) -> tuple[list[Entry], Place]:
        """What counts of what has come, and how far that is."""
        self.news.clear()
        taken, self._waiting = self._waiting, []
        self._room.set()
        return taken, self.place

    async def read(self) -> NoReturn:
        """Keep reading, while nobody tells what is in the log. Raises LogCut."""
        while True:
            if self._cut is not None:
                raise self._cut
            if self._heard.is_set():
                await self._wait_for_silence()
            else:
                await self._read_until_heard()

    async def _read_until_heard(self) -> None:
        feed = await persist(lambda: self._feeds.history(self.place.seq))
        heard = asyncio.create_task(self._heard.wait())
        try:
            while not self._heard.is_set():
                batch = asyncio.create_task(feed.batch())
                await asyncio.wait([batch, heard], return_when=asyncio.FIRST_COMPLETED)
                if not batch.done():
                    batch.cancel()
                    with suppress(asyncio.CancelledError):
                        await batch
                    return
                self._add(batch.result())
                await self._room.wait()
        finally:
            heard.cancel()
            await feed.close()

    async def _wait_for_silence(self) -> None:
        """Return when the engine may have stopped telling: it may be gone, or there is nothing to tell."""
        await asyncio.sleep(self._silent_s)
        if self._loop.time() - self._heard_at < self._silent_s:
            return
        if (
            await persist(self._ports.log.last) > self.place.seq
            and self._loop.time() - self._heard_at >= self._silent_s
        ):
            self._heard.clear()

    def _add(self, entries: Sequence[Entry]) -> None:
        after = self.place.seq
        if entries[0].seq <= after:
            entries = [entry for entry in entries if entry.seq > after]
            if not entries:
                return
        if self._meter is not None:
            self._meter.hear(entries)
        self._waiting += [entry for entry in entries if may_concern(entry.data) or entry.run_id == RETENTION]
        self.place = Place(entries[-1].seq, entries[-1].time_ns)
        self.news.set()
        if len(self._waiting) > _MOST:
            self._room.clear()

    # -- what an engine tells ----------------------------------------------------------------------------------

    def hear(self, after: int, entries: Sequence[Entry]) -> None:
        """The log behind sequence `after`, without a gap. What comes too early is left: we read up to there."""
        if not self._is_open or after > self.place.seq or not self._room.is_set():
            return
        self._heard_at = self._loop.time()
        self._heard.set()
        self._add(entries)

    def cut(self, why: LogCut) -> None:
        """The log is not the one that was read: the engine has found out."""
        if self._is_open:
            self._cut = why
            self._heard.clear()


class Tap:
    """`ports.EngineFeeds`: those of an engine, whose reading is told to a source."""

    def __init__(self, feeds: EngineFeeds, source: Source) -> None:
        self._feeds = feeds
        self._source = source

    async def history(self, after: int) -> LogFeed:
        try:
            return _TappedFeed(await self._feeds.history(after), self._source, after)
        except LogCut as cut:
            self._source.cut(cut)
            raise

    async def wakeups(self) -> WakeupFeed:
        return await self._feeds.wakeups()

    async def events(self, after: int) -> EventFeed:
        return await self._feeds.events(after)


class _TappedFeed:
    """A feed that is listened to."""

    def __init__(self, feed: LogFeed, source: Source, after: int) -> None:
        self._feed = feed
        self._source = source
        self._after = after

    async def batch(self) -> list[Entry]:
        try:
            entries = await self._feed.batch()
        except LogCut as cut:
            self._source.cut(cut)
            raise
        self._source.hear(self._after, entries)
        self._after = entries[-1].seq
        return entries

    async def close(self) -> None:
        await self._feed.close()
