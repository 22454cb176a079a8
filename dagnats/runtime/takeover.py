"""The first minutes of leading: what the engine before us had done, and what it had not.

Its position says which events are decided. Up to `REACH` events beyond it may have been acted on, or not. When the
log, or the task queue, ends before the position, the server has lost what was not on disk yet: then the log that is
left is folded again from its beginning, and every run that is under way gets what it lacks.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from dagnats.model.event import WorkflowStarted
from dagnats.runtime.arrears import decided, is_own
from dagnats.runtime.core.action import AskAdmission
from dagnats.runtime.core.gate.fold import Gates
from dagnats.runtime.debt import TAIL_NS, Debts
from dagnats.runtime.doubt import decided_by
from dagnats.runtime.follower import Unsettled
from dagnats.runtime.letter import PARKED
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut
from dagnats.runtime.position import REACH, Position
from dagnats.runtime.record import decoded, from_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.correlator import Correlator
    from dagnats.runtime.decider import Decider
    from dagnats.runtime.doubt import Doubt
    from dagnats.runtime.follower import Follower
    from dagnats.runtime.ledger import Ledger
    from dagnats.runtime.outbox import Outbox
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.position import PositionKeeper
    from dagnats.runtime.roster import Roster

log = logging.getLogger("dagnats.engine")

_SLICE = 20_000
_DOUBTFUL = 10 * REACH  # further than a leader acts: a power cut may have set the position back
_RUNS_AT_ONCE = 256


class Takeover:
    """Brings a new leader to where the one before it was."""

    def __init__(
        self,
        ports: Ports,
        *,
        keeper: PositionKeeper,
        follower: Follower,
        roster: Roster,
        decider: Decider,
        doubt: Doubt,
        outbox: Outbox,
        ledger: Ledger,
        correlator: Correlator,
        now_ns: Callable[[], int],
    ) -> None:
        self._ports = ports
        self._keeper = keeper
        self._follower = follower
        self._roster = roster
        self._decider = decider
        self._doubt = doubt
        self._outbox = outbox
        self._ledger = ledger
        self._correlator = correlator
        self._now_ns = now_ns
        self.gates = Gates()
        """What crosses runs, as it is where deciding begins."""
        self.unsettled = Unsettled([], [])
        """What could not be folded, and nobody may have seen to."""
        self.anew = False
        """Whether everything was folded again, and all that live runs lack was made good."""

    async def begin(self) -> int:
        """Store our own position where the old one was; gives the last event whose actions may be done already."""
        position = await self._keeper.peek()
        last = await persist(self._ports.log.last)
        self._decider.live_from = last + 1
        if position is not None and await self._is_intact(position, last):
            self._outbox.epoch, self._outbox.newest_task = position.epoch, position.tasks
            try:
                return await self._go_on(position, last)
            except LogCut as cut:
                log.warning("%s", cut)
        elif position is not None:
            log.warning("the log or the task queue does not go on where the engine was: everything is folded again")
        return await self._begin_anew(last, position or Position())

    async def _is_intact(self, position: Position, last: int) -> bool:
        if position.anew or last < position.seq or await persist(self._ports.tasks.last) < position.tasks:
            return False
        # Gone is fine, its run may have been removed. Another event there means that the log was cut and grew again.
        entry = await persist(lambda: self._ports.log.at(position.seq)) if position.seq else None
        return entry is None or entry.time_ns == position.time_ns

    async def _go_on(self, position: Position, last: int) -> int:
        gates = await self._ledger.open(position.gates)
        if gates is None:
            raise LogCut("the gates' entries are not where the position says: everything is folded again")
        self.gates = gates
        self._decider.unsaved_from = position.seq + 1
        if any(seat.run.seq > position.seq for seat in self._roster):
            # By snapshots that are ahead of a position that was set back, read while nobody knew that it was.
            await self._follower.reset()
        # Whoever led could decide these, and we cannot: that needs a letter as well.
        self.unsettled.undecidable.extend(await self._follower.lead_from(position))
        self._roster.cover(position.low)
        self._decider.active = position.active
        await self._keeper.begin(position)
        await self._unpark(position)
        self._correlator.admit(position.seq, last=last, epoch=position.epoch)
        return min(position.seq + _DOUBTFUL, last)

    # -- everything again ------------------------------------------------------------------------------------

    async def _begin_anew(self, last: int, before: Position) -> int:
        self.anew = True
        entry = await persist(lambda: self._ports.log.at(last)) if last else None
        end_ns = entry.time_ns if entry is not None else 0
        debts = Debts(end_ns - TAIL_NS)
        await self._follower.reset()
        await persist(self._ports.snapshots.purge)
        await self._follower.open(0)
        self.gates = Gates()
        for upto in [*range(_SLICE, last, _SLICE), last]:
            poison, undecidable = await self._follower.fold(upto, self.gates, debts)
            self.unsettled.poison.extend(poison)
            self.unsettled.undecidable.extend(undecidable)
            for seat in self._roster:
                if seat.run.ended:
                    if seat.run.parent is not None:
                        debts.parents[seat.run.run_id] = seat.run.parent.run_id
                    self._roster.dismiss(seat.run.run_id)
        tasks = self._outbox.newest_task = await persist(self._ports.tasks.last)
        # Sequences come again, and what was sent under them may be remembered. Where nothing was sent, nothing is.
        epoch = max(self._now_ns() // 1_000_000_000, before.epoch + 1) if tasks or before.tasks else 0
        self._outbox.renew(epoch, last)
        await debts.forgive_removed(self._ports.log)
        live = [seat.run.run_id for seat in self._roster]
        others = sorted({*(await self._relatives(debts.parents)), *debts.debtors}.difference(live))
        position = Position(
            seq=last,
            time_ns=end_ns,
            low=self._roster.low(last + 1),
            active=self._decider.active,
            tasks=tasks,
            epoch=self._outbox.epoch,
        )
        self._decider.unsaved_from = last + 1
        await self._keeper.begin(msgspec.structs.replace(position, anew=True))
        owing = [*live, *others]
        for at in range(0, len(owing), _RUNS_AT_ONCE):
            await self._make_good(owing[at : at + _RUNS_AT_ONCE], last, debts)
        await self._outbox.act(await self._doubt.left(self.gates.outstanding()))
        await self._correlator.forget_others()
        self._ledger.begin(self.gates)
        await self._ledger.keep()
        # Until what could not be folded has its letters: an engine that came before that would never hear of it.
        anew = bool(self.unsettled.poison or self.unsettled.undecidable)
        position = msgspec.structs.replace(
            position, tasks=self._outbox.newest_task, gates=self._ledger.mark(), anew=anew
        )
        await self._keeper.begin(position)
        await self._unpark(position)
        return last

    async def _relatives(self, parents: Mapping[str, str]) -> set[str]:
        """Ended runs that others wait to hear of, live or parked: their children's ends, their parents'."""
        goes_on = {seat.run.run_id for seat in self._roster} | self._decider.parked
        above = {seat.run.parent.run_id for seat in self._roster if seat.run.parent is not None}
        for run_id in self._decider.parked:
            first = from_start(decoded(await persist(lambda run_id=run_id: self._ports.log.read(run_id))))[:1]
            parents_of = (each.event.payload.parent for each in first if isinstance(each.event, WorkflowStarted))
            above |= {parent.run_id for parent in parents_of if parent is not None}
        below = {run_id for run_id, parent in parents.items() if parent in goes_on}
        return (above | below) - goes_on

    # -- runs that lack something ----------------------------------------------------------------------------

    async def _make_good(self, run_ids: Iterable[str], upto: int, debts: Debts) -> None:
        """Do what the histories of these runs have decided and nobody has done."""
        actions: list[AnyAction] = []
        for run_id in run_ids:
            is_over = self._roster.seat(run_id) is None
            for action in await decided(self._ports, self._decider, self.gates, run_id, upto):
                if isinstance(action, AskAdmission):  # the gates have heard
                    continue
                if debts.is_owed(action) and not (is_over and is_own(action)):
                    actions.append(action)
        await self._outbox.act(await self._doubt.left(actions))

    async def _unpark(self, position: Position) -> None:
        """Go on with runs that an engine before us could not decide and we can."""
        upto = position.seq
        letters = await persist(lambda: self._ports.dead_letters.find(f"{PARKED}.*"))
        runs: dict[str, list[int]] = {}
        broke_at: dict[str, int] = {}
        for letter in letters:
            run_id = letter.subject.rpartition(".")[2]
            runs.setdefault(run_id, []).append(letter.seq)
            # A log that lost its tail counts differently.
            broke = 0 if self.anew else int(letter.headers.get("Dagnats-Dlq-Sequence", "0"))
            broke_at[run_id] = min(broke, broke_at.get(run_id, broke))
        for run_id, seqs in runs.items():
            self._decider.parked.discard(run_id)
            if not await self._decider.have(run_id, before=upto + 1):
                continue
            seat = self._roster.seat(run_id)
            if seat is not None:
                log.warning("run %s was parked and goes on", run_id)
                wanted = [
                    action
                    for action in await decided(self._ports, self._decider, self.gates, run_id, upto)
                    if is_own(action) or decided_by(action) >= broke_at[run_id]  # the others were done
                ]
                await self._outbox.act(await self._doubt.left(self.gates.adopt(upto, seat.run, wanted)))
                self._ledger.commit(self.gates.taken())
                await self._ledger.keep()
                await self._keeper.begin(msgspec.structs.replace(position, gates=self._ledger.mark()))
            for seq in seqs:
                await persist(lambda seq=seq: self._ports.dead_letters.remove(seq))
