"""Stored messages, directly: the last of a subject, one by its sequence, all of a subject in pages; forgetting them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import RefusedError, UnavailableError
from dagnats.model.instant import parse_rfc3339
from dagnats.runtime.jetstream.link import LOST
from dagnats.runtime.jetstream.publish import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

PAGE = 1_000
TIME = b"Nats-Time-Stamp"
_NOT_THERE = (10043, 10057)  # it is gone; it was never there


def seq_of(message: Message) -> int:
    """The sequence of a message that was read directly."""
    return int(message.header(b"Nats-Sequence"))


def subject_of(message: Message) -> str:
    """The subject of a message that was read directly."""
    return message.header(b"Nats-Subject").decode(errors="replace")


def time_ns_of(message: Message) -> int:
    """The server's time for a message that was read directly."""
    return parse_rfc3339(message.header(TIME).decode())


async def last_of(link: Link, stream: str, subject: str) -> Message | None:
    """The last message of a subject."""
    return _found(await link.request(f"$JS.API.DIRECT.GET.{stream}.{subject}"))


async def message_at(link: Link, stream: str, seq: int) -> Message | None:
    """The message at a sequence."""
    return _found(await link.request(f"$JS.API.DIRECT.GET.{stream}", b'{"seq": %d}' % seq))


async def delete(link: Link, stream: str, seq: int, *, generation: int | None = None) -> None:
    """Remove the message at a sequence; one that is not there is fine.

    Args:
        generation: See `Link.request`.
    """
    request = {"seq": seq, "no_erase": True}  # to overwrite it with noise would take milliseconds
    try:
        await link.api(f"STREAM.MSG.DELETE.{stream}", request, generation=generation)
    except RefusedError as error:
        if error.code not in _NOT_THERE:
            raise


async def delete_if_there(link: Link, stream: str, seq: int, time_ns: int) -> None:
    """Remove the message that has a sequence and a time. Another one may have been given the sequence, by a server that
    was restarted and has lost the end of the stream: that one stays. See `acknowledgement`."""
    await link.up()
    generation = link.generation
    found = await message_at(link, stream, seq)
    if found is not None and time_ns_of(found) == time_ns:
        await delete(link, stream, seq, generation=generation)


def _found(message: Message) -> Message | None:
    if message.status == "404":
        return None
    if message.status:
        raise UnavailableError(f"NATS: cannot read the message: {message.description or message.status}")
    return message


async def first_of(link: Link, stream: str, pattern: str) -> Message | None:
    """The first message whose subject matches."""
    request = msgspec.json.encode({"seq": 1, "next_by_subj": pattern})
    return _found(await link.request(f"$JS.API.DIRECT.GET.{stream}", request))


async def forget(link: Link, stream: str, pattern: str) -> None:
    """Remove all messages whose subject matches. For those of which there mostly are none: to ask costs a fraction of
    what to purge does."""
    if await first_of(link, stream, pattern) is not None:
        await link.api(f"STREAM.PURGE.{stream}", {"filter": pattern})


async def state_of(link: Link, stream: str) -> dict[str, Any]:
    """A stream's first and last sequence, and how much is in it."""
    state: dict[str, Any] = (await link.api(f"STREAM.INFO.{stream}"))["state"]
    return state


async def streams_of(link: Link) -> list[str]:
    """The names of all streams; "" for each that is of another namespace."""
    found: list[str] = []
    while True:
        page = await link.api("STREAM.NAMES", {"offset": len(found)})
        names: list[str] = page.get("streams") or []
        found += names
        if not names or len(found) >= page.get("total", 0):
            return found


async def subjects_of(link: Link, stream: str, pattern: str) -> list[str]:
    """The subjects that have messages."""
    found: list[str] = []
    while True:
        info = await link.api(f"STREAM.INFO.{stream}", {"subjects_filter": pattern, "offset": len(found)})
        page: dict[str, int] = info["state"].get("subjects") or {}
        found += page
        if not page or len(found) >= info.get("total", 0):
            return found


async def messages_of(link: Link, stream: str, pattern: str, *, start: int = 1) -> list[Message]:
    """All messages whose subject matches, from sequence `start`, in order."""
    found: list[Message] = []
    while True:
        messages, pending = await page_of(link, stream, {"seq": start, "next_by_subj": pattern, "batch": PAGE})
        found += messages
        if not pending or not messages:
            return found
        start = seq_of(messages[-1]) + 1


async def page_of(link: Link, stream: str, request: Mapping[str, object]) -> tuple[list[Message], int]:
    """One batch direct get: the messages, and how many match beyond them."""
    inbox = link.new_inbox()
    found: list[Message] = []
    pending: asyncio.Future[int] = link.loop.create_future()

    def on_message(message: Message) -> None:
        if not message.status:
            found.append(message)
        elif not pending.done():
            if message.status in ("204", "404"):  # the end of the batch; nothing found
                pending.set_result(int(message.header(b"Nats-Num-Pending") or 0))
            else:
                reason = message.description or message.status
                pending.set_exception(UnavailableError(f"NATS: cannot read from {stream}: {reason}"))

    def on_lost() -> None:
        if not pending.done():
            pending.set_exception(UnavailableError(LOST))

    await link.up()
    subscription, forget = link.subscribe(inbox, on_message), link.on_lost(on_lost)
    try:
        link.send(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=inbox)
        async with asyncio.timeout(TIMEOUT_S):
            return found, await pending
    except TimeoutError:
        raise UnavailableError(f"NATS did not answer within {TIMEOUT_S:g} s") from None
    finally:
        forget()
        link.unsubscribe(subscription)
