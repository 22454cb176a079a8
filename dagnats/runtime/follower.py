"""Follows the log as far as the stored position goes, without acting: a standby's warm cache.

What lies beyond the position waits unread in `ahead`: only who leads may decide it, because its actions count.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from dagnats.model.ops import FactRecord
from dagnats.runtime.decider import Undecidable, Unreadable
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.runtime.core.gate.fold import Gates
    from dagnats.runtime.debt import Debts
    from dagnats.runtime.decider import Decider
    from dagnats.runtime.ports import EngineFeeds, Entry, LogFeed, Ports
    from dagnats.runtime.position import Position, PositionKeeper
    from dagnats.runtime.roster import Roster

log = logging.getLogger("dagnats.engine")

LOOK_S = 0.25
_SILENT_S = 2.0  # rarely waited for: only when the last events before the position are gone


class Unsettled(NamedTuple):
    """What of the log could not be folded."""

    poison: list[Unreadable]
    undecidable: list[Undecidable]


class Follower:
    """Reads the log for one engine: first up to the position, then, for the leader, everything."""

    def __init__(
        self, ports: Ports, feeds: EngineFeeds, keeper: PositionKeeper, roster: Roster, decider: Decider
    ) -> None:
        self._ports = ports
        self._feeds = feeds
        self._keeper = keeper
        self._roster = roster
        self._decider = decider
        self._feed: LogFeed | None = None
        self._ahead: list[Entry] = []
        self._seq = 0
        self._last_read: Entry | None = None  # while standing by
        self._undecidable: list[Undecidable] = []  # by us: whoever leads may have gone on with these runs

    async def follow(self) -> NoReturn:
        """Keep up with the leader's position, until cancelled: what was folded until then is whole."""
        while True:
            position = await self._keeper.peek()
            if position is not None:
                try:
                    await self._follow_to(position)
                except LogCut as cut:
                    log.warning("standing by with an empty memory: %s", cut)
                    await self.reset()
            await self._keeper.changed(LOOK_S)

    async def _follow_to(self, position: Position) -> None:
        await self.catch_up(position)
        self._roster.cover(position.low)
        self._take_back(position.low)
        self._roster.evict()
        self._decider.tidy()

    def _take_back(self, low: int) -> None:
        """Whoever leads could decide what we could not, and has saved it: we go on from there, if we can."""
        covered = [lost for lost in self._undecidable if lost.record.seq < low]
        self._decider.parked.difference_update(lost.record.event.run_id for lost in covered)
        self._undecidable = self._undecidable[len(covered) :]

    async def catch_up(self, position: Position) -> Sequence[Undecidable]:
        """Fold up to `position`, and no further; gives what could not be decided on the way there. Raises LogCut.

        A position goes back when the log was cut and grew again. What was folded beyond it nobody may have acted on.
        """
        if self._feed is not None and self._seq > position.seq:
            await self.reset()
        if self._feed is None:
            await self.open(position.low - 1)
        await self.fold(position.seq)
        return self._undecidable

    async def lead_from(self, position: Position) -> Sequence[Undecidable]:
        """`catch_up`, and begin to read beyond: of what a standby has read, the log may have lost some since."""
        if self._last_read is not None and not await self._is_there(self._last_read):
            await self.reset()
        lost = await self.catch_up(position)
        await self.open(position.seq)
        return lost

    async def _is_there(self, read: Entry) -> bool:
        """Whether the log still has what we have read, and so all that was before it. Another may have its place."""
        entry = await persist(lambda: self._ports.log.at(read.seq))
        return entry is not None and entry.time_ns == read.time_ns

    async def reset(self) -> None:
        """Forget everything: the log is not the one that was read."""
        await self.close()
        self._undecidable = []
        self._last_read = None
        self._roster.clear()
        self._decider.clear()

    async def open(self, after: int) -> None:
        """Read on behind event `after`. Raises LogCut."""
        await self.close()
        self._feed = await persist(lambda: self._feeds.history(after))
        self._seq = after

    async def close(self) -> None:
        self._ahead = []
        if self._feed is not None:
            await self._feed.close()
            self._feed = None

    async def batch(self) -> Sequence[Entry]:
        """The next entries, whatever their place. Raises LogCut."""
        assert self._feed is not None, "it is opened first"
        entries, self._ahead = self._ahead, []
        if not entries:
            entries = await self._feed.batch()
        self._seq = entries[-1].seq
        return entries

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Give them again with the next batch."""
        self._ahead = [*entries, *self._ahead]

    async def fold(self, upto: int, gates: Gates | None = None, debts: Debts | None = None) -> Unsettled:
        """Fold without acting up to event `upto`, which the log has, or had. Raises LogCut.

        Gives what could not be folded: whoever leads has seen to it, unless nobody did.

        Args:
            gates: To be folded too, when everything is folded from the log's beginning.
            debts: To be noted then.
        """
        unsettled = Unsettled([], [])
        while self._seq < upto:
            count = await self._count_upto(upto)
            if count:
                # Taken off the line only when they are folded: this may be cancelled while their runs are loaded.
                await self._fold(self._ahead[:count], unsettled, gates, debts)
                self._seq = self._ahead[count - 1].seq
                del self._ahead[:count]
            else:
                self._seq = upto
        return unsettled

    async def _count_upto(self, upto: int) -> int:
        """How many of the next entries are not beyond `upto`; 0 when there are no more."""
        assert self._feed is not None, "it is opened first"
        while not self._ahead:
            try:
                async with asyncio.timeout(_SILENT_S):
                    self._ahead = await self._feed.batch()
                    self._last_read = self._ahead[-1]
            except TimeoutError:
                # The last ones before the position may have been removed since, with the runs they belonged to.
                if await persist(lambda: self._ports.log.at(upto)) is None:
                    return 0
        return sum(entry.seq <= upto for entry in self._ahead)

    async def _fold(
        self, entries: Sequence[Entry], unsettled: Unsettled, gates: Gates | None, debts: Debts | None
    ) -> None:
        records, poison = await self._decider.read(entries)
        unsettled.poison.extend(poison)
        for record in records:
            if isinstance(record, FactRecord):
                if gates is not None:
                    gates.tell(record)
                continue
            decision = self._decider.decide(record)  # what it leads to is done already, by who led
            if isinstance(decision, Undecidable):
                unsettled.undecidable.append(decision)
                self._undecidable.append(decision)
            elif decision is not None:
                if gates is not None:
                    gates.fold(record, decision)
                if debts is not None:
                    debts.note(record, decision)
        self._roster.close_batch()
        self._roster.commit(after_s=0.0)
