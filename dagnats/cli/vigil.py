"""`dlq watch`: looks now and then, and replays what is dead, each step so many times."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.cli.option import current
from dagnats.cli.output import say
from dagnats.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.client import AnyClient, DeadLetter

    Act = Callable[[str, DeadLetter, int, int], None]

_Key = tuple[str, str, str]


class _Watch:
    """What was done so far. A step that fails again has a new letter: its replays are counted together."""

    def __init__(self, client: AnyClient, most: int, act: Act) -> None:
        self._client = client
        self._most = most
        self._act = act
        self._replays: dict[_Key, int] = {}
        self._seen: dict[_Key, int] = {}
        self._exhausted: set[_Key] = set()
        self.replayed = 0

    @property
    def exhausted(self) -> int:
        return len(self._exhausted)

    async def look(self, run_id: str) -> None:
        """Act on every letter that is new."""
        newest = {(each.run_id, each.task, each.step_id): each for each in await self._client.dead_letters(run_id)}
        for key, letter in newest.items():
            if letter.seq > self._seen.get(key, 0):
                await self._treat(key, letter)

    async def _treat(self, key: _Key, letter: DeadLetter) -> None:
        count = self._replays.get(key, 0)
        if count >= self._most:
            self._seen[key] = letter.seq
            self._exhausted.add(key)
            self._act("skip exhausted", letter, count, self._most)
            return
        try:
            await self._client.replay_dead_letter(letter.seq, by="dlq watch")
        except (ConflictError, NotFoundError):
            return  # its run goes on, has ended otherwise, or is gone; the next look finds out
        self._seen[key] = letter.seq
        self._replays[key] = count + 1
        self.replayed += 1
        self._act("replay", letter, count + 1, self._most)


async def vigil(client: AnyClient, *, interval_s: float, most: int, run_id: str, act: Act) -> None:
    """Watch until Ctrl-C, and sum up."""
    watch = _Watch(client, most, act)
    try:
        while True:
            await watch.look(run_id)
            await asyncio.sleep(interval_s)
    except asyncio.CancelledError:
        if not current().json:
            say(f"Watch summary: {watch.replayed} replayed, {watch.exhausted} exhausted")
