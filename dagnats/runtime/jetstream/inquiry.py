"""Questions and answers on core NATS, below `dagnats.ask.`: every server answers, the first answer counts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.event import NOTHING
from dagnats.runtime.jetstream.link import Nobody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_SUBJECT = "dagnats.ask."


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What comes back.

    Attributes:
        body: The answer, raw JSON.
        error: Why there is none.
        hint: What to do about that.
    """

    body: msgspec.Raw = NOTHING
    error: str = ""
    hint: str = ""


_decode = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


class JetStreamInquiries:
    """`ports.Inquiries`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._answering: set[asyncio.Task[None]] = set()

    def answer(self, question: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        async def respond(message: Message) -> None:
            try:
                answer = Answer(body=msgspec.Raw(await reply(message.data)))
            except DagnatsError as error:
                answer = Answer(error=str(error), hint=error.hint)
            except Exception:  # a mistake of ours must not end the server
                log.exception("a question of %s has no answer", question)
                return
            self._link.send(message.reply, _encode(answer))

        def asked(message: Message) -> None:
            if message.reply:
                task = self._link.loop.create_task(respond(message), name=f"answer: {question}")
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

        subscription = self._link.subscribe(_SUBJECT + question, asked)
        return lambda: self._link.unsubscribe(subscription)

    async def ask(self, question: str, data: bytes) -> bytes | None:
        try:
            message = await self._link.request(_SUBJECT + question, data)
        except Nobody:
            return None
        answer = _decode(message.data)
        if answer.error:
            raise UnavailableError(answer.error, hint=answer.hint)
        return bytes(answer.body)
