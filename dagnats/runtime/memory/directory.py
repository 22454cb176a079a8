"""The directory of workers: an entry is shown as long as the connection that it came by.

On NATS it is shown for a minute. Here minutes are cheap: a year of them passes in one test, and renewing would not be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer


class MemoryDirectory:
    """`ports.Directory`."""

    renew_s = 0.0

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._server = server
        self._link = link

    async def put(self, worker_id: str, data: bytes) -> None:
        def put() -> None:
            self._server.directory[worker_id] = (data, self._link)

        await self._link.request(Call("directory.put", worker_id, put))

    async def remove(self, worker_id: str) -> None:
        def remove() -> None:
            self._server.directory.pop(worker_id, None)

        await self._link.request(Call("directory.remove", worker_id, remove))

    async def all(self) -> list[bytes]:
        def shown() -> list[bytes]:
            return [data for data, link in self._server.directory.values() if not (link.dead or link.closed)]

        return await self._link.request(Call("directory.all", ">", shown))
