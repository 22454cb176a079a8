"""One connection to NATS: acknowledged requests over a single inbox, with nats-py below for the connection itself.

nats-py's own `request` makes a subscription, a task and a timer of each call, and its `publish_async` loses server
errors. Here a request is a future in a dict, a published message and a shared sweep for time-outs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import nats.errors
from nats.aio.client import Client

from dagnats.errors import ConflictError, DagnatsError, RefusedError, UnavailableError
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

log = logging.getLogger("dagnats.nats")

TIMEOUT_S = 5.0  # a server that is up answers in milliseconds; one that is down is noticed by the pings
_SWEEP_S = 0.25

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


class Ack(NamedTuple):
    """A stream's answer to a publish."""

    seq: int
    duplicate: bool


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


class Link:
    """A connection that many tasks share."""

    def __init__(self, client: Client, callbacks: _Callbacks) -> None:
        self._client = client
        self._callbacks = callbacks
        self._inbox = f"{client.new_inbox()}."
        self._tokens = itertools.count()
        self._waiting: dict[str, tuple[float, asyncio.Future[Msg]]] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats") -> Link:
        """Connect, or raise UnavailableError at once; later losses of the connection heal by themselves.

        Raises:
            DagnatsError: `url` is no address of a NATS server.
            UnavailableError: Nothing answers there, or it does not let us in.
        """
        _check_address(url)
        client = Client()
        callbacks = _Callbacks()
        options: dict[str, Any] = {"token": token} if token else {}
        try:
            await client.connect(
                url,
                name=name,
                # A person waits for the first connection: two tries. Later ones never give up (below).
                max_reconnect_attempts=1,
                connect_timeout=2,
                reconnect_time_wait=0.2,  # pyright: ignore[reportArgumentType]  # nats-py sleeps for it: any number
                ping_interval=2,
                max_outstanding_pings=2,
                pending_size=64 * 1024 * 1024,
                error_cb=callbacks.on_error,
                disconnected_cb=callbacks.on_disconnect,
                reconnected_cb=callbacks.on_reconnect,
                **options,
            )
        except (OSError, TimeoutError, nats.errors.Error) as error:
            await client.close()
            reason = _reason(callbacks.last_error or error)
            hint = _TOKEN_HINT if "authorization" in reason.lower() else ""
            raise UnavailableError(f"cannot connect to NATS at {url}: {reason}", hint=hint) from None
        callbacks.telling = True
        client.options["max_reconnect_attempts"] = -1
        link = cls(client, callbacks)
        await link.subscribe(f"{link._inbox}*", link._on_answer)
        return link

    async def close(self) -> None:
        """Close the connection; requests that wait for an answer fail."""
        self._callbacks.telling = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(UnavailableError("the connection to NATS was closed"))
        self._waiting.clear()
        # nats-py flushes what is left, to a socket that may be gone.
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._client.close()

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    @property
    def max_payload_bytes(self) -> int:
        return self._client.max_payload

    # -- messages ------------------------------------------------------------------------------------------

    async def send(self, subject: str, data: bytes = b"", *, reply: str = "") -> None:
        """Publish without an answer: acknowledgements, pull requests."""
        try:
            await self._client.publish(subject, data, reply)
        except nats.errors.Error as error:
            raise UnavailableError(f"NATS: {_reason(error)}") from None

    async def subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Call `callback` for each message. Nothing is dropped here: flow control is the asker's."""
        return await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]  # its Future has no type
            subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
        )

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; one that ended with its connection is fine."""
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()

    def new_inbox(self) -> str:
        return self._client.new_inbox()

    def request(self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Awaitable[Msg]:
        """One message, one answer. Raises UnavailableError after `TIMEOUT_S`, or when nobody listens."""
        return self._request(subject, data, headers)

    async def _request(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> Msg:
        token = str(next(self._tokens))
        answer: asyncio.Future[Msg] = self._loop.create_future()
        self._waiting[token] = (self._loop.time() + TIMEOUT_S, answer)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        try:
            await self._client.publish(subject, data, self._inbox + token, dict(headers) if headers else None)
            return await answer
        except nats.errors.MaxPayloadError:
            raise RefusedError(
                f"the message has {len(data)} bytes; the server takes at most {self.max_payload_bytes}"
            ) from None
        except nats.errors.Error as error:
            raise UnavailableError(f"NATS: {_reason(error)}") from None
        finally:
            self._waiting.pop(token, None)

    async def _on_answer(self, message: Msg) -> None:
        _, answer = self._waiting.get(message.subject[len(self._inbox) :], (0.0, None))
        if answer is None or answer.done():
            return
        if message.headers and message.headers.get("Status") == "503":
            answer.set_exception(UnavailableError("NATS: nobody serves this request; is JetStream on?"))
        else:
            answer.set_result(message)

    def _sweep(self) -> None:
        """One timer for all requests: the oldest are first in the dict."""
        now = self._loop.time()
        for due, answer in list(self._waiting.values()):
            if due > now:
                break
            if not answer.done():
                answer.set_exception(UnavailableError(f"NATS did not answer within {TIMEOUT_S:g} s"))
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep) if self._waiting else None

    # -- JetStream -----------------------------------------------------------------------------------------

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> Ack:
        """Store one message in whatever stream has the subject.

        Raises:
            ConflictError: The expected last sequence was not the last.
            RefusedError: It will never be taken.
            UnavailableError: The outcome is unknown.
        """
        message = await self.request(subject, data, headers)
        answer = _answer.decode(message.data)
        if answer.error is not None:
            error = answer.error
            raise error_of(error.err_code, error.code, error.description)
        return Ack(answer.seq, answer.duplicate)

    async def publish_surely(self, subject: str, data: bytes, headers: Mapping[str, str]) -> Ack:
        """`publish`, repeated under the same message id until NATS has answered. Never gives up on its own."""
        return await persist(lambda: self.publish(subject, data, headers))

    async def api(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A call of the JetStream API, below `$JS.API.`; raises like `publish`."""
        data = msgspec.json.encode(body) if body is not None else b""
        message = await self.request(f"$JS.API.{subject}", data)
        answer: dict[str, Any] = msgspec.json.decode(message.data)
        error = answer.get("error")
        if error is not None:
            raise error_of(error.get("err_code", 0), error.get("code", 0), error.get("description", ""))
        return answer


class _Callbacks:
    """nats-py's callbacks. None of them may raise: that would end its read loop, or its reconnecting, for good."""

    def __init__(self) -> None:
        self.telling = False
        self._lost = False
        self.last_error: Exception | None = None

    async def on_error(self, error: Exception) -> None:
        # What the server said about us tells more than how it then closed the connection.
        if not (isinstance(error, OSError) and isinstance(self.last_error, nats.errors.Error)):
            self.last_error = error
        if self.telling and not self._lost:
            log.warning("NATS: %s", _reason(error))

    async def on_disconnect(self) -> None:
        if self.telling and not self._lost:
            log.warning("the connection to NATS was lost; reconnecting")
        self._lost = True  # every try that fails from here on would be a line of its own

    async def on_reconnect(self) -> None:
        self._lost = False
        log.warning("connected to NATS again")


def _check_address(url: str) -> None:
    """nats-py takes some texts that are no address for one, and fails much later."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise DagnatsError(f"{url!r} is not the address of a NATS server", hint="write it as nats://host:4222")


def _reason(error: BaseException) -> str:
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__
