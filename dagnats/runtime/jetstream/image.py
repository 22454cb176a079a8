"""A stream's image: all it holds, as the server itself writes it down, with sequences, times and headers.

The server sends the next pieces of an image as those before are taken, and takes a piece at a time when it is put back.
So neither side ever has more than a few of them in memory, however large the stream is.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dagnats.errors import RefusedError, UnavailableError
from dagnats.runtime.jetstream.link import LOST

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

PIECE_BYTES = 128 * 1024
_PATIENCE_S = 120.0
"""For one answer: before the first piece the server reads the whole stream, and behind the last one it does so again.
A disk reads some gigabytes a minute, so no piece of a sound server takes longer."""


class Stream(NamedTuple):
    """A stream as it was when its image was begun.

    Attributes:
        config: How it was set.
        state: Its messages, bytes, first and last sequence.
        pieces: What it held; each can be read once.
    """

    config: dict[str, Any]
    state: dict[str, Any]
    pieces: AsyncIterator[bytes]


@asynccontextmanager
async def image_of(link: Link, stream: str) -> AsyncGenerator[Stream]:
    """The image of a stream; its consumers are no part of it. The server checks every message's checksum before.

    Raises:
        RefusedError: There is no such stream, or some of its messages are damaged.
        UnavailableError: The connection was lost, or the server fell silent.
    """
    async with _Ear(link, link.new_inbox()) as pieces, _Ear(link, link.new_inbox()) as answers:
        request = {"deliver_subject": pieces.subject, "no_consumers": True, "chunk_size": PIECE_BYTES, "jsck": True}
        link.send(f"$JS.API.STREAM.SNAPSHOT.{stream}", msgspec.json.encode(request), reply=answers.subject)
        answer = _checked(await answers.next())
        yield Stream(answer["config"], answer["state"], _pieces(link, pieces, stream))


async def _pieces(link: Link, ear: _Ear, stream: str) -> AsyncIterator[bytes]:
    while True:
        piece = await ear.next()
        if not piece.data:
            if piece.status not in ("", "204"):
                why = piece.description or piece.status
                raise UnavailableError(f"NATS broke off the image of {stream}: {why}", hint="take it again")
            return
        yield piece.data
        if piece.reply:  # asks for more, where there may be more
            link.send(piece.reply)


async def put_back(
    link: Link, name: str, config: dict[str, Any], state: dict[str, Any], pieces: Iterable[bytes]
) -> dict[str, Any]:
    """Make a stream of its image; gives its state then. It is there once the last piece is, or not at all.

    Raises:
        RefusedError: There is a stream of that name, or the server cannot have one like that.
        UnavailableError: The connection was lost, or the server fell silent.
    """
    begun = await link.api(f"STREAM.RESTORE.{name}", {"config": config, "state": state})
    subject: str = begun["deliver_subject"]
    async with _Ear(link, link.new_inbox()) as answers:

        async def hand_over(piece: bytes) -> Message:
            link.send(subject, piece, reply=answers.subject)
            return await answers.next()

        for piece in pieces:
            taken = await hand_over(piece)
            if taken.data:  # it says nothing while all is well
                _checked(taken)
        restored: dict[str, Any] = _checked(await hand_over(b""))["state"]
        return restored


def _checked(message: Message) -> dict[str, Any]:
    if message.status == "503":
        raise UnavailableError("NATS: nobody serves this request; is JetStream on?")
    answer: dict[str, Any] = msgspec.json.decode(message.data)
    error = answer.get("error")
    if error is not None:
        raise RefusedError(f"NATS: {error.get('description', '')}", code=error.get("err_code", 0))
    return answer


class _Ear:
    """What comes to a subject, one after the other."""

    def __init__(self, link: Link, subject: str) -> None:
        self.subject = subject
        self._link = link
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue()

    async def __aenter__(self) -> _Ear:
        await self._link.up()
        self._forget = self._link.on_lost(lambda: self._heard.put_nowait(None))
        self._sid = self._link.subscribe(self.subject, self._heard.put_nowait)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forget()
        self._link.unsubscribe(self._sid)

    async def next(self) -> Message:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                message = await self._heard.get()
        except TimeoutError:
            raise UnavailableError(f"NATS did not answer within {_PATIENCE_S:g} s") from None
        if message is None:
            raise UnavailableError(LOST)
        return message
