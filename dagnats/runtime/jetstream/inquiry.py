"""Questions and answers on core NATS, below `dagnats.ask.`: every server answers, the first answer counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.event import NOTHING
from dagnats.runtime.jetstream.request import JetStreamRequests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.jetstream.link import Link

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
        self._requests = JetStreamRequests(link)

    def answer(self, question: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        async def answered(data: bytes) -> bytes:
            try:
                return _encode(Answer(body=msgspec.Raw(await reply(data))))
            except DagnatsError as error:
                return _encode(Answer(error=str(error), hint=error.hint))

        return self._requests.answer(_SUBJECT + question, answered)

    async def ask(self, question: str, data: bytes) -> bytes | None:
        said = await self._requests.ask(_SUBJECT + question, data)
        if said is None:
            return None
        answer = _decode(said)
        if answer.error:
            raise UnavailableError(answer.error, hint=answer.hint)
        return bytes(answer.body)
