"""Messages that a stream must take: their headers, the answers to them, and sending again until there is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError, DagnatsError, RefusedError, UnavailableError
from dagnats.runtime.ports import JetStreamOff, Receipt, StoreFull

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

TIMEOUT_S = 5.0  # a server that is up answers in milliseconds; a lost connection is noticed before this
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0

MSG_ID = "Nats-Msg-Id"
EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_LAST_OF = f"{EXPECTED_LAST}-Subject"
"""Of which subject, when it is not the message's own."""
NEW = "Dagnats-New"
"""On the first event of a run whose id nobody else can have."""


def header_block(headers: Mapping[str, str]) -> bytes:
    """Headers as they go over the wire; a line break in a value becomes a space."""
    lines = [
        f"{name}: {value if value.isprintable() else ' '.join(value.splitlines())}\r\n"
        for name, value in headers.items()
    ]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode() if lines else b""


def id_block(id: str) -> bytes:
    """The header block of most messages: an id and no more."""
    if "\n" not in id and "\r" not in id:
        return f"NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n".encode()
    return header_block({MSG_ID: id})


def first_block(id: str, of: str, last: int) -> bytes:
    """The header block of a run's first event: its id, and what the last message of another subject `of` has to be."""
    if id.isprintable() and of.isprintable():  # all at once: one of these is made for every run
        expected = f"{EXPECTED_LAST}: {last}\r\n{EXPECTED_LAST_OF}: {of}"
        return f"NATS/1.0\r\n{MSG_ID}: {id}\r\n{NEW}: 1\r\n{expected}\r\n\r\n".encode()
    return header_block({MSG_ID: id, NEW: "1", EXPECTED_LAST: str(last), EXPECTED_LAST_OF: of})


def expected_block(last: int) -> bytes:
    """The header block of a compare-and-set: what comes after message `last` of its subject."""
    return f"NATS/1.0\r\n{EXPECTED_LAST}: {last}\r\n\r\n".encode()


class _ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    seq: int = 0
    error: _ApiError | None = None
    count: int = 0  # of a batch


_decoder = msgspec.json.Decoder(_Answer)
_read_receipt = msgspec.json.Decoder(Receipt).decode

# JetStream error codes that mean "somebody was first".
_CONFLICTS = {10071, 10164}
# Codes that say the server cannot do it now, though it may later: no cluster leader, JetStream restarting.
_TRANSIENT = {10008, 10028, 10076}
_UNDECIDED = 10158
_NO_ROOM = {10002, 10023, 10047}  # of the account, of the server, and of either for what a stream reserves
_OFF = 10039  # of the account
_FULL = 10077  # of a stream with `discard: new`


_ACCOUNT = "write `jetstream: enabled` into that account in the server's configuration, or sign in to another account"


class StreamFull(StoreFull):
    """The stream has as much as it may have: there will be room when somebody makes it."""


class Undecided(UnavailableError):
    """The cluster has a message of this id, and has not agreed on it yet: it will within milliseconds."""


def error_of(code: int, status: int, description: str) -> DagnatsError:
    """The one table from JetStream's errors to ours."""
    if code in _CONFLICTS:
        return ConflictError(f"NATS: {description}")
    if code == _OFF:
        return JetStreamOff("NATS answers, and its JetStream is off for the account that we sign in to", hint=_ACCOUNT)
    if code == _FULL:
        return StreamFull(f"NATS: {description}")
    if code == _UNDECIDED:
        return Undecided(f"NATS: {description}")
    if code in _NO_ROOM:
        return StoreFull(f"NATS: {description}")
    if code in _TRANSIENT or status in (408, 503):
        return UnavailableError(f"NATS: {description}")
    return RefusedError(f"NATS refused the message: {description}", code=code)


def _answer_of(message: Message) -> _Answer:
    try:
        return _decoder.decode(message.data)
    except msgspec.DecodeError:
        return _Answer()


