"""The gates' state on its way into the position: stored with it, in one message, so that neither is ahead.

While it is small, or little has changed, the entries travel in the position. What is large is written beside it now
and then, in one of two places by turns; the position names the place, and has what has changed since.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError
from dagnats.model.ops import GATES
from dagnats.runtime.core.gate.book import Page
from dagnats.runtime.core.gate.fold import Gates
from dagnats.runtime.patience import persist
from dagnats.runtime.position import GateMark

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports, Snapshots
    from dagnats.runtime.position import PositionKeeper

log = logging.getLogger("dagnats.engine")

_FEW = 256  # entries, at some hundred bytes each
_MANY = 2_048  # of a large state: it is written rarely, and its changes still fit the position's message
_MOST_BYTES = 512 * 1024  # of whatever state: a NATS server takes messages of twice that, unless it is told otherwise

_decode = msgspec.json.Decoder(Page).decode
_encode = msgspec.json.Encoder().encode


def place_of(part: int) -> str:
    """Where the gates' entries lie beside the position."""
    return f"{GATES}-{part}"


async def read_page(snapshots: Snapshots, mark: GateMark) -> Page | None:
    """All entries that a position has, or names; None when they are not there any more, or no entries."""
    page = Page()
    if mark.part:
        stored = await persist(lambda: snapshots.load(place_of(mark.part)))
        if stored is None or stored.revision != mark.revision:
            return None
        try:
            page = _decode(stored.data)
        except msgspec.DecodeError:
            return None
    page.turn(mark.page, whole=True)
    return page


class Ledger:
    """The gates' entries as far as they count: of events whose actions are all stored."""

    def __init__(self, ports: Ports, keeper: PositionKeeper) -> None:
        self._snapshots = ports.snapshots
        self._keeper = keeper
        self._all = Page()
        self._since = Page()
        self._bytes = 0  # of that, encoded; or more, where entries have changed more than once
        self._part = self._revision = 0

    async def open(self, mark: GateMark) -> Gates | None:
        """Go on from what a position has; None when that is not whole."""
        page = await read_page(self._snapshots, mark)
        if page is None:
            return None
        self._all, self._since = page, mark.page.copy()
        self._bytes = len(_encode(self._since))
        self._part, self._revision = mark.part, mark.revision
        return Gates(page)

    def begin(self, gates: Gates) -> None:
        """Begin anew, from gates that were folded from the log."""
        gates.taken()
        self._all = gates.page()
        self._since = self._all.copy()
        self._bytes = len(_encode(self._since))
        self._part = self._revision = 0

    def commit(self, changes: Page) -> None:
        """All actions of a batch are stored: what it changed counts. `keep` comes before the position says so."""
        self._all.turn(changes, whole=True)
        if changes:
            self._bytes += len(_encode(changes))
        if len(self._since) + len(changes) > self._most or self._bytes > _MOST_BYTES:
            self._since = self._since.copy()  # a position that has this page may be written while `keep` waits
        self._since.turn(changes, whole=not self._part)
        if self._part and len(self._all) < _FEW // 2:
            self._part = self._revision = 0
            self._since = self._all.copy()
            self._bytes = len(_encode(self._since))
        elif self._bytes > _MOST_BYTES:
            self._bytes = len(_encode(self._since))

    def mark(self) -> GateMark:
        """What the position is to have. Its page goes on changing: it is written with the position it was given to."""
        return GateMark(part=self._part, revision=self._revision, page=self._since)

    # -- what is large ---------------------------------------------------------------------------------------

    @property
    def _most(self) -> int:
        return max(_FEW, min(len(self._all) // 8, _MANY))

    async def keep(self) -> None:
        """Write beside the position what would be too much for it. Nothing is committed meanwhile."""
        if len(self._since) > self._most or self._bytes > _MOST_BYTES:
            await self._write()

    async def _write(self) -> None:
        # Until then the position names another place, perhaps the one that this is written to.
        await self._keeper.stored_when(lambda position: position.gates.part == self._part)
        part = 2 if self._part == 1 else 1
        self._revision = await self._stored(part, _encode(self._all))
        self._part, self._since, self._bytes = part, self._all.times(), 0

    async def _stored(self, part: int, data: bytes) -> int:
        place = place_of(part)
        while True:
            stored = await persist(lambda: self._snapshots.load(place))
            revision = stored.revision if stored is not None else 0
            try:
                return await self._snapshots.save(place, data, revision=revision)
            except ConflictError:
                log.warning("somebody else has written %s: once more", place)
