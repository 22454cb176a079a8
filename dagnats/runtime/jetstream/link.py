"""Requests and acknowledged publishes over one connection: many in flight, one inbox, one sweep for time-outs.

A request is an entry in a dict, a message, and a callback: no task, no timer and no subscription of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from dagnats.errors import ConflictError, DagnatsError, RefusedError, UnavailableError
from dagnats.runtime.jetstream.natspy import NatsPy, reason
from dagnats.runtime.jetstream.wire import Refused, Unsuited, Wire
from dagnats.runtime.ports import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagnats.runtime.jetstream.channel import Channel, Message

log = logging.getLogger("dagnats.nats")

TIMEOUT_S = 5.0  # a server that is up answers in milliseconds; a lost connection is noticed before this
_SWEEP_S = 0.25
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0
_SCHEMES = ("nats", "tls", "ws", "wss")
_TOKEN_HINT = "the server asks for another token: give it with --token or DAGNATS_TOKEN"

MSG_ID = "Nats-Msg-Id"
EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"


class _ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _ApiError | None = None


_answer = msgspec.json.Decoder(_Answer)

# JetStream error codes that mean "somebody was first".
_CONFLICTS = {10071, 10164}
# Codes that say the server cannot do it now, though it may later: no cluster leader, no room (a stream with
# `discard: new` answers 10077 when it is full), JetStream restarting.
_TRANSIENT = {10008, 10023, 10028, 10047, 10076, 10077}


def error_of(code: int, status: int, description: str) -> DagnatsError:
    """The one table from JetStream's errors to ours."""
    if code in _CONFLICTS:
        return ConflictError(f"NATS: {description}")
    if code in _TRANSIENT or status in (408, 503):
        return UnavailableError(f"NATS: {description}")
    return RefusedError(f"NATS refused the message: {description}", code=code)


# Whatever a subject is made of, it is one word to the protocol: white space in it would be another command.
_SUBJECT = re.compile(r"[^\s.\x00-\x1f\x7f]+(\.[^\s.\x00-\x1f\x7f]+)*")
_MARGIN = 512  # for what a connection adds to our headers


def header_block(headers: Mapping[str, str]) -> bytes:
    """Headers as they go over the wire; a line break in a value becomes a space."""
    lines = [f"{name}: {' '.join(value.splitlines())}\r\n" for name, value in headers.items()]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode() if lines else b""


