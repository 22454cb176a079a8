"""A pull consumer read without pause: overlapping requests, one callback, a watchdog on the server's heartbeats.

nats-py's `fetch` makes a task and a timer per message, and a `fetch` that is pending across a server restart waits
its whole time-out though messages are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.model.instant import parse_rfc3339

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_EXPIRES_NS = 30_000_000_000
_HEARTBEAT_NS = 1_000_000_000
_SILENCE_S = 2.5  # two heartbeats and a half: then the requests are lost and made anew


class Place(NamedTuple):
    """What JetStream says about a delivered message, in its reply subject."""

    stream_seq: int
    consumer_seq: int
    time_ns: int
    deliveries: int


def place_of(message: Message) -> Place:
    """The place of a delivered message, from `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<n>.<time>.<pending>`.

    The longer form of newer servers carries the domain and account hash in front and a token at the end.
    """
    tokens = message.reply.split(".")
    at = 4 if len(tokens) <= 9 else 6
    return Place(int(tokens[at + 1]), int(tokens[at + 2]), int(tokens[at + 3]), int(tokens[at]))


def direct_time_ns(message: Message) -> int:
    """The server's time for a message read by direct get."""
    return parse_rfc3339(message.header(b"Nats-Time-Stamp").decode())


class GapError(Exception):
    """The consumer has delivered messages that did not arrive here: a connection was lost with them."""


class Pull:
    """Messages of one consumer, requested ahead, up to `most` at a time.

    An `exclusive` one is the consumer's only reader, freshly created or reset: it knows that every delivery is
    meant for it and raises GapError when one is missing.
    """

    def __init__(self, link: Link, stream: str, consumer: str, *, most: int, exclusive: bool = False) -> None:
        self._link = link
        self._consumer = consumer
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._most = most
        self._exclusive = exclusive
        self._delivered = 0
        self._gap = False
        self._requested = 0
        self._buffer: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._heard = 0.0
        self._inbox = link.new_inbox()
        self._subscription = 0
        self._watchdog: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._subscription = self._link.subscribe(self._inbox, self._on_message)
        self._heard = asyncio.get_running_loop().time()
        self._watchdog = asyncio.create_task(self._watch(), name=f"watchdog of {self._subject}")

    def close(self) -> None:
        """Stop. May be called again."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._link.unsubscribe(self._subscription)

    def buffered(self) -> list[Message]:
        """Take everything that arrived and was not taken."""
        left = list(self._buffer)
        self._buffer.clear()
        return left

    async def take(self, room: int) -> list[Message]:
        """Up to `room` messages, at least one; waits for them. One call at a time. Raises GapError."""
        while not self._buffer:
            if self._gap:
                raise GapError
            self._arrived.clear()
            self._request(room)
            await self._arrived.wait()
        taken = [self._buffer.popleft() for _ in range(min(room, len(self._buffer)))]
        if room > len(taken):
            self._request(room - len(taken))
        return taken

    def _request(self, room: int) -> None:
        """Ask for what `room` can hold, unless enough is on its way."""
        wanted = min(room, self._most) - self._requested - len(self._buffer)
        # Asking for each freed place alone would cost a message per message.
        if wanted <= 0 or (self._requested and wanted < self._most // 4):
            return
        if not self._requested:
            self._heard = asyncio.get_running_loop().time()
        self._requested += wanted
        body = msgspec.json.encode({"batch": wanted, "expires": _EXPIRES_NS, "idle_heartbeat": _HEARTBEAT_NS})
        if not self._link.send(self._subject, body, reply=self._inbox):
            self._requested -= wanted  # the watchdog asks again

    def _on_message(self, message: Message) -> None:
        self._heard = asyncio.get_running_loop().time()
        status = message.status
        if not status:
            self._requested = max(self._requested - 1, 0)
            if self._exclusive:
                self._delivered += 1
                if self._gap or place_of(message).consumer_seq != self._delivered:
                    self._gap = True
                    self._wake()
                    return
            self._buffer.append(message)
            self._arrived.set()
        elif status == "100":
            self._on_heartbeat(message)
        else:
            self._on_status(status, message)

    def _on_heartbeat(self, message: Message) -> None:
        """An idle consumer says how many messages it has delivered."""
        last = int(message.header(b"Nats-Last-Consumer") or 0)
        if self._exclusive and last > self._delivered:
            self._gap = True
            self._wake()

    def _on_status(self, status: str, message: Message) -> None:
        """A request ended: expired (408), was too many (409), or the consumer is gone (404)."""
        left = int(message.header(b"Nats-Pending-Messages") or self._requested)
        self._requested = max(self._requested - left, 0)
        if status == "408":
            self._wake()
        else:  # asking again at once could spin; the watchdog does it within a second
            gone = status in ("404", "503") or "Deleted" in message.description
            say = log.warning if gone else log.debug
            say("nothing comes from consumer %s: %s", self._consumer, message.description or status)

    async def _watch(self) -> None:
        """Requests die with a connection or a server, unannounced: silence means asking again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_HEARTBEAT_NS / 1e9)
            if self._requested and loop.time() - self._heard > _SILENCE_S:
                self._requested = 0
                self._heard = loop.time()
            if not self._requested:
                self._wake()

    def _wake(self) -> None:
        """Let a waiting `take` ask again. It finds the buffer as it is, empty or not."""
        self._arrived.set()
