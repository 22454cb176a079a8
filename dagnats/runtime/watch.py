"""What is watched for, by the type of event: the correlator's memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from dagnats.runtime.core.condition import matches
from dagnats.runtime.core.path import Missing, decoded, value_at

if TYPE_CHECKING:
    from collections.abc import Collection

    from dagnats.model.condition import Operator
    from dagnats.model.waiter import Waiter
    from dagnats.runtime.ports import Happening

Key = tuple[str, str, int]
"""(run, step, attempt): nothing waits for two events at a time."""


class Watch:
    """A waiter under watch.

    Attributes:
        waiter: It.
        epoch: Part of the ids of what it leads to; see `Position`.
        looked: Set when events that came before it have been looked at.
        found: The first match among those.
    """

    def __init__(self, waiter: Waiter, epoch: int, *, looked: bool = False) -> None:
        self.waiter = waiter
        self.epoch = epoch
        self.key: Key = (waiter.run_id, waiter.step_id, waiter.attempt)
        self.looked = asyncio.Event()
        if looked:
            self.looked.set()
        self.found: Happening | None = None
        self._right, self._is_sound = _right(waiter)

    def takes(self, event: Happening, body: Any) -> bool:
        """Whether this event, whose body says `body`, is one that is waited for."""
        waiter = self.waiter
        if event.time_ns < waiter.since_ns or 0 < waiter.until_ns < event.time_ns:
            return False
        if not waiter.left:
            return True
        try:
            value = value_at(body, waiter.left)
        except Missing:
            return False
        return self._is_sound and matches(value, cast("Operator", waiter.op), self._right)


def body_of(event: Happening) -> Any:
    """What an event's body says. Raises Missing when it is no JSON."""
    try:
        event.data.decode()  # a run takes it over unread: this is where bad UTF-8 is found
    except UnicodeDecodeError as error:
        raise Missing(f"it cannot be read: {error}") from None
    return decoded(msgspec.Raw(event.data))


def _right(waiter: Waiter) -> tuple[Any, bool]:
    try:
        return decoded(waiter.right), True
    except Missing:  # nothing equals it
        return None, False


class Watches:
    """All of them."""

    MOST: ClassVar = 10_000
    """For one type of event: each is compared with all of them."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Watch] = {}
        self._by_type: dict[str, dict[Key, Watch]] = {}

    def has(self, waiter: Waiter) -> bool:
        return (waiter.run_id, waiter.step_id, waiter.attempt) in self._by_key

    def get(self, key: Key) -> Watch | None:
        return self._by_key.get(key)

    def of(self, type: str) -> Collection[Watch]:
        """Those for a type of event, the oldest first."""
        return list(self._by_type.get(type, {}).values())

    def add(self, watch: Watch) -> bool:
        """Take one in, in place of one with its key; False when there are too many."""
        self.drop(watch.key)
        same = self._by_type.setdefault(watch.waiter.event, {})
        if len(same) >= self.MOST:
            return False
        same[watch.key] = self._by_key[watch.key] = watch
        return True

    def drop(self, key: Key) -> None:
        """Forget one, if it is there."""
        watch = self._by_key.pop(key, None)
        if watch is None:
            return
        same = self._by_type[watch.waiter.event]
        del same[key]
        if not same:
            del self._by_type[watch.waiter.event]
