"""A work queue's consumer, as the server keeps it: who waits for messages, who holds which, and for how long."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from dagnats.runtime.memory.stream import fitting

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dagnats.runtime.memory.stream import Message, Stream
    from dagnats.runtime.memory.timetable import Timetable


class Puller(NamedTuple):
    """Somebody who takes messages.

    Attributes:
        deliver: Gets each, with the number of its delivery.
        is_gone: Whether its connection is: the server sees that, and gives it nothing more.
    """

    deliver: Callable[[Message, int], None]
    is_gone: Callable[[], bool]


class Consumer:
    """Hands every message of a pattern to one puller at a time, again when it was silent for the ack wait.

    Messages that come again go before new ones, as in JetStream.
    """

    def __init__(self, stream: Stream, timetable: Timetable, pattern: str, ack_wait_s: float) -> None:
        self.ack_wait_s = ack_wait_s
        self._stream = stream
        self._timetable = timetable
        self.pattern = pattern
        self._fits = fitting(pattern)
        self._new = [message.seq for message in stream.fitting(pattern)]  # heaps of sequences
        self._again: list[int] = []
        self._held: dict[int, asyncio.TimerHandle] = {}  # until when
        self._deliveries: dict[int, int] = {}
        self._paused = False
        self._rooms: dict[Puller, int] = {}  # who waits, for how many, in order
        stream.listen(self._on_message)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many messages wait, how many are held, and how many of these were handed out before."""
        stored = len(self._stream.fitting(self.pattern))
        again = sum(self._deliveries[seq] > 1 for seq in self._held)
        return stored - len(self._held), len(self._held), again

    @property
    def pulls(self) -> int:
        """How many pullers wait."""
        return len(self._rooms)

    # -- what pullers say ------------------------------------------------------------------------------------

    def pull(self, puller: Puller, room: int) -> None:
        """Deliver up to `room` messages; what this puller has asked for before counts no more."""
        self._rooms[puller] = room
        self._hand_out()

    def leave(self, puller: Puller) -> None:
        """Deliver no more to it."""
        self._rooms.pop(puller, None)

    def pause(self, paused: bool) -> None:
        """Hand out nothing until further notice, or go on."""
        self._paused = paused
        self._hand_out()

    def acknowledge(self, seq: int, time_ns: int) -> None:
        """A message is done with. Another one that has its place, since the end of the stream was lost, stays: whoever
        acknowledges on NATS has looked. So does what was not handed out here."""
        message = self._stream.at(seq)
        if message is not None and message.time_ns != time_ns:
            return
        if self._deliveries.pop(seq, None) is not None:
            self._let_go(seq)
            self._stream.remove(seq)

    def keep(self, seq: int) -> None:
        """It is being worked on: the ack wait begins anew."""
        if seq in self._held:
            self._hold(seq, self.ack_wait_s)

    def hand_back(self, seq: int, delay_s: float) -> None:
        """Deliver it again, so much later."""
        if seq not in self._held:
            return
        if delay_s > 0:
            self._hold(seq, delay_s)
        else:
            self._come_again(seq)

    def lose_patience(self) -> None:
        """Deliver again all that is held, as if everybody had been silent for the ack wait."""
        for seq in sorted(self._held):
            self._come_again(seq)

    def restart(self) -> None:
        """The server was restarted: nobody waits any more. What is held stays held, unless it was lost; what is there
        again, as its removal was lost, comes again."""
        self._rooms.clear()
        for seq in [seq for seq in self._deliveries if self._stream.at(seq) is None]:
            self._let_go(seq)
            del self._deliveries[seq]
        self._new, self._again = (
            sorted(seq for seq in waiting if self._stream.at(seq) is not None) for waiting in (self._new, self._again)
        )
        known = {*self._new, *self._again, *self._held}
        for message in self._stream.fitting(self.pattern):
            if message.seq not in known:
                heapq.heappush(self._again, message.seq)

    # -- handing out -----------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        if self._fits(message.subject):
            heapq.heappush(self._new, message.seq)
            self._hand_out()

    def _hand_out(self) -> None:
        if not self._rooms:
            return
        self._rooms = {puller: room for puller, room in self._rooms.items() if not puller.is_gone()}
        while self._rooms and not self._paused and (message := self._next()) is not None:
            puller = next(iter(self._rooms))
            room = self._rooms.pop(puller) - 1
            if room:
                self._rooms[puller] = room  # behind the others: they take turns
            count = self._deliveries[message.seq] = self._deliveries.get(message.seq, 0) + 1
            self._hold(message.seq, self.ack_wait_s)
            puller.deliver(message, count)

    def _next(self) -> Message | None:
        for waiting in (self._again, self._new):
            while waiting:
                message = self._stream.at(heapq.heappop(waiting))
                if message is not None:  # else it was removed meanwhile
                    return message
        return None

    def _hold(self, seq: int, seconds: float) -> None:
        self._let_go(seq)
        self._held[seq] = self._timetable.after(seconds, lambda: self._come_again(seq))

    def _let_go(self, seq: int) -> None:
        timer = self._held.pop(seq, None)
        if timer is not None:
            timer.cancel()

    def _come_again(self, seq: int) -> None:
        self._let_go(seq)
        heapq.heappush(self._again, seq)
        self._hand_out()
