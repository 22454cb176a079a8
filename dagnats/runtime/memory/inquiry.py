"""Questions and answers between those who share a server in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryInquiries:
    """`ports.Inquiries`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    def answer(self, question: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        inquiries = self._server.inquiries
        inquiries[question] = reply

        def end() -> None:
            if inquiries.get(question) is reply:
                del inquiries[question]

        return end

    async def ask(self, question: str, data: bytes) -> bytes | None:
        found = await self._link.request(Call("inquiries.ask", question, lambda: self._server.inquiries.get(question)))
        return await found(data) if found is not None else None
