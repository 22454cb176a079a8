"""Questions that whoever serves answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import UnavailableError

if TYPE_CHECKING:
    from dagnats.runtime.ports import Inquiries
    from tests.conformance.backend import Backend


async def echo(data: bytes) -> bytes:
    return b'{"asked": %s}' % data


async def refuse(_: bytes) -> bytes:
    raise UnavailableError("not yet", hint="ask again")


async def heard(inquiries: Inquiries, question: str, data: bytes) -> bytes:
    """An answer, once it has got round that somebody listens."""
    async with asyncio.timeout(10):
        while True:
            answer = await inquiries.ask(question, data)
            if answer is not None:
                return answer


async def test_a_question_is_answered_by_who_listens_to_it(backend: Backend) -> None:
    async with backend.connected() as server, backend.connected() as client:
        server.ports.inquiries.answer("some.thing", echo)
        server.ports.inquiries.answer("some.other", refuse)
        assert await heard(client.ports.inquiries, "some.thing", b"1") == b'{"asked": 1}'


async def test_a_question_that_nobody_listens_to_has_no_answer(backend: Backend) -> None:
    async with backend.connected() as server, backend.connected() as client:
        end = server.ports.inquiries.answer("some.thing", echo)
        end()
        assert await client.ports.inquiries.ask("some.thing", b"1") is None


async def test_why_there_is_no_answer_is_told(backend: Backend) -> None:
    async with backend.connected() as server, backend.connected() as client:
        server.ports.inquiries.answer("some.thing", refuse)
        with pytest.raises(UnavailableError, match="not yet") as refused:
            await heard(client.ports.inquiries, "some.thing", b"1")
        assert refused.value.hint == "ask again"
