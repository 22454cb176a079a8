"""Our own NATS connection: plain TCP, token or password, no more. The hot path of engine, workers and clients.

Writes are joined per turn of the event loop, and those that nobody waits for go with later ones. Messages go to plain
callbacks, without a queue or a task in between.
A connection that is lost, or silent for `SILENCE_S` though pinged, is replaced; subscriptions come along.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import msgspec

from dagnats.errors import UnavailableError
from dagnats.runtime.jetstream.channel import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("dagnats.nats")

DEFAULT_PORT = 4222
CONNECT_S = 2.0
PING_S = 1.0
SILENCE_S = 4.0  # a zombie is found within five seconds, pings included
_PAUSES_S = (0.05, 0.1, 0.2, 0.5)
_MOST_BUFFERED = 4 * 1024 * 1024
_MUCH = 64 * 1024
_LAZY_S = 0.005  # so long waits what nobody waits for
_LARGEST_LINE = 64 * 1024


class Unsuited(Exception):
    """This server asks for something only nats-py does: TLS, nkeys, JWT."""


class Refused(Exception):
    """The server does not let us in, or speaks no NATS."""


class Info(msgspec.Struct):
    """What the server says of itself first."""

    max_payload: int = 1024 * 1024
    tls_required: bool = False
    auth_required: bool = False
    nonce: str = ""
    headers: bool = False
    server_name: str = ""


_info = msgspec.json.Decoder(Info)


class Wire:
    """`Channel` on a socket of our own."""

    def __init__(self, url: str, *, token: str, name: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or DEFAULT_PORT
        self._options = _options(parts.username, parts.password, token, name)
        self._loop = asyncio.get_running_loop()
        self._session: _Session | None = None
        self._subjects: dict[int, bytes] = {}
        self._callbacks: dict[bytes, Callable[[Message], None]] = {}
        self._last_sid = 0
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self.on_lost: Callable[[], None] = lambda: None
        self.on_up: Callable[[], None] = lambda: None

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats") -> Wire:
        """Connect once, or raise: Unsuited, Refused, OSError, TimeoutError. Later losses heal by themselves."""
        wire = cls(url, token=token, name=name)
        await wire._open()
        wire._keeper = asyncio.create_task(wire._keep(), name="nats: connection")
        return wire

    @property
    def connected(self) -> bool:
        return self._session is not None

    @property
    def max_payload_bytes(self) -> int:
        return self._max_payload

    _max_payload = 1024 * 1024

    def publish(
        self, subject: str, data: bytes, reply: str = "", headers: bytes = b"", *, lazily: bool = False
    ) -> None:
        if self._session is None:
            raise UnavailableError("the connection to NATS is lost")
        if headers:
            size = len(headers)
            line = f"HPUB {subject} {reply} {size} {size + len(data)}\r\n".encode()
            command = b"".join((line, headers, data, b"\r\n"))  # quicker than one `%`
        else:
            command = b"".join((f"PUB {subject} {reply} {len(data)}\r\n".encode(), data, b"\r\n"))
        if lazily:
            self._session.write_lazily(command)
        else:
            self._session.write(command)

    async def up(self) -> None:
        await self._up.wait()

    async def drain(self) -> None:
        if self._session is not None:
            await self._session.writable.wait()

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        self._last_sid += 1
        sid = self._last_sid
        self._subjects[sid] = subject.encode()
        self._callbacks[b"%d" % sid] = callback
        if self._session is not None:
            self._session.write(b"SUB %b %d\r\n" % (subject.encode(), sid))
        return sid

    def retire(self, sid: int) -> None:
        if self._subjects.pop(sid, None) is not None and self._session is not None:
            self._session.write_lazily(b"UNSUB %d\r\n" % sid)

    def unsubscribe(self, sid: int) -> None:
        self._callbacks.pop(b"%d" % sid, None)
        self.retire(sid)

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        session, self._session = self._session, None
        if session is not None:
            await session.finish()

    # -- the connection --------------------------------------------------------------------------------------

    async def _open(self) -> None:
        async with asyncio.timeout(CONNECT_S):
            _, session = await self._loop.create_connection(
                lambda: _Session(self._callbacks, self._session_lost), self._host, self._port
            )
            try:
                info = await session.info
                if info.tls_required or info.nonce:
                    raise Unsuited(f"{self._host} asks for {'TLS' if info.tls_required else 'a signed nonce'}")
                session.write(b"CONNECT %b\r\n" % msgspec.json.encode(self._options))
                for sid, subject in self._subjects.items():
                    session.write(b"SUB %b %d\r\n" % (subject, sid))
                await session.ping()
            except BaseException:
                session.abort()
                raise
        self._max_payload = info.max_payload
        self._lost.clear()
        self._session = session
        self._up.set()

    def _session_lost(self, session: _Session) -> None:
        if self._session is session:
            self._session = None
            self._up.clear()
            self._lost.set()
            self.on_lost()

    async def _keep(self) -> None:
        """Watch the connection; when it is lost, make another, for as long as it takes."""
        while True:
            await self._watch()
            log.warning("the connection to NATS was lost; reconnecting")
            tries = 0
            while self._session is None:
                await asyncio.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
                tries += 1
                with contextlib.suppress(OSError, TimeoutError, Refused, Unsuited, UnavailableError):
                    await self._open()
            log.warning("connected to NATS again")
            self.on_up()

    async def _watch(self) -> None:
        """Return when the connection is lost; give up one that is silent though pinged."""
        while not self._lost.is_set():
            session = self._session
            if session is not None:
                if self._loop.time() - session.heard > SILENCE_S:
                    log.warning("NATS has been silent for %g s", SILENCE_S)
                    session.abort()
                else:
                    session.write(b"PING\r\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    await self._lost.wait()


class _Session(asyncio.Protocol):
    """One TCP connection: cuts the bytes into messages, joins what is written."""

    def __init__(
        self, callbacks: Mapping[bytes, Callable[[Message], None]], on_lost: Callable[[_Session], None]
    ) -> None:
        self._callbacks = callbacks  # by the subscription's number, as it stands in the bytes
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._pending: list[bytes] = []
        self._size = 0  # of what is pending
        self._is_due = False  # whether what is pending goes with the next turn
        self._is_timed = False  # whether it goes in a while
        self._rest: list[bytes] = []  # of a command that is not all there yet
        self._have = 0
        self._wanted = 0
        self._pong: asyncio.Future[None] | None = None
        self._closed = self._loop.create_future()
        self._refusal = ""
        self.info: asyncio.Future[Info] = self._loop.create_future()
        self.heard = self._loop.time()
        self.writable = asyncio.Event()
        self.writable.set()

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, command: bytes) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)
        self._pending.append(command)
        self._size += len(command)
        if self._size > _MUCH:
            self._flush()  # so that the server works on it while we go on

    def write_lazily(self, command: bytes) -> None:
        """Write with the next command, or a little later when none comes."""
        if not (self._is_due or self._is_timed):
            self._is_timed = True
            self._loop.call_later(_LAZY_S, self._flush_late)
        self._pending.append(command)
        self._size += len(command)

    def _flush_late(self) -> None:
        self._is_timed = False
        self._flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._size, self._is_due = 0, False
        if pending and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(pending))

    async def ping(self) -> None:
        """One round trip: the server has taken everything before."""
        self._pong = self._loop.create_future()
        self.write(b"PING\r\n")
        await self._pong

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def finish(self) -> None:
        """Write what is left and close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.shield(self._closed)

    # -- asyncio.Protocol ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one without being an instance
        transport.set_write_buffer_limits(high=_MOST_BUFFERED)
        self._transport = transport

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable.set()
        error = Refused(self._refusal) if self._refusal else ConnectionError(str(exc or "closed by the server"))
        for waiting in (self.info, self._pong):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # nobody may be waiting any more
        if not self._closed.done():
            self._closed.set_result(None)
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        if self._rest:
            # A large message comes in many pieces: they are joined once, when all of it is there.
            self._rest.append(data)
            self._have += len(data)
            if self._have < self._wanted:
                return
            data = b"".join(self._rest)
        self._wanted = 0
        done = self._consume(data)
        self._rest = [data[done:]] if done < len(data) else []
        self._have = len(data) - done

    # -- parsing ---------------------------------------------------------------------------------------------

    def _consume(self, data: bytes) -> int:
        """Handle every complete command in `data`; gives how far that went."""
        at = 0
        while True:
            end = data.find(b"\r\n", at)
            if end < 0:
                return at
            first = data[at]
            if first in _OF_MESSAGES:
                after = self._message(data, at, end, first == _H)
                if after < 0:
                    return at
                at = after
            else:
                self._control(data[at:end])
                at = end + 2

    def _message(self, data: bytes, at: int, end: int, headers: bool, /) -> int:
        """`MSG <subject> <sid> [reply] <size>`, or `HMSG … <header size> <size>`; -1 when not all is there."""
        words = data[at:end].split()
        size = int(words[-1])
        start = end + 2
        stop = start + size
        if len(data) < stop + 2:
            self._wanted = stop + 2 - at
            return -1
        middle = start + int(words[-2]) if headers else start
        callback = self._callbacks.get(words[2])
        if callback is not None:
            # The server takes any bytes for a subject; one that is no text must not end the connection.
            subject = words[1].decode(errors="replace")
            reply = words[3].decode(errors="replace") if len(words) == (6 if headers else 5) else ""
            callback(Message(subject, reply, data[start:middle], data[middle:stop]))
        return stop + 2

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self.write(b"PONG\r\n")
        elif line == b"PONG":
            if self._pong is not None and not self._pong.done():
                self._pong.set_result(None)
        elif line.startswith(b"INFO "):
            if not self.info.done():
                self.info.set_result(_info.decode(line[5:]))
        elif line.startswith(b"-ERR"):
            self._refusal = line[4:].decode(errors="replace").strip(" '")
            log.log(
                logging.WARNING if self._pong is None or self._pong.done() else logging.DEBUG, "NATS: %s", self._refusal
            )


_OF_MESSAGES = b"MH"
_H = _OF_MESSAGES[1]


def _options(user: str | None, password: str | None, token: str, name: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "verbose": False,
        "pedantic": False,
        "lang": "python",
        "version": "dagnats",
        "name": name,
        "protocol": 1,
        "headers": True,
        "no_responders": True,
    }
    if token:
        options["auth_token"] = token
    elif user is not None and password is None:
        options["auth_token"] = unquote(user)
    elif user is not None:
        options["user"] = unquote(user)
        options["pass"] = unquote(password or "")
    return options
