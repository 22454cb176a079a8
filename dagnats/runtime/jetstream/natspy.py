"""nats-py as a `Channel`: TLS, nkeys, JWT credentials, several servers. Slower than `Wire`, and complete.

Its calls are coroutines; ours return at once. So they wait their turn in one queue, in the order they were made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.aio.client import Client

from dagnats.errors import UnavailableError
from dagnats.runtime.jetstream.channel import Message, reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

log = logging.getLogger("dagnats.nats")

_MOST_QUEUED = 10_000
_CONNECT_S = 10.0


class NatsPy:
    """`Channel` on nats-py's client."""

    def __init__(self, client: Client, callbacks: _Callbacks) -> None:
        self._client = client
        self._callbacks = callbacks
        self.on_lost: Callable[[], None] = lambda: None
        self.on_up: Callable[[], None] = lambda: None
        callbacks.lost = self._lost
        callbacks.back = lambda: self.on_up()
        self._losses = 0
        self._calls: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._subscriptions: dict[int, Subscription] = {}
        self._ended: set[int] = set()
        self._last_sid = 0
        self._caller = asyncio.create_task(self._call(), name="nats: calls")

    @classmethod
    async def connect(cls, url: str, *, token: str = "", name: str = "dagnats") -> NatsPy:
        """Connect, or raise UnavailableError at once; later losses of the connection heal by themselves."""
        client = Client()
        callbacks = _Callbacks()
        options: dict[str, Any] = {"token": token} if token else {}
        try:
            async with asyncio.timeout(_CONNECT_S):  # its own time-outs leave out the TLS handshake
                await client.connect(
                    url.split(","),
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
            raise UnavailableError(reason(callbacks.last_error or error)) from None
        callbacks.telling = True
        client.options["max_reconnect_attempts"] = -1
        return cls(client, callbacks)

    @property
    def connected(self) -> bool:
        # While it reconnects, nats-py calls itself connected before it is known whether that lasts.
        return self._client.is_connected and self._callbacks.up.is_set()

    @property
    def max_payload_bytes(self) -> int:
        return self._client.max_payload

    def publish(
        self, subject: str, data: bytes, reply: str = "", headers: bytes = b"", *, lazily: bool = False
    ) -> None:
        if not self.connected:
            raise UnavailableError("the connection to NATS is lost")
        fields = Message("", "", headers, b"").headers or None
        losses = self._losses

        async def send() -> None:
            if self._losses == losses:
                await self._client.publish(subject, data, reply, fields)

        self._calls.put_nowait(send)
        if self._calls.qsize() > _MOST_QUEUED:
            self._room.clear()

    async def up(self) -> None:
        await self._callbacks.up.wait()

    async def drain(self) -> None:
        await self._room.wait()

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        self._last_sid += 1
        sid = self._last_sid

        async def on_message(message: Msg) -> None:
            callback(Message(message.subject, message.reply, _raw(message.headers), message.data))

        async def begin() -> None:
            if sid not in self._ended:
                self._subscriptions[sid] = await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                    subject, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0
                )

        self._calls.put_nowait(begin)
        return sid

    def retire(self, sid: int) -> None:
        async def finish() -> None:
            subscription = self._subscriptions.pop(sid, None)
            if subscription is not None:
                await subscription.drain()

        self._calls.put_nowait(finish)

    def unsubscribe(self, sid: int) -> None:
        async def end() -> None:
            self._ended.discard(sid)
            subscription = self._subscriptions.pop(sid, None)
            if subscription is not None:
                await subscription.unsubscribe()

        self._ended.add(sid)
        self._calls.put_nowait(end)

    async def close(self) -> None:
        self._callbacks.telling = False
        self._caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._caller
        # In a task of its own: nats-py that is about to reconnect cancels what it waits for itself.
        closing = asyncio.create_task(self._client.close())
        await asyncio.wait([closing])
        # It flushes what is left, to a socket that may be gone.
        with contextlib.suppress(nats.errors.Error, OSError, asyncio.CancelledError):
            closing.result()

    def _lost(self) -> None:
        self._losses += 1
        # nats-py would send what is left over the next connection. Subscriptions it makes again in any case.
        self._client._pending, self._client._pending_data_size = [], 0  # pyright: ignore[reportPrivateUsage]
        self.on_lost()

    async def _call(self) -> None:
        while True:
            call = await self._calls.get()
            with contextlib.suppress(nats.errors.Error):  # a lost message is an answer that does not come
                await call()
            if not self._room.is_set() and self._calls.qsize() < _MOST_QUEUED // 2:
                self._room.set()


class _Callbacks:
    """nats-py's callbacks. None of them may raise: that would end its read loop, or its reconnecting, for good."""

    def __init__(self) -> None:
        self.telling = False
        self.lost: Callable[[], None] = lambda: None
        self.back: Callable[[], None] = lambda: None
        self.last_error: Exception | None = None
        self._is_lost = False
        self.up = asyncio.Event()
        self.up.set()

    async def on_error(self, error: Exception) -> None:
        # What the server said about us tells more than how it then closed the connection.
        if not (isinstance(error, OSError) and isinstance(self.last_error, nats.errors.Error)):
            self.last_error = error
        if self.telling and not self._is_lost:
            log.warning("NATS: %s", reason(error))

    async def on_disconnect(self) -> None:
        if self.telling and not self._is_lost:
            log.warning("the connection to NATS was lost; reconnecting")
            self.lost()
        self.up.clear()
        self._is_lost = True  # every try that fails from here on would be a line of its own

    async def on_reconnect(self) -> None:
        self._is_lost = False
        self.up.set()
        log.warning("connected to NATS again")
        self.back()


def _raw(headers: Mapping[str, str] | None) -> bytes:
    """nats-py's headers in the form they had on the wire."""
    if not headers:
        return b""
    status = " ".join(headers.get(name, "") for name in ("Status", "Description")).strip()
    lines = [f"NATS/1.0 {status}".rstrip(), *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
