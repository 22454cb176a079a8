"""What the gates hold: `<bucket>.<key>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.ports import Shown


class MemoryBoard:
    """`ports.Board`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._shown = server.board
        self._link = link

    async def all(self) -> Shown:
        return await self._link.request(Call("board.read", ">", lambda: dict(self._shown)))

    async def put(self, bucket: str, key: str, data: bytes) -> None:
        def put() -> None:
            self._shown[bucket, key] = data

        await self._link.request(Call("board.put", f"{bucket}.{key}", put))

    async def drop(self, bucket: str, key: str) -> None:
        await self._link.request(Call("board.drop", f"{bucket}.{key}", lambda: self._shown.pop((bucket, key), None)))
