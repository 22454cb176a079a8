"""A pull consumer read without pause: overlapping requests, one callback, a watchdog on the server's heartbeats.

nats-py's `fetch` makes a task and a timer per message, and a `fetch` that is pending across a server restart waits
its whole time-out though messages are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_EXPIRES_NS = 30_000_000_000
_HEARTBEAT_NS = 1_000_000_000
_SILENT = 2  # so many looks in a row, a heartbeat apart, that saw nothing: then the requests are lost
_MOST_BYTES = 16 * 1024 * 1024  # of one request, or two of the largest messages the server takes


# JetStream says about a delivered message, in its reply subject:
# $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<number of the delivery>.<time>.<pending>
# The longer form of newer servers carries the domain and account hash in front and a token at the end.


def place_of(message: Message) -> tuple[int, int, int]:
    """A delivered message's sequence in the stream, number of the delivery, and the server's time."""
    return _place_in(message.reply.split("."))


def stored_at(address: str) -> tuple[str, int, int]:
    """Where a message is stored that was delivered with this reply subject: the stream, as the server calls it, and the
    sequence there; and the server's time for it."""
    tokens = address.split(".")
    seq, _, time_ns = _place_in(tokens)
    return tokens[2 if len(tokens) <= 9 else 4], seq, time_ns


def _place_in(tokens: list[str]) -> tuple[int, int, int]:
    at = 5 if len(tokens) <= 9 else 7
    return int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 2])


def deliveries_of(message: Message) -> int:
    """How often a message was delivered, this time included."""
    tokens = message.reply.split(".")
    return int(tokens[4 if len(tokens) <= 9 else 6])


class GapError(Exception):
    """The consumer is gone, or has delivered messages that did not arrive here: begin anew."""


