"""What is watched for, by the type of event: the correlator's memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from dagnats.errors import RefusedError
from dagnats.runtime.blob import refuse
from dagnats.runtime.core.condition import matches
from dagnats.runtime.core.path import Missing, decoded, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        equal: What the body has to say, when it is a plain value; None when that has to be compared.
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
        self.equal = _plain(self._right) if waiter.left and waiter.op == "eq" else None

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
    """What an event's body says. Raises Missing when no run can take it: it is no JSON, too large, nested too deep, or
    has the key of references: whoever publishes past our clients could have a run take another's payloads for its own.
    """
    try:
        refuse(event.data, what="its body")
    except RefusedError as error:
        raise Missing(str(error)) from None
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


class _Kind:
    """What is watched for of one type of event.

    A body that says another order's id is compared with no watch but that order's: thousands may wait for one type,
    and all that an event costs is the engine's time to lead.

    Attributes:
        count: How many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._by_path: dict[str, dict[object, dict[Key, Watch]]] = {}
        self._others: dict[Key, Watch] = {}

    def add(self, watch: Watch) -> None:
        self.count += 1
        self._place(watch)[watch.key] = watch

    def drop(self, watch: Watch) -> None:
        self.count -= 1
        place = self._place(watch)
        del place[watch.key]
        if not place and watch.equal is not None:
            values = self._by_path[watch.waiter.left]
            del values[watch.equal]
            if not values:
                del self._by_path[watch.waiter.left]

    def _place(self, watch: Watch) -> dict[Key, Watch]:
        if watch.equal is None:
            return self._others
        return self._by_path.setdefault(watch.waiter.left, {}).setdefault(watch.equal, {})

    def near(self, body: Any) -> Iterator[Watch]:
        """All that may take an event with this body."""
        for path, values in self._by_path.items():
            try:
                wanted = _plain(value_at(body, path))
            except Missing:
                continue
            yield from values.get(wanted, {}).values()
        yield from self._others.values()


def _plain(value: Any) -> object:
    """A value as it is looked up; None for what is not plain. `true` is no 1, and 1 is 1.0."""
    match value:
        case bool():
            return ("truth", value)
        case str() | int() | float():
            return value
        case _:
            return None


class Watches:
    """All of them."""

    MOST: ClassVar = 100_000
    """For one type of event: each has its place in memory, and one that asks for more than equality is compared."""

    def __init__(self) -> None:
        self._by_key: dict[Key, Watch] = {}
        self._by_type: dict[str, _Kind] = {}

    def has(self, waiter: Waiter) -> bool:
        return (waiter.run_id, waiter.step_id, waiter.attempt) in self._by_key

    def get(self, key: Key) -> Watch | None:
        """The one that is known by `key`."""
        return self._by_key.get(key)

    def any_of(self, type: str) -> bool:
        """Whether a type of event is watched for."""
        return type in self._by_type

    def near(self, type: str, body: Any) -> list[Watch]:
        """Those that may take an event of this type that says `body`."""
        return list(self._by_type[type].near(body))

    def add(self, watch: Watch) -> bool:
        """Take one in, in place of one with its key; False when there are too many."""
        self.drop(watch.key)
        same = self._by_type.setdefault(watch.waiter.event, _Kind())
        if same.count >= self.MOST:
            return False
        same.add(watch)
        self._by_key[watch.key] = watch
        return True

    def drop(self, key: Key) -> None:
        """Forget one, if it is there."""
        watch = self._by_key.pop(key, None)
        if watch is None:
            return
        same = self._by_type[watch.waiter.event]
        same.drop(watch)
        if not same.count:
            del self._by_type[watch.waiter.event]
