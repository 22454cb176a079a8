"""Hears what becomes of runs. What is told may be lost on the way: whoever listens also looks, now and then.

A run's own subscription brings nothing but the run. Where many runs are waited for, one subscription to all runs costs
less than one for each: the server looks up every subject anew after each change of who listens.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

from dagnats.runtime.jetstream.notice import END, ended

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Entry

MANY = 32
"""So many have a subscription of their own."""

_SOON_S = 0.005
_MOST_EARLY = 1_000
_LARGE = 4 * 1024


class _Listener:
    """Somebody who waits for news."""

    def __init__(self, link: Link) -> None:
        self._loop = link.loop
        self._waiting: asyncio.Future[None] | None = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _wait(self, most_s: float) -> None:
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(most_s, self._wake)
        try:
            await self._waiting
        finally:
            timer.cancel()


class Ears:
    """All who listen to runs' ends over one connection."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.count = 0
        """How many listen."""
        self._sharing: dict[str, list[Ear]] = {}  # by run
        self._early: dict[str, Message] = {}  # newest ends that nobody listened for, by run
        self._shared = 0  # the subscription to all runs

    def listen(self, run_id: str) -> Ear:
        """Listen to a run's end, while it is entered."""
        return Ear(self, run_id)

    def share(self, ear: Ear) -> None:
        """Let `ear` hear through the subscription to all runs."""
        if not self._sharing:
            self._shared = self.link.subscribe(f"{END}*", self._on_message)
        self._sharing.setdefault(ear.run_id, []).append(ear)
        early = self._early.pop(ear.run_id, None)
        if early is not None:
            ear.on_message(early)

    def part(self, ear: Ear) -> None:
        """`ear` has heard enough."""
        ears = self._sharing[ear.run_id]
        ears.remove(ear)
        if not ears:
            del self._sharing[ear.run_id]
        if not self._sharing:
            self.link.unsubscribe(self._shared)
            self._early.clear()

    def _on_message(self, message: Message) -> None:
        run_id = message.subject[len(END) :]
        ears = self._sharing.get(run_id)
        if ears is None:
            self._remember(run_id, message)
            return
        for ear in ears:
            ear.on_message(message)

    def _remember(self, run_id: str, message: Message) -> None:
        """Who has started a run may be told of its end before it listens, when both come with the same bytes: a look
        would tell it seconds later."""
        if len(message.data) > _LARGE:
            return
        self._early[run_id] = message
        if len(self._early) > _MOST_EARLY:
            del self._early[next(iter(self._early))]


class Ear(_Listener):
    """Listens to one run's end."""

    def __init__(self, ears: Ears, run_id: str) -> None:
        super().__init__(ears.link)
        self.run_id = run_id
        self._ears = ears
        self._heard: deque[Entry] = deque()
        self._subscription = 0  # its own

    def __enter__(self) -> Self:
        self._ears.count += 1
        if self._ears.count > MANY:
            self._ears.share(self)
        else:
            self._subscription = self._ears.link.subscribe(END + self.run_id, self.on_message)
        return self

    def __exit__(self, *_: object) -> None:
        self._ears.count -= 1
        if self._subscription:
            self._ears.link.unsubscribe(self._subscription)
        else:
            self._ears.part(self)

    def on_message(self, message: Message) -> None:
        self._heard.append(ended(message))
        self._wake()

    async def hear(self, most_s: float) -> Entry | None:
        """The next end that is heard within `most_s`; None when there is none."""
        if not self._heard and most_s > 0:
            await self._wait(most_s)
        return self._heard.popleft() if self._heard else None


class Rumour(_Listener):
    """Hears what is sent to one subject of a stream, while it is entered: before it is stored, if it ever is."""

    def __init__(self, link: Link, subject: str) -> None:
        super().__init__(link)
        self._link = link
        self._subject = subject
        self._sent: bytes | None = None  # the newest, until it was seen
        self._pause_s = _SOON_S

    def __enter__(self) -> Self:
        self._subscription = self._link.subscribe(self._subject, self._on_message)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.unsubscribe(self._subscription)

    def _on_message(self, message: Message) -> None:
        self._sent, self._pause_s = message.data, _SOON_S
        self._wake()

    async def hear(self, seen: Iterable[Entry], most_s: float) -> None:
        """Wait until it is worth looking again, at most `most_s`.

        Args:
            seen: What the last look has found. What was sent and is not there may be stored a little later.
            most_s: How long to trust that one would have been told.
        """
        if self._sent is not None and any(entry.data == self._sent for entry in seen):
            self._sent = None
        if self._sent is None:
            await self._wait(most_s)
            return
        pause_s, self._pause_s = self._pause_s, 2 * self._pause_s
        if pause_s >= most_s:
            self._sent = None  # it was refused
        await self._wait(min(pause_s, most_s))
