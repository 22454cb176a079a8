"""Messages that nobody stores; the server keeps them for tests to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.ports import Entry


class MemoryNotices:
    """`ports.Notices`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    def ask(self, subject: str, data: bytes) -> None:
        self._send(subject, data)

    def respond(self, run_id: str, data: bytes) -> None:
        self._send(f"dagnats.http.response.{run_id}", data)

    def end(self, entry: Entry) -> None:
        """Who waits for a run hears the log itself."""

    def _send(self, subject: str, data: bytes) -> None:
        self._link.send(Call("notices.send", subject, lambda: self._server.notices.append((subject, data))))
