"""The engine: one of them leads, the others stand by with a warm cache and take over when it is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from dagnats.runtime.archive import SAVE_AFTER_S
from dagnats.runtime.correlator import Correlator
from dagnats.runtime.decider import Decider
from dagnats.runtime.display import EVERY_S as SHOW_EVERY_S
from dagnats.runtime.display import Display
from dagnats.runtime.doubt import Doubt
from dagnats.runtime.follower import Follower
from dagnats.runtime.gauge import EVERY_S, MOST_QUEUED, Gauge
from dagnats.runtime.janitor import EVERY_S as CLEAR_EVERY_S
from dagnats.runtime.janitor import Janitor
from dagnats.runtime.leader import LOOK_S, Leader
from dagnats.runtime.lease import Leadership, LeaseLost
from dagnats.runtime.ledger import Ledger
from dagnats.runtime.mender import Mender
from dagnats.runtime.outbox import Outbox
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut
from dagnats.runtime.position import PositionKeeper
from dagnats.runtime.retention import KEEP, Retention
from dagnats.runtime.roster import Roster
from dagnats.runtime.schedule import Schedule
from dagnats.runtime.takeover import Takeover
from dagnats.runtime.together import Aside, Errands, together

if TYPE_CHECKING:
    from collections.abc import Container, Coroutine, Iterator

    from dagnats.runtime.ports import EngineFeeds, Ports
    from dagnats.runtime.retention import Keep

log = logging.getLogger("dagnats.engine")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_QUIET_S = 10.0  # a term that lasted this long was none that trouble ended at once


class Engine:
    """Decides for every run on a server, while it leads.

    Args:
        save_after: How long a run that goes on may be without a snapshot of its newest events.
        keep: How long ended runs are kept; None for ever.
        granted: The workflows whose steps may ask the control plane.
        most_queued: How many tasks a queue takes; others wait in line.
        pace: How many times rarer than usual it does what nothing asks for: renews its lease, looks for what the
            server owes. Under a virtual clock, years of waiting are made of nothing else.
    """

    def __init__(
        self,
        ports: Ports,
        feeds: EngineFeeds,
        *,
        save_after: timedelta = timedelta(seconds=SAVE_AFTER_S),
        keep: Keep | None = KEEP,
        granted: Container[str] = (),
        most_queued: int = MOST_QUEUED,
        pace: float = 1.0,
    ) -> None:
        self._most_queued = most_queued
        self._ports = ports
        self._feeds = feeds
        self._save_after_s = save_after.total_seconds()
        self._keep = keep
        self._granted = granted
        self._holder = f"engine-{secrets.token_hex(4)}-{os.getpid()}"
        self._leadership = Leadership(ports.lease, self._holder, pace=pace)
        self._pace = pace

    async def run(self, *, alone: bool = False) -> None:
        """Lead when nobody else does, until cancelled; stand by in between.

        Args:
            alone: Nobody else can be leading: see `Leadership.acquire`.

        Raises:
            EngineBroken: Deciding fails at run after run.
        """
        trouble = _Trouble()
        while True:
            term = _Term(
                self._ports,
                self._feeds,
                self._leadership,
                self._holder,
                self._save_after_s,
                keep=self._keep,
                granted=self._granted,
                most_queued=self._most_queued,
                pace=self._pace,
            )
            try:
                await term.serve(alone=alone)
            except LeaseLost as lost:
                log.warning("no longer leading: %s", lost)
            except LogCut as cut:
                trouble.note(cut)
            finally:
                await term.close()
                await self._leadership.release()
            await trouble.pause()
            alone = False


class _Trouble:
    """Logs that are cut, and perhaps stay so: said once, and tried again ever more rarely."""

    def __init__(self) -> None:
        self._pause_s, self._next_s = 0.0, _FIRST_PAUSE_S
        self._ended_at = 0.0
        self._said = ""

    def note(self, cut: LogCut) -> None:
        """A term has ended by this."""
        now, said = asyncio.get_running_loop().time(), str(cut)
        if now - self._ended_at > _QUIET_S:
            self._next_s, self._said = _FIRST_PAUSE_S, ""
        if said != self._said:
            log.warning("taking over anew: %s", said)
        self._pause_s, self._next_s = self._next_s, min(self._next_s * 2, _LONGEST_PAUSE_S)
        self._said = said

    async def pause(self) -> None:
        """Wait before the next term, when the last one has ended by trouble."""
        pause_s, self._pause_s = self._pause_s, 0.0
        if pause_s:
            await asyncio.sleep(pause_s)
        self._ended_at = asyncio.get_running_loop().time()


class _Term:
    """One stretch of standing by and leading, with a memory of its own."""

    def __init__(
        self,
        ports: Ports,
        feeds: EngineFeeds,
        leadership: Leadership,
        holder: str,
        save_after_s: float,
        *,
        keep: Keep | None,
        granted: Container[str],
        most_queued: int,
        pace: float,
    ) -> None:
        self._keep = keep
        self._most_queued = most_queued
        self._granted = granted
        self._pace = pace
        self._save_after_s = save_after_s
        self._ports = ports
        self._feeds = feeds
        self._leadership = leadership
        self._holder = holder
        self._errands = Errands()
        self._roster = Roster(now=asyncio.get_running_loop().time)
        self._decider = Decider(ports, self._roster)
        self._keeper = PositionKeeper(ports.position, ports.dial, holder=holder, check=leadership.check)
        self._follower = Follower(ports, feeds, self._keeper, self._roster, self._decider)

    async def serve(self, *, alone: bool) -> None:
        await together(self._follower.follow(), self._leadership.acquire(at_once=alone))
        await together(self._leadership.keep(), self._lead())

    async def _lead(self) -> None:
        window_s = await persist(self._ports.log.id_window_s)
        doubt = Doubt(self._ports, self._roster, self._decider)
        aside = Aside()
        ledger = Ledger(self._ports, self._keeper)
        correlator = Correlator(
            self._ports,
            self._feeds,
            self._errands,
            holder=self._holder,
            check=self._leadership.check,
            stored_when=self._keeper.stored_when,
        )
        way_out = partial(
            Outbox,
            self._ports,
            aside=aside,
            errands=self._errands,
            correlator=correlator,
            check=self._leadership.check,
            window_s=window_s,
            granted=self._granted,
            carriers=self._decider.carriers,
        )
        outbox = way_out(doubt)
        takeover = Takeover(
            self._ports,
            keeper=self._keeper,
            follower=self._follower,
            roster=self._roster,
            decider=self._decider,
            doubt=doubt,
            outbox=outbox,
            ledger=ledger,
            correlator=correlator,
            now_ns=self._leadership.server_now_ns,
        )
        await correlator.begin()
        doubtful = await takeover.begin()
        schedule = Schedule()
        leader = Leader(
            self._ports,
            self._feeds,
            leadership=self._leadership,
            keeper=self._keeper,
            follower=self._follower,
            roster=self._roster,
            decider=self._decider,
            doubt=doubt,
            outbox=outbox,
            gates=takeover.gates,
            ledger=ledger,
            aside=aside,
            schedule=schedule,
            save_after_s=self._save_after_s,
            look_s=LOOK_S * self._pace,
        )
        mender = Mender(
            self._ports,
            self._keeper,
            takeover.gates,
            lambda doubt: way_out(doubt).like(outbox),
            look_s=LOOK_S * self._pace,
        )
        gauge = Gauge(
            self._ports,
            takeover.gates,
            check=self._leadership.check,
            newest=lambda: outbox.newest_task,
            decided=lambda: self._keeper.stored_seq,
            most=self._most_queued,
            every_s=EVERY_S * self._pace,
        )
        display = Display(
            self._ports.board,
            takeover.gates,
            schedule,
            self._ports.log,
            check=self._leadership.check,
            decided=lambda: self._keeper.now.seq,
            every_s=SHOW_EVERY_S * self._pace,
        )
        janitor = Janitor(
            self._ports,
            self._roster,
            check=self._leadership.check,
            now_ns=self._leadership.server_now_ns,
            every_s=CLEAR_EVERY_S * self._pace,
        )
        await together(
            leader.lead(doubtful, takeover.unsettled),
            correlator.keep(),
            mender.keep(),
            gauge.keep(),
            display.keep(),
            janitor.keep(),
            *self._housekeeping(),
        )

    def _housekeeping(self) -> Iterator[Coroutine[Any, Any, None]]:
        if self._keep is not None:
            leadership = self._leadership
            yield Retention(self._ports, self._keep, check=leadership.check, now_ns=leadership.server_now_ns).run()

    async def close(self) -> None:
        await self._errands.close()
        await self._follower.close()
