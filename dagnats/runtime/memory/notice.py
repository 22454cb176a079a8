"""Messages that nothing stores, and what only their readers need: signals for other workers, shared keys."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryNotices:
    """`ports.Notices`: whoever asked the server to listen is told."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    def ask(self, subject: str, data: bytes) -> None:
        self._send(subject, data)

    def respond(self, run_id: str, data: bytes) -> None:
        self._send(f"dagnats.http.response.{run_id}", data)

    def _send(self, subject: str, data: bytes) -> None:
        def tell() -> None:
            for told, link in self._server.notices:
                link.deliver(subject, lambda told=told: told(subject, data))

        self._link.send(Call("notices.send", subject, tell))


class MemorySignals:
    """`ports.Signals`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.signals
        self._link = link

    def put(self, run_id: str, name: str, data: bytes) -> Awaitable[object]:
        key = f"{run_id}.{name}"
        return self._link.surely(Call("signals.put", key, lambda: self._stream.put(key, data)))


class MemorySecrets:
    """`ports.Secrets`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def key(self, name: str) -> bytes:
        def key() -> bytes:
            return self._server.keys.setdefault(name, secrets.token_bytes(32))

        return await self._link.request(Call("secrets.key", name, key))
