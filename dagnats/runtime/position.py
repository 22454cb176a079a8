"""The engine's position: one record, replaced by compare-and-set, that says how much of the log is decided.

It is written after the actions of what it covers are stored, at most one write at a time. The leader acts at most
`REACH` events beyond what is stored, so whoever takes over knows which events may have been acted on.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError, DagnatsError
from dagnats.runtime.core.gate.book import Page
from dagnats.runtime.lease import LeaseLost
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.ports import Cell, Dial

log = logging.getLogger("dagnats.engine")

REACH = 2_048  # half as many, and a fast machine stands still for a fourth of the time; twice as many bring nothing
_SOON = REACH // 4  # events beyond the stored position from which on it is written without waiting
_EVERY_S = 0.05
_DIAL_S = 1.0


class GateMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The gates' entries after the position's event.

    Attributes:
        part: Which of the two places beside the position has them all; 0 for none.
        revision: Of what lies there.
        page: What has changed since; all entries when none of the places has them.
    """

    part: int = 0
    revision: int = 0
    page: Page = msgspec.field(default_factory=Page)


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an engine is.

    Attributes:
        seq: The last event that is decided, its actions stored.
        time_ns: The server's time for that event. Another time at this place means that the log lost its tail.
        low: The first event that no snapshot covers; `seq + 1` when snapshots have all.
        active: Runs that have begun and not ended.
        tasks: The newest task known to be stored. A queue that ends before it has lost its tail.
        epoch: Part of all ids once the log has lost its tail: sequences come again then, and the server remembers what
            was sent under them. 0 before.
        server: The start of the server since which nothing it had acknowledged can be missing; "" for none.
        anew: Whether the log is being folded from its beginning: whoever comes now has to do that again.
        gates: What crosses runs, as it was after that event.
        by: The engine that wrote it: nobody takes another's record for their own.
    """

    seq: int = 0
    time_ns: int = 0
    low: int = 1
    active: int = 0
    tasks: int = 0
    epoch: int = 0
    server: str = ""
    anew: bool = False
    gates: GateMark = GateMark()
    by: str = ""


_decode = msgspec.json.Decoder(Position).decode
_encode = msgspec.json.Encoder().encode


def decode_position(data: bytes) -> Position | None:
    """The position in `data`; None when it is none: then the log is all there is to go by."""
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        log.error("the engine's position cannot be read, everything is folded again: %s", error)
        return None


def encode_position(position: Position) -> bytes:
    """`position` as it is stored."""
    return _encode(position)


class PositionKeeper:
    """The stored position, as one engine sees it.

    Args:
        check: Raises LeaseLost when we no longer lead. What was read last may be a successor's position, and that one
            we could replace.
    """

    def __init__(self, cell: Cell, dial: Dial, *, holder: str, check: Callable[[], None] = lambda: None) -> None:
        self._holder = holder
        self._check = check
        self._cell = cell
        self._dial = dial
        self._revision = 0
        self._stored = Position()
        self._now = Position()
        self._moved = asyncio.Event()
        self._written = asyncio.Event()
        self._unshown = asyncio.Event()

    @property
    def now(self) -> Position:
        """The newest that may be stored."""
        return self._now

    @property
    def stored_seq(self) -> int:
        """The last event that the stored position covers."""
        return self._stored.seq

    async def stored_when(self, fits: Callable[[Position], bool]) -> None:
        """Wait until a position is stored that fits."""
        while not fits(self._stored):
            self._written.clear()
            await self._written.wait()

    async def peek(self) -> Position | None:
        """What is stored."""
        stored = await persist(self._cell.read)
        self._revision = stored.revision if stored is not None else 0
        return decode_position(stored.data) if stored is not None else None

    async def changed(self, most_s: float) -> None:
        await self._cell.changed(most_s)

    async def begin(self, position: Position) -> None:
        """Store where we begin. It makes the next write of an engine that led before fail. Raises LeaseLost."""
        self._now = self._stored = position
        await self._write(position)

    def move(self, position: Position) -> None:
        """All up to `position` is dealt with."""
        self._now = position
        self._moved.set()

    async def room(self, seq: int) -> None:
        """Wait until acting on event `seq` is within reach of the stored position."""
        while seq - self._stored.seq > REACH:
            self._written.clear()
            await self._written.wait()

    async def keep(self) -> None:
        """Store the position whenever it has moved. Raises LeaseLost."""
        while True:
            await self._moved.wait()
            if self._now.seq - self._stored.seq < _SOON:
                await asyncio.sleep(_EVERY_S)
            self._moved.clear()
            await self._write(self._now)
            self._written.set()

    async def show(self) -> None:
        """Keep the operators' dial near the position."""
        shown = -1
        while True:
            await self._unshown.wait()
            self._unshown.clear()
            if self._stored.seq != shown:
                shown = self._stored.seq
                with suppress(DagnatsError):
                    await self._dial.show(shown)
            await asyncio.sleep(_DIAL_S)

    async def _write(self, position: Position) -> None:
        data, written = _encode(msgspec.structs.replace(position, by=self._holder)), False

        def write() -> Awaitable[int]:
            self._check()
            return self._cell.write(data, revision=self._revision)

        while not written:
            try:
                self._revision, written = await persist(write), True
            except ConflictError:
                written = await self._is_ours(data)
        self._stored = position
        self._unshown.set()

    async def _is_ours(self, data: bytes) -> bool:
        """Whether `data` is stored. If not, it was a write of ours that nobody waited for: its answer was lost."""
        stored = await persist(self._cell.read)
        position = decode_position(stored.data) if stored is not None else None
        if stored is None or position is None or position.by != self._holder:
            raise LeaseLost("another engine has moved the position") from None
        self._revision = stored.revision
        return stored.data == data
