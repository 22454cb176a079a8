"""Hears of runs' events as they are stored. What the server says so may be lost, with the connection.

A run's own subscription brings nothing but the run. Where many runs are waited for, one subscription to all runs costs
less than one for each: the server looks up every subject anew after each change of who listens.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from dagnats.runtime.jetstream.read import seq_of, time_ns_of
from dagnats.runtime.jetstream.resources import STORED
from dagnats.runtime.ports import Entry

if TYPE_CHECKING:
    import asyncio

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

MANY = 32
"""So many have a subscription of their own."""

_STORED = f"{STORED}history."


class Ears:
    """All who listen over one connection."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.count = 0
        """How many listen."""
        self._sharing: dict[str, list[Ear]] = {}  # by run
        self._shared = 0  # the subscription to all runs

    def listen(self, run_id: str, kinds: tuple[bytes, ...] = (b"",)) -> Ear:
        """Listen to events whose bytes begin like one of `kinds`, while it is entered."""
        return Ear(self, run_id, kinds)

    def share(self, ear: Ear) -> None:
        """Let `ear` hear through the subscription to all runs."""
        if not self._sharing:
            self._shared = self.link.subscribe(f"{_STORED}*", self._on_message)
        self._sharing.setdefault(ear.run_id, []).append(ear)

    def part(self, ear: Ear) -> None:
        """`ear` has heard enough."""
        ears = self._sharing[ear.run_id]
        ears.remove(ear)
        if not ears:
            del self._sharing[ear.run_id]
        if not self._sharing:
            self.link.unsubscribe(self._shared)

    def _on_message(self, message: Message) -> None:
        for ear in self._sharing.get(message.subject[len(_STORED) :], ()):
            ear.on_message(message)


class Ear:
    """Listens to one run."""

    def __init__(self, ears: Ears, run_id: str, kinds: tuple[bytes, ...]) -> None:
        self.run_id = run_id
        self._ears = ears
        self._loop = ears.link.loop
        self._kinds = kinds
        self._heard: deque[Entry] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._subscription = 0  # its own
        self.newest = 0
        """The sequence of the newest that was heard."""

    def __enter__(self) -> Self:
        self._ears.count += 1
        if self._ears.count > MANY:
            self._ears.share(self)
        else:
            self._subscription = self._ears.link.subscribe(_STORED + self.run_id, self.on_message)
        return self

    def __exit__(self, *_: object) -> None:
        self._ears.count -= 1
        if self._subscription:
            self._ears.link.unsubscribe(self._subscription)
        else:
            self._ears.part(self)

    def on_message(self, message: Message) -> None:
        if message.data.startswith(self._kinds):
            seq = self.newest = seq_of(message)
            self._heard.append(Entry(seq, time_ns_of(message), self.run_id, message.data))
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def hear(self, most_s: float) -> Entry | None:
        """The next event that is heard within `most_s`; None when there is none."""
        if not self._heard and most_s > 0:
            self._waiting = self._loop.create_future()
            timer = self._loop.call_later(most_s, self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
        return self._heard.popleft() if self._heard else None
