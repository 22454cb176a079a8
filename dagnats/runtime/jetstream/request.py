"""Requests of the wire, on core NATS: the subject and the JSON are what other languages know."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.link import Nobody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")


class JetStreamRequests:
    """`ports.Requests`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._answering: set[asyncio.Task[None]] = set()

    def answer(self, subject: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        async def respond(message: Message) -> None:
            try:
                answer = await reply(message.data)
            except Exception:  # a mistake of ours must not end the listener
                log.exception("a request on %s has no answer", subject)
            else:
                self._link.send(message.reply, answer)

        def asked(message: Message) -> None:
            if message.reply:
                task = self._link.loop.create_task(respond(message), name=f"answer: {subject}")
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

        subscription = self._link.subscribe(subject, asked)
        return lambda: self._link.unsubscribe(subscription)

    async def ask(self, subject: str, data: bytes) -> bytes | None:
        try:
            return (await self._link.request(subject, data)).data
        except Nobody:
            return None
