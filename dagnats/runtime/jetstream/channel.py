"""What the fast path asks of a NATS connection: send, subscribe, hear of losses. Two kinds provide it.

`Wire` is our own, for plain connections; `NatsPy` is nats-py's, for everything else (TLS, nkeys, JWT, several
servers). Which one is used is decided when connecting; nothing above notices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


def reason(error: BaseException) -> str:
    """An error of the connection in NATS's own words."""
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


class Message(msgspec.Struct, gc=False):  # made for every message: a Struct costs a third of a class
    """A message as it came. Headers are read when asked for: most are never looked at.

    Attributes:
        generation: Of the link that it came over; noted where it matters.
    """

    subject: str
    reply: str
    raw_headers: bytes
    data: bytes
    generation: int = -1

    @property
    def status(self) -> str:
        """The server's own word instead of a payload: `503`, `408`, …; "" for an ordinary message."""
        if not self.raw_headers.startswith(b"NATS/1.0 "):
            return ""
        return self.raw_headers[9:12].decode()

    @property
    def description(self) -> str:
        """What the server says to its status: `Consumer Deleted`."""
        return self.raw_headers.partition(b"\r\n")[0][13:].decode(errors="replace") if self.status else ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name; of a repeated name the last."""
        found: dict[str, str] = {}
        for line in self.raw_headers.split(b"\r\n")[1:]:
            name, colon, value = line.partition(b":")
            if colon:
                found[name.decode(errors="replace")] = value.strip().decode(errors="replace")
        return found

    def header(self, name: bytes) -> bytes:
        """One header's value, without reading the others; b"" when it is not there."""
        at = self.raw_headers.find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        start = at + len(name) + 3
        return self.raw_headers[start : self.raw_headers.find(b"\r\n", start)].strip()


class Channel(Protocol):
    """One connection. Everything but `connect`, `drain` and `close` returns at once."""

    on_lost: Callable[[], None]
    """Called when the connection is lost: answers that are awaited will not come."""

    on_up: Callable[[], None]
    """Called when there is a connection again, with all subscriptions."""

    @property
    def connected(self) -> bool: ...

    @property
    def max_payload_bytes(self) -> int: ...

    def publish(
        self, subject: str, data: bytes, reply: str = "", headers: bytes = b"", *, lazily: bool = False
    ) -> None:
        """Send a message, over this connection or never. Raises UnavailableError while the connection is lost.

        Args:
            lazily: It may go with the next message, or some milliseconds later when there is none: one packet less for
                the server to wake up for.
        """
        ...

    async def up(self) -> None:
        """Wait until there is a connection."""
        ...

    async def drain(self) -> None:
        """Wait until the socket takes more."""
        ...

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        """Call `callback` for each message, now and after every reconnect. It must not raise."""
        ...

    def retire(self, sid: int) -> None:
        """Ask for no more messages of a subscription. What is on its way still goes to its callback, until
        `unsubscribe`."""
        ...

    def unsubscribe(self, sid: int) -> None: ...

    async def close(self) -> None: ...
