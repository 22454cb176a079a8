"""A look at a place says nothing any more once the connection is lost over which it was made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import UnavailableError
from dagnats.model.instant import rfc3339
from dagnats.runtime.jetstream.acknowledgement import acknowledge, acknowledge_if_there
from dagnats.runtime.jetstream.channel import Message
from dagnats.runtime.jetstream.link import Link
from dagnats.runtime.jetstream.publish import header_block
from dagnats.runtime.jetstream.pull import Pull
from dagnats.runtime.jetstream.read import delete_if_there
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_NS = 1795349843569426133
LOOK = "$JS.API.DIRECT.GET.S"
ADDRESS = f"$JS.ACK.S.c.1.7.1.{TIME_NS}.0"
REMOVAL = "$JS.API.STREAM.MSG.DELETE.S"


class Line:
    """A connection that the test loses, and over which it answers."""

    max_payload_bytes = 1024 * 1024

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] = lambda: None
        self.on_up: Callable[[], None] = lambda: None
        self.sent: list[str] = []
        self.replies: list[str] = []
        self._subscribed: list[tuple[str, Callable[[Message], None]]] = []
        self._up = asyncio.Event()
        self._up.set()

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    def publish(
        self, subject: str, data: bytes, reply: str = "", headers: bytes = b"", *, lazily: bool = False
    ) -> None:
        if not self.connected:
            raise UnavailableError("lost")
        self.sent.append(subject)
        self.replies.append(reply)

    def subscribe(self, subject: str, callback: Callable[[Message], None]) -> int:
        self._subscribed.append((subject.removesuffix("*"), callback))
        return len(self._subscribed)

    async def up(self) -> None:
        await self._up.wait()

    async def drain(self) -> None: ...
    async def close(self) -> None: ...
    def retire(self, sid: int) -> None: ...
    def unsubscribe(self, sid: int) -> None: ...

    async def asked(self, count: int) -> None:
        """Wait until that much was sent."""

        async def sent() -> bool:
            return len(self.sent) >= count

        await until(sent)

    def give(self, inbox: str, message: Message) -> None:
        """Have a message arrive."""
        for begins, callback in self._subscribed:
            if inbox.startswith(begins):
                callback(message)

    def answer(self, headers: bytes = b"", data: bytes = b"") -> None:
        """Answer what was asked last."""
        inbox = self.replies[-1]
        self.give(inbox, Message(inbox, "", headers, data))

    def show(self, time_ns: int = TIME_NS) -> None:
        """Answer a look: a message of this time is there."""
        self.answer(header_block({"Nats-Time-Stamp": rfc3339(time_ns)}))

    def lose(self) -> None:
        self._up.clear()
        self.on_lost()

    def connect(self) -> None:
        self._up.set()

    def come_back(self) -> None:
        self.connect()
        self.on_up()


async def looking(line: Line) -> asyncio.Task[None]:
    """A removal that has asked what is in its place."""
    removing = asyncio.create_task(delete_if_there(Link(line), "S", 7, TIME_NS))
    await line.asked(1)
    assert line.sent == [LOOK]
    return removing


async def test_what_is_there_is_removed_over_the_connection_over_which_it_was_seen() -> None:
    line = Line()
    removing = await looking(line)
    line.show()
    await line.asked(2)
    assert line.sent == [LOOK, REMOVAL]
    line.answer(data=b'{"success":true}')
    await removing


@pytest.mark.parametrize("soon", [True, False], ids=["back at once", "back later"])
async def test_what_was_seen_over_a_connection_that_is_lost_is_not_removed_over_the_next(soon: bool) -> None:
    line = Line()
    removing = await looking(line)
    line.show()
    line.lose()
    if soon:
        line.come_back()
    with pytest.raises(UnavailableError, match="lost"):
        await removing
    if not soon:
        line.come_back()
    assert line.sent == [LOOK]


async def test_a_look_at_a_place_waits_for_a_connection_that_is_being_made_again() -> None:
    line = Line()
    link = Link(line)
    line.lose()
    removing = asyncio.create_task(delete_if_there(link, "S", 7, TIME_NS))
    await asyncio.sleep(0)
    assert line.sent == []
    line.come_back()
    await line.asked(1)
    line.show(TIME_NS + 1)
    await removing
    assert line.sent == [LOOK], "another one is there"


def delivered(line: Line, inbox: str) -> None:
    line.give(inbox, Message("task.a.r", ADDRESS, b"", b""))


async def test_what_came_before_a_connection_was_said_to_be_there_is_acknowledged_after_a_look() -> None:
    """That connection may have been another one, and the server have been restarted since."""
    line = Line()
    link = Link(line)
    pull = Pull(link, "S", "c", most=3)
    pull.start()
    pull.ready(3)
    inbox = line.replies[-1]
    delivered(line, inbox)
    line.lose()
    delivered(line, inbox)
    line.connect()
    before, early = pull.buffered()
    line.sent.clear()
    acknowledge(link, before)
    assert line.sent == [LOOK]
    line.on_up()
    acknowledge(link, early)
    assert line.sent == [LOOK, LOOK]
    line.show()
    assert line.sent == [LOOK, LOOK, ADDRESS]
    delivered(line, inbox)
    [late] = pull.buffered()
    acknowledge(link, late)
    assert line.sent == [LOOK, LOOK, ADDRESS, ADDRESS]
    pull.close()


async def test_what_was_seen_before_a_connection_was_said_to_be_there_is_not_acknowledged() -> None:
    line = Line()
    link = Link(line)
    line.lose()
    line.connect()
    acknowledge_if_there(link, ADDRESS)
    line.on_up()
    line.show()
    assert line.sent == [LOOK]


async def test_what_is_looked_at_when_the_connection_is_lost_is_not_acknowledged() -> None:
    line = Line()
    link = Link(line)
    acknowledge_if_there(link, ADDRESS)
    line.lose()
    line.come_back()
    line.show()  # it was on its way
    assert line.sent == [LOOK]


async def test_what_is_not_there_any_more_is_not_acknowledged() -> None:
    line = Line()
    link = Link(line)
    for headers in (b"NATS/1.0 404 Message Not Found\r\n\r\n", b"NATS/1.0 503\r\n\r\n"):
        acknowledge_if_there(link, ADDRESS)
        line.answer(headers)
    acknowledge_if_there(link, ADDRESS)
    line.show(TIME_NS + 1)
    assert line.sent == [LOOK] * 3