class Link:
    """A connection that many tasks share."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._inbox = f"_INBOX.{secrets.token_hex(11)}."
        self._tokens = itertools.count()
        # By token: when to give up, and whom to tell. In order of asking, so the oldest is first.
        self._waiting: dict[str, tuple[float, Callable[[Message | DagnatsError], None]]] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None
        channel.on_lost = self._on_lost
        channel.subscribe(f"{self._inbox}*", self._on_answer)

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats") -> Link:
        """Connect, or raise UnavailableError at once; later losses of the connection heal by themselves.

        Raises:
            DagnatsError: `url` is no address of a NATS server.
            UnavailableError: Nothing answers there, or it does not let us in.
        """
        _check_address(url)
        return cls(await _open(url, token, name))

    async def close(self) -> None:
        """Close the connection; requests that wait for an answer fail."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._fail_all("the connection to NATS was closed")
        await self._channel.close()

    # -- messages ------------------------------------------------------------------------------------------

    def send(self, subject: str, data: bytes = b"", *, reply: str = "") -> bool:
        """Publish without an answer: acknowledgements, pull requests. False when the connection is lost."""
        try:
            self._channel.publish(subject, data, reply)
        except UnavailableError:
            return False
        return True

    async def drain(self) -> None:
        """Wait until the socket takes more; for those who send much."""
        await self._channel.drain()

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        """Call `callback` for each message. Nothing is dropped here: flow control is the asker's."""
        return self._channel.subscribe(subject, callback)

    def unsubscribe(self, sid: int) -> None:
        self._channel.unsubscribe(sid)

    def new_inbox(self) -> str:
        return f"_INBOX.{secrets.token_hex(11)}"

    def ask(self, subject: str, data: bytes, headers: bytes, told: Callable[[Message | DagnatsError], None]) -> None:
        """One message; `told` hears the answer, or why there is none: RefusedError, UnavailableError."""
        limit = self._channel.max_payload_bytes
        if len(data) + len(headers) + _MARGIN > limit:
            told(RefusedError(f"the message has {len(data)} bytes; the server takes at most {limit}, headers included"))
            return
        if _SUBJECT.fullmatch(subject) is None:
            told(RefusedError(f"{subject!r} cannot be the subject of a message"))
            return
        token = str(next(self._tokens))
        try:
            self._channel.publish(subject, data, self._inbox + token, headers)
        except UnavailableError as error:
            told(error)
            return
        self._waiting[token] = (self._loop.time() + TIMEOUT_S, told)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    async def up(self) -> None:
        """Wait for a connection that is being made again. Raises UnavailableError when that takes too long."""
        if not self._channel.connected:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._channel.up()
            except TimeoutError:
                raise UnavailableError(f"no connection to NATS for {TIMEOUT_S:g} s") from None

    async def request(self, subject: str, data: bytes = b"", headers: bytes = b"") -> Message:
        """One message, one answer. Raises UnavailableError after `TIMEOUT_S`, or when nobody listens."""
        await self.up()
        answer: asyncio.Future[Message] = self._loop.create_future()

        def told(result: Message | DagnatsError) -> None:
            if answer.done():
                return
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
        if message.status == "503":
            waiting[1](UnavailableError("NATS: nobody serves this request; is JetStream on?"))
        else:
            waiting[1](message)

    def _sweep(self) -> None:
        """One timer for all requests: the oldest are first in the dict."""
        now = self._loop.time()
        late = [token for token, _ in itertools.takewhile(lambda item: item[1][0] <= now, self._waiting.items())]
        for token in late:
            self._waiting.pop(token)[1](UnavailableError(f"NATS did not answer within {TIMEOUT_S:g} s"))
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep) if self._waiting else None

    def _on_lost(self) -> None:
        # Whether the server has taken what was under way is unknown; who asked knows how to ask again.
        self._fail_all("the connection to NATS was lost before the answer came")

    def _fail_all(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, told in waiting.values():
            told(UnavailableError(why))

    # -- JetStream -----------------------------------------------------------------------------------------

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> Receipt:
        """Store one message in whatever stream has the subject.

        Raises:
            ConflictError: The expected last sequence was not the last.
            RefusedError: It will never be taken.
            UnavailableError: The outcome is unknown.
        """
        message = await self.request(subject, data, header_block(headers) if headers else b"")
        acked = _acked(message)
        if isinstance(acked, DagnatsError):
            raise acked
        return acked

    def publish_surely(self, subject: str, data: bytes, headers: Mapping[str, str]) -> asyncio.Future[Receipt]:
        """`publish` at once, repeated under the same message id until NATS has answered. Never gives up.

        The message is on its way when this returns: call it many times, then wait for the futures.
        """
        return _Repeated(self, subject, data, header_block(headers)).result

    async def api(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A call of the JetStream API, below `$JS.API.`; raises like `publish`."""
        data = msgspec.json.encode(body) if body is not None else b""
        message = await self.request(f"$JS.API.{subject}", data)
        answer: dict[str, Any] = msgspec.json.decode(message.data)
        error = answer.get("error")
        if error is not None:
            raise error_of(error.get("err_code", 0), error.get("code", 0), error.get("description", ""))
        return answer


class _Repeated:
    """A message that is sent until it is answered."""

    __slots__ = ("_data", "_headers", "_link", "_loop", "_pause_s", "_subject", "result")

    def __init__(self, link: Link, subject: str, data: bytes, headers: bytes) -> None:
        self._link = link
        self._subject = subject
        self._data = data
        self._headers = headers
        self._pause_s = _FIRST_PAUSE_S
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Receipt] = self._loop.create_future()
        self._send()

    def _send(self) -> None:
        if not self.result.done():
            self._link.ask(self._subject, self._data, self._headers, self._told)

    def _told(self, answer: Message | DagnatsError) -> None:
        if self.result.done():
            return  # nobody waits any more
        acked = answer if isinstance(answer, DagnatsError) else _acked(answer)
        if isinstance(acked, Receipt):
            self.result.set_result(acked)
        elif isinstance(acked, UnavailableError):
            log.warning("sending a message to %s again in %g s: %s", self._subject, self._pause_s, acked)
            self._loop.call_later(self._pause_s, self._send)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        else:
            self.result.set_exception(acked)


def _acked(message: Message) -> Receipt | DagnatsError:
    answer = _answer.decode(message.data)
    if answer.error is not None:
        error = answer.error
        return error_of(error.err_code, error.code, error.description)
    return Receipt(answer.seq, answer.duplicate)


def _check_address(url: str) -> None:
    """Texts that are no address would be taken for a host, and fail much later."""
    try:
        parts = [urlsplit(each) for each in url.split(",")]
        valid = all(part.scheme in _SCHEMES and bool(part.hostname) and part.port != 0 for part in parts)
    except ValueError:
        valid = False
    if not valid:
        raise DagnatsError(f"{url!r} is not the address of a NATS server", hint="write it as nats://host:4222")


async def _open(url: str, token: str, name: str) -> Channel:
    """Our own connection where it can serve, nats-py's everywhere else."""
    try:
        if "," not in url and urlsplit(url).scheme == "nats":
            try:
                return await Wire.connect(url, token=token, name=name)
            except Unsuited as why:
                log.info("using nats-py's connection: %s", why)
        return await NatsPy.connect(url, token=token, name=name)
    except (OSError, TimeoutError, Refused, UnavailableError) as error:
        said = reason(error)
        hint = _TOKEN_HINT if "authorization" in said.lower() else ""
        raise UnavailableError(f"cannot connect to NATS at {url}: {said}", hint=hint) from None