class Pull:
    """Messages of one consumer, requested ahead, up to `most` at a time.

    An `exclusive` one is the consumer's only reader, from its beginning, and cannot have anything delivered again.
    So it reads `most` ahead, and raises GapError when something may be missing.

    Args:
        filter: The consumer's own filter, of one `*` or `>` at its end; "" for a stream's only one. A server that has
            lost all of a stream delivers again what it had delivered before, and looks at the places alone.
        make: Makes the consumer, unless it is there: called when it is gone. The server may have lost it, or forgotten
            it while nobody asked, or somebody has removed it.
    """

    def __init__(
        self,
        link: Link,
        stream: str,
        consumer: str,
        *,
        most: int,
        exclusive: bool = False,
        filter: str = "",
        make: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        self._begins, self._is_flat = filter[:-1], filter.endswith("*")
        self._is_astray = False
        self._make = make
        self._making: asyncio.Task[None] | None = None
        self._link = link
        self._consumer = consumer
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._most = most
        self._exclusive = exclusive
        self._gap = False
        self._requested = 0
        self._arrived_count = 0
        self._buffer: deque[Message] = deque()
        self._news: asyncio.Future[None] | None = None  # of a `take` that waits
        self._heard = True
        self.shared = False
        """Whether who takes has another source too: then a `take` may give nothing, whenever it was woken."""
        self.on_news: Callable[[], None] | None = None
        self._inbox = link.new_inbox()
        self._subscription = 0
        self._forget: Callable[[], None] | None = None
        self._watchdog: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._subscription = self._link.subscribe(self._inbox, self._on_message)
        self._forget = self._link.on_up(self._on_up)
        self._watchdog = asyncio.create_task(self._watch(), name=f"watchdog of {self._subject}")

    async def retire(self) -> None:
        """Have what was requested and is on its way arrive in the buffer, and nothing more."""
        if self._forget is not None:
            await self._link.retire(self._subscription)

    def close(self) -> None:
        """Stop. May be called again."""
        if self._forget is not None and self._watchdog is not None:
            self._forget()
            self._forget = None
            self._watchdog.cancel()
            if self._making is not None:
                self._making.cancel()
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
            self._request(room)
            self._news = self._link.loop.create_future()
            await self._news
            if self.shared:
                break
        if room >= len(self._buffer):
            taken = self.buffered()
        else:
            taken = [self._buffer.popleft() for _ in range(room)]
        self._request(room - len(taken))
        return taken

    def ready(self, room: int) -> list[Message]:
        """Up to `room` messages that have arrived; more are asked for."""
        taken = [self._buffer.popleft() for _ in range(min(room, len(self._buffer)))]
        self._request(room - len(taken))
        return taken

    def _request(self, room: int) -> None:
        """Ask for what `room` can hold, unless enough is on its way."""
        wanted = (self._most if self._exclusive else min(room, self._most)) - self._requested - len(self._buffer)
        # Asking for each freed place alone would cost a message per message.
        if wanted <= 0 or (self._requested and wanted < self._most // 4):
            return
        request = {
            "batch": wanted,
            "max_bytes": max(_MOST_BYTES, 2 * self._link.max_payload_bytes),
            "expires": _EXPIRES_NS,
            "idle_heartbeat": _HEARTBEAT_NS,
        }
        self._heard = True
        if self._link.send(self._subject, msgspec.json.encode(request), reply=self._inbox):
            self._requested += wanted

    def _on_message(self, message: Message) -> None:
        self._heard = True
        if message.raw_headers[8:9] == b" ":  # `NATS/1.0 100`: the server's own word
            self._on_status(message.status, message)
            return
        if self._requested:  # one that was given up for lost may still be served
            self._requested -= 1
        self._arrived_count += 1
        if self._begins and not self._is_ours(message.subject):  # whose it is gets it from another consumer
            return
        message.generation = self._link.generation
        self._buffer.append(message)
        self.wake()

    def _is_ours(self, subject: str) -> bool:
        begins = self._begins
        if subject.startswith(begins) and not (self._is_flat and "." in subject[len(begins) :]):
            return True
        if not self._is_astray:  # it comes again and again
            log.warning("consumer %s was given a message of %s: such are left where they are", self._consumer, subject)
            self._is_astray = True
        return False

    def _on_status(self, status: str, message: Message) -> None:
        """A heartbeat (100), or a request ended: expired (408), too much (409), the consumer is gone (404, 503)."""
        if status == "100":
            # An idle consumer says how many messages it has delivered.
            if self._exclusive and int(message.header(b"Nats-Last-Consumer") or 0) > self._arrived_count:
                self._begin_anew()
            return
        self._requested = max(self._requested - int(message.header(b"Nats-Pending-Messages") or self._requested), 0)
        gone = status in ("404", "503") or "Deleted" in message.description
        if status == "408" or "MaxBytes" in message.description:
            self.wake()
        elif gone and self._exclusive:
            self._begin_anew()
        else:  # asking again at once could spin; the watchdog does it within a second
            if gone:
                self._make_again()
            say = log.warning if gone else log.debug
            say("nothing comes from consumer %s: %s", self._consumer, message.description or status)

    def _make_again(self) -> None:
        if self._make is not None and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._remake(self._make), name=f"consumer {self._consumer}")

    async def _remake(self, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await make()
        except DagnatsError as error:  # asked again when nothing comes again
            log.warning("consumer %s could not be made again: %s", self._consumer, error)

    def _on_up(self) -> None:
        """Requests do not outlive a connection, nor does what was on its way."""
        self._requested = 0
        if self._exclusive:
            self._begin_anew()
        self.wake()

    def _begin_anew(self) -> None:
        self._gap = True
        self.wake()

    async def _watch(self) -> None:
        """Requests can die with a server, unannounced: silence means asking again."""
        silent = 0
        while True:
            await asyncio.sleep(_HEARTBEAT_NS / 1e9)
            silent = 0 if self._heard or not self._requested else silent + 1
            self._heard = False
            if silent == _SILENT:
                self._on_up()
            if not self._requested:
                self.wake()

    def wake(self) -> None:
        """Let a waiting `take` look again."""
        if self.on_news is not None:
            self.on_news()
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
