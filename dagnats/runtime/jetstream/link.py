"""Requests and acknowledged publishes over one connection: many in flight, one inbox, one sweep for time-outs.

A request is an entry in a dict, a message, and a callback: no task, no timer and no subscription of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import msgspec

from dagnats.errors import DagnatsError, RefusedError, UnavailableError
from dagnats.model.address import without_secrets
from dagnats.runtime.jetstream.channel import reason
from dagnats.runtime.jetstream.namespace import NamespacedChannel, full_stream
from dagnats.runtime.jetstream.publish import TIMEOUT_S, Publication, Undecided, error_of, header_block, receipt_of
from dagnats.runtime.jetstream.wire import Refused, Unsuited, Wire
from dagnats.runtime.ports import JetStreamOff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagnats.runtime.jetstream.channel import Channel, Message
    from dagnats.runtime.ports import Receipt

log = logging.getLogger("dagnats.nats")

_CLOSED = "the connection to NATS was closed"
LOST = "the connection to NATS was lost before the answer came"
_SWEEP_S = 0.25
_SAY_EVERY_S = 1.0
_RETIRE_S = 1.0
_AGREEING_S = 0.05  # a cluster's servers mostly need a tenth of it
_SCHEMES = ("nats", "tls", "ws", "wss")
_TOKEN_HINT = "the server asks for another token: give it with --token or DAGNATS_TOKEN"

_API = "$JS.API."
_OF_ONE = (f"{_API}DIRECT.GET.", f"{_API}CONSUMER.MSG.NEXT.")  # answered by a stream or a consumer, if it is there
_ON = "start it as `nats-server --jetstream --store_dir DIR`, or let `dagnats serve` start one: leave its url out there"
_MARGIN = 512  # for what a connection adds to our headers


class Nobody(UnavailableError):
    """Nobody listens to this subject."""


class _Off(Nobody, JetStreamOff):
    """Nobody listens to what JetStream is asked."""


class Link:
    """A connection that many tasks share.

    Attributes:
        namespace: What the server's names have before ours; "" for nothing.
        generation: Another number after each loss of the connection. What came under the same one came over this
            connection, from a server that has not been restarted since.
    """

    def __init__(self, channel: Channel) -> None:
        self.namespace = channel.namespace if isinstance(channel, NamespacedChannel) else ""
        self._channel = channel
        self._inbox = f"_INBOX.{secrets.token_hex(11)}."
        self._tokens = itertools.count()
        # By token: when to give up, and whom to tell. In order of asking, so the oldest is first.
        self._waiting: dict[str, tuple[float, Callable[[Message | DagnatsError], None]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._repeats = 0
        self._said_s = 0.0
        self._when_up: list[Callable[[], None]] = []
        self._when_lost: list[Callable[[], None]] = []
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.generation = 0
        channel.on_lost = self._on_lost
        channel.on_up = self._up
        channel.subscribe(f"{self._inbox}*", self._on_answer)

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats", namespace: str = "") -> Self:
        """Connect, or raise UnavailableError at once; later losses of the connection heal by themselves.

        Args:
            url: Where the server is.
            token: What lets us in.
            name: How the connection shows up in NATS.
            namespace: What the server's names have before ours; "" for nothing.

        Raises:
            DagnatsError: `url` is no address of a NATS server.
            UnavailableError: Nothing answers there, or it does not let us in.
        """
        _check_address(url)
        channel = await _open(url, token, name)
        return cls(NamespacedChannel(channel, namespace) if namespace else channel)

    async def close(self) -> None:
        """Close the connection; what waits for an answer fails."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._fail_all(_CLOSED)
        await self._channel.close()

    # -- messages ------------------------------------------------------------------------------------------

    def send(
        self, subject: str, data: bytes = b"", *, reply: str = "", headers: bytes = b"", lazily: bool = False
    ) -> bool:
        """Publish without an answer: acknowledgements, pull requests. False when the connection is lost.

        Args:
            lazily: Nobody waits for it: see `Channel.publish`.
        """
        try:
            self._channel.publish(subject, data, reply, headers, lazily=lazily)
        except UnavailableError:
            return False
        return True

    async def drain(self) -> None:
        """Wait until the socket takes more; for those who send much."""
        await self._channel.drain()

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        """Call `callback` for each message. Nothing is dropped here: flow control is the asker's."""
        return self._channel.subscribe(subject, callback)

    async def retire(self, sid: int) -> None:
        """Get no more messages of a subscription; those that were on their way have come when this returns."""
        self._channel.retire(sid)
        with suppress(DagnatsError, TimeoutError):  # they are lost with the connection
            async with asyncio.timeout(_RETIRE_S):
                # The server does one thing after the other: what it answers now is behind what it had sent.
                await self.request(f"{_API}INFO")

    def unsubscribe(self, sid: int) -> None:
        self._channel.unsubscribe(sid)

    def new_inbox(self) -> str:
        return f"_INBOX.{secrets.token_hex(11)}"

    def on_up(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each reconnect, until what this returns is called, once."""
        self._when_up.append(callback)
        return lambda: self._when_up.remove(callback)

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever the connection is lost, until what this returns is called, once."""
        self._when_lost.append(callback)
        return lambda: self._when_lost.remove(callback)

    @property
    def max_payload_bytes(self) -> int:
        """The largest message the server takes, headers included."""
        return self._channel.max_payload_bytes

    def refusal(self, subject: str, data: bytes, headers: bytes) -> RefusedError | None:
        """Why a message can never be sent, or None."""
        size, limit = len(data), self._channel.max_payload_bytes
        if size + len(headers) + _MARGIN > limit:
            return RefusedError(f"the message has {size} bytes; the server takes at most {limit}, headers included")
        # To the protocol a subject is one word: white space in it would be another command.
        if " " in subject or ".." in subject or not subject.isprintable() or "." in (subject[:1], subject[-1:]):
            return RefusedError(f"{subject!r} cannot be the subject of a message")
        return None

    def ask(
        self, subject: str, data: bytes, headers: bytes, told: Callable[[Message | DagnatsError], None]
    ) -> float | None:
        """One message; `told` hears the answer, or why there is none: RefusedError, UnavailableError.

        Returns:
            When it has left, by the loop's clock. If it has not, None, and `told` was called.
        """
        why_not = UnavailableError(_CLOSED) if self.closed else self.refusal(subject, data, headers)
        if why_not is not None:
            told(why_not)
            return None
        token = str(next(self._tokens))
        try:
            self._channel.publish(subject, data, self._inbox + token, headers)
        except UnavailableError as error:
            told(error)
            return None
        now = self.loop.time()
        self._waiting[token] = (now + TIMEOUT_S, told)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)
        return now

    async def up(self) -> None:
        """Wait for a connection that is being made again. Raises UnavailableError when that takes too long."""
        if not self._channel.connected:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._channel.up()
            except TimeoutError:
                raise UnavailableError(f"no connection to NATS for {TIMEOUT_S:g} s") from None

    async def request(
        self, subject: str, data: bytes = b"", headers: bytes = b"", *, generation: int | None = None
    ) -> Message:
        """One message, one answer. Raises UnavailableError after `TIMEOUT_S`, or when nobody listens.

        Args:
            generation: It leaves over the connection that had this one, or never. None: over any; one that is being
                made again is waited for.
        """
        if generation is None:
            if not self._channel.connected:
                await self.up()
        elif generation != self.generation:
            raise UnavailableError(LOST)
        answer: asyncio.Future[Message] = self.loop.create_future()

        def told(result: Message | DagnatsError) -> None:
            if answer.done():
                return
            if isinstance(result, Nobody) and subject.startswith(_API) and not subject.startswith(_OF_ONE):
                result = _Off("NATS answers, and its JetStream is off", hint=_ON)
            elif isinstance(result, Nobody):  # the stream or bucket in the subject may have been removed
                result = Nobody(f"NATS: nobody serves {subject}; is JetStream on, and is what it names there?")
            if isinstance(result, DagnatsError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        self.ask(subject, data, headers, told)
        return await answer

    def _on_answer(self, message: Message) -> None:
        waiting = self._waiting.pop(message.subject[len(self._inbox) :], None)
        if waiting is None:
            return
        if message.raw_headers and message.status == "503":
            waiting[1](Nobody("NATS: nobody serves this request; is JetStream on?"))
        else:
            waiting[1](message)

    def _sweep(self) -> None:
        """One timer for all requests: the oldest are first in the dict."""
        now = self.loop.time()
        late = [token for token, _ in itertools.takewhile(lambda item: item[1][0] <= now, self._waiting.items())]
        for token in late:
            self._waiting.pop(token)[1](UnavailableError(f"NATS did not answer within {TIMEOUT_S:g} s"))
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep) if self._waiting else None

    def _on_lost(self) -> None:
        self.generation += 1
        # Whether the server has taken what was under way is unknown; who asked knows how to ask again.
        self._fail_all(LOST)
        for callback in list(self._when_lost):
            callback()

    def _up(self) -> None:
        self.generation += 1  # messages may have come over one that did not last until it was said to be there
        for callback in list(self._when_up):
            callback()

    def _fail_all(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, told in waiting.values():
            told(UnavailableError(why))

    # -- JetStream -----------------------------------------------------------------------------------------

    def full_name(self, stream: str) -> str:
        """What a stream is called on the server, for those who look at it with the `nats` tool."""
        return full_stream(self.namespace, stream)

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] | bytes = b"") -> Receipt:
        """Store one message in whatever stream has the subject.

        Args:
            headers: By name, or as they go over the wire.

        Raises:
            ConflictError: The expected last sequence was not the last.
            RefusedError: It will never be taken.
            UnavailableError: The outcome is unknown.
        """
        block = headers if isinstance(headers, bytes) else header_block(headers)
        patient_until = self.loop.time() + TIMEOUT_S
        acked = receipt_of(await self.request(subject, data, block))
        while isinstance(acked, Undecided) and self.loop.time() < patient_until:
            await asyncio.sleep(_AGREEING_S)
            acked = receipt_of(await self.request(subject, data, block))
        if isinstance(acked, DagnatsError):
            raise acked
        return acked

    def publish_surely(
        self, subject: str, data: bytes, headers: Mapping[str, str], *, within_s: float | None = None
    ) -> asyncio.Future[Receipt]:
        """`publish` at once, repeated under the same message id until NATS has answered.

        The message is on its way when this returns: call it many times, then wait for the futures.

        Args:
            within_s: Give up with UnavailableError, outcome unknown, when that long has passed since it first left.
                None: never.
        """
        return Publication(self, subject, data, header_block(headers), within_s).send()

    def note_repeat(self, subject: str, pause_s: float, why: UnavailableError) -> None:
        """Say that a message is sent again: one line a second, however many wait."""
        self._repeats += 1
        now = self.loop.time()
        if now - self._said_s >= _SAY_EVERY_S:
            others = f" (and {self._repeats - 1} others before it)" if self._repeats > 1 else ""
            log.warning("sending a message to %s again in %g s%s: %s", subject, pause_s, others, why)
            self._repeats, self._said_s = 0, now

    async def api(
        self, subject: str, body: Mapping[str, Any] | None = None, *, generation: int | None = None
    ) -> dict[str, Any]:
        """A call of the JetStream API, below `$JS.API.`; raises like `publish`.

        Args:
            generation: See `request`.
        """
        data = msgspec.json.encode(body) if body is not None else b""
        message = await self.request(f"{_API}{subject}", data, generation=generation)
        answer: dict[str, Any] = msgspec.json.decode(message.data)
        error = answer.get("error")
        if error is not None:
            raise error_of(error.get("err_code", 0), error.get("code", 0), error.get("description", ""))
        return answer


def _check_address(url: str) -> None:
    """Texts that are no address would be taken for a host, and fail much later."""
    try:
        parts = [urlsplit(each) for each in url.split(",")]
        valid = all(part.scheme in _SCHEMES and bool(part.hostname) and part.port != 0 for part in parts)
    except ValueError:
        valid = False
    if not valid:
        raise DagnatsError(
            f"{without_secrets(url)!r} is not the address of a NATS server", hint="write it as nats://host:4222"
        )


async def _open(url: str, token: str, name: str) -> Channel:
    """Our own connection where it can serve, nats-py's everywhere else."""
    try:
        if "," not in url and urlsplit(url).scheme == "nats":
            try:
                return await Wire.connect(url, token=token, name=name)
            except Unsuited as why:
                log.info("using nats-py's connection: %s", why)
        from dagnats.runtime.jetstream.natspy import NatsPy  # not at the top: few need nats-py, and it loads slowly

        return await NatsPy.connect(url, token=token, name=name)
    except (OSError, TimeoutError, Refused, UnavailableError) as error:
        said = reason(error)
        hint = _TOKEN_HINT if "authorization" in said.lower() else ""
        raise UnavailableError(f"cannot connect to NATS at {without_secrets(url)}: {said}", hint=hint) from None