def _error_of(answer: _Answer, message: Message) -> DagnatsError:
    if answer.error is not None:
        return error_of(answer.error.err_code, answer.error.code, answer.error.description)
    # Somebody else listens on the subject, and was quicker.
    return UnavailableError(f"{message.data[:64]!r} is no answer of a stream's")


def receipt_of(message: Message) -> Receipt | DagnatsError:
    """A stream's answer to one message."""
    try:
        receipt = _read_receipt(message.data)
    except msgspec.DecodeError:  # it has no place: what it has instead is looked for
        receipt = None
    if receipt is not None and receipt.seq:
        return receipt
    return _error_of(_answer_of(message), message)


def batch_of(message: Message) -> range | DagnatsError:
    """A stream's answer to an atomic batch: the sequences of its messages."""
    answer = _answer_of(message)
    return range(answer.seq - answer.count + 1, answer.seq + 1) if answer.seq else _error_of(answer, message)


class Publication:
    """A message on its way into a stream. `result` is there when the stream has answered; it may be cancelled.

    Args:
        within_s: How long the server remembers the message's id: it is not sent again after that. None: for ever.
        refused_when_full: Whether nobody waits for room in the stream.
    """

    # Where most have the same value, the class holds it: one of these is made for every message.
    on_told: Callable[[], None] | None = None
    """Called once, when the first sending was answered or will not be."""
    _pause_s = _FIRST_PAUSE_S
    _sent_s: float | None = None

    def __init__(
        self,
        link: Link,
        subject: str,
        data: bytes,
        headers: bytes,
        within_s: float | None = None,
        *,
        refused_when_full: bool = False,
    ) -> None:
        self._link = link
        self.subject = subject
        self.data = data
        self.headers = headers
        self._within_s = within_s
        self._refused_when_full = refused_when_full
        self.result: asyncio.Future[Receipt] = link.loop.create_future()

    def send(self) -> asyncio.Future[Receipt]:
        """Send it, and again for as long as NATS does not answer."""
        now = self._link.ask(self.subject, self.data, self.headers, self._told)
        # Without it, it was refused, or there is no connection: nothing has left.
        if now is not None and self._within_s is not None:
            self.note_sent(now)
        return self.result

    def note_sent(self, now: float) -> None:
        """It has left, by itself or in a batch: from now on it may be stored."""
        if self._within_s is None or self.result.done():
            return
        if self._sent_s is None:
            self._sent_s = now
        left_s = self._sent_s + self._within_s - now
        if left_s < TIMEOUT_S:  # otherwise this sending is found to have failed before
            self._link.loop.call_later(left_s, self._give_up)

    def settle(self, receipt: Receipt) -> None:
        """It is stored."""
        if not self.result.done():
            self.result.set_result(receipt)

    def _told(self, answer: Message | DagnatsError) -> None:
        if not self.result.done():  # else nobody waits any more
            acked = answer if isinstance(answer, DagnatsError) else receipt_of(answer)
            if isinstance(acked, Receipt):
                self.result.set_result(acked)
            elif isinstance(acked, StreamFull) and self._refused_when_full:
                self._fail(RefusedError(str(acked)))
            elif isinstance(acked, UnavailableError) and not self._link.closed:
                self._link.note_repeat(self.subject, self._pause_s, acked)
                self._link.loop.call_later(self._pause_s, self._send_again)
                self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            else:
                self._fail(acked)
        if self.on_told is not None:
            told, self.on_told = self.on_told, None
            told()

    def _send_again(self) -> None:
        if self._left_s() <= 0:
            self._give_up()
        elif not self.result.done():
            self.send()

    def _left_s(self) -> float:
        """How long it may still be sent."""
        if self._within_s is None or self._sent_s is None:
            return math.inf
        return self._sent_s + self._within_s - self._link.loop.time()

    def _give_up(self) -> None:
        self._fail(UnavailableError(f"NATS has not answered within {self._within_s:g} s; outcome unknown"))

    def _fail(self, error: DagnatsError) -> None:
        if not self.result.done():
            self.result.set_exception(error)
            if self._link.closed:
                self.result.exception()  # who closed the connection may have stopped waiting
