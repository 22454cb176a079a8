"""A stream as one engine reads it: through a consumer in the server's memory, made anew when it is lost."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Self

from dagnats.errors import UnavailableError
from dagnats.model.event import OF_STEP
from dagnats.runtime.jetstream.publish import EXPECTED_LAST, NEW
from dagnats.runtime.jetstream.pull import GapError, Pull, place_of
from dagnats.runtime.jetstream.read import message_at, state_of, time_ns_of
from dagnats.runtime.jetstream.resources import EVENTS, HISTORY
from dagnats.runtime.ports import Entry, Happening, LogCut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_BATCH = 512
_AHEAD = 2 * _BATCH
_INACTIVE_NS = 90_000_000_000  # a consumer whose reader died is gone after that
_PAUSE_S = 0.25
_NOTHING_BEFORE = f"\r\n{EXPECTED_LAST}: 0\r\n".encode()
_NEW = f"\r\n{NEW}: ".encode()


class _Feed:
    """Reads a stream whose subjects are `<prefix><name>`: an entry's `run_id` is that name."""

    _stream: str
    _prefix: str
    _said: str

    def __init__(self, link: Link, after: int) -> None:
        self._link = link
        self._seen = after
        self._seen_ns = 0  # 0: not known
        self._live_from = 0
        self._next = 1  # the number of the next delivery
        self._name = ""
        self._pull: Pull | None = None

    @classmethod
    async def open(cls, link: Link, after: int) -> Self:
        feed = cls(link, after)
        await feed._begin()
        return feed

    async def _batch(self) -> list[Entry]:
        while True:
            try:
                if self._pull is None:
                    await self._begin()
                else:
                    return self._entries(await self._pull.take(_BATCH))
            except GapError:
                self._end()
            except UnavailableError as error:
                log.warning("cannot read stream %s, trying again in %g s: %s", self._stream, _PAUSE_S, error)
                await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        self._end()

    async def _begin(self) -> None:
        """Read on behind what was seen, if that is still there."""
        name = f"engine-{secrets.token_hex(8)}"
        config = {
            "name": name,
            "description": "An engine reads the stream.",
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._seen + 1,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _INACTIVE_NS,
        }
        stream = self._stream
        await self._link.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
        # Only now: a server that comes back with a shorter log has lost the consumer, and so is noticed.
        await self._check()
        self._name, self._next = name, 1
        self._pull = Pull(self._link, stream, name, most=_AHEAD, exclusive=True)
        self._pull.start()

    async def _check(self) -> None:
        """Raise LogCut when what was seen last is not in the log."""
        last = (await state_of(self._link, self._stream))["last_seq"]
        if last < self._seen:
            raise LogCut(f"{self._said} ends at event {last}; it was read up to {self._seen}")
        message = await message_at(self._link, self._stream, self._seen) if self._seen else None
        if message is not None:  # it may have been removed
            stored_ns = time_ns_of(message)
            if self._seen_ns not in (0, stored_ns):
                raise LogCut(f"event {self._seen} of {self._said} is another one than was read")
            self._seen_ns = stored_ns
        self._live_from = last + 1

    def _entries(self, messages: Sequence[Message]) -> list[Entry]:
        entries: list[Entry] = []
        prefix = len(self._prefix)
        for message in messages:
            seq, number, time_ns = place_of(message)
            if number != self._next:
                break
            self._next += 1
            # The server has checked that nothing was there before, or nothing can have been, and no engine has seen
            # it: certainly a new run.
            said, data = message.raw_headers, message.data
            can_be_first = seq >= self._live_from and data[: len(OF_STEP)] != OF_STEP
            first = can_be_first and (_NEW in said or _NOTHING_BEFORE in said)
            entries.append(Entry(seq, time_ns, message.subject[prefix:], data, first))
        if entries:
            self._seen, self._seen_ns = entries[-1].seq, entries[-1].time_ns
        if len(entries) < len(messages):  # some deliveries were lost; none of them is acknowledged, or comes again
            self._end()
        if not entries:
            raise GapError
        return entries

    def _end(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.close()
            self._link.ask(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}", b"", b"", lambda _: None)


class JetStreamLogFeed(_Feed):
    """`ports.LogFeed`."""

    _stream = HISTORY
    _prefix = "history."
    _said = "the history"

    async def batch(self) -> list[Entry]:
        return await self._batch()


class JetStreamEventFeed(_Feed):
    """`ports.EventFeed`."""

    _stream = EVENTS
    _prefix = "event."
    _said = "the stream of events"

    async def batch(self) -> list[Happening]:
        return [Happening(each.seq, each.time_ns, each.run_id, each.data) for each in await self._batch()]
