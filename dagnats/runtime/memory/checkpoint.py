"""What steps have stored of their own, under `<run>.<step>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.memory.link import Call
from dagnats.runtime.ports import Checkpoint

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer

_ATTEMPT = "attempt"
_NOTE = "note"


class MemoryCheckpoints:
    """`ports.Checkpoints`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.checkpoints
        self._link = link

    async def load(self, run_id: str, step_id: str) -> Checkpoint | None:
        key = f"{run_id}.{step_id}"
        found = await self._link.request(Call("checkpoints.load", key, lambda: self._stream.last(key)))
        if found is None:
            return None
        note = bytes.fromhex(found.headers.get(_NOTE, ""))
        return Checkpoint(found.seq, found.data, int(found.headers.get(_ATTEMPT, 0)), note)

    async def save(
        self, run_id: str, step_id: str, data: bytes, *, attempt: int, note: bytes = b"", revision: int
    ) -> int:
        key = f"{run_id}.{step_id}"
        headers = {_ATTEMPT: str(attempt), _NOTE: note.hex()}

        def put() -> int:
            return self._stream.put(key, data, last=revision, headers=headers).seq

        return await self._link.request(Call("checkpoints.save", key, put))

    async def remove(self, run_id: str) -> None:
        pattern = f"{run_id}.>"
        await self._link.request(Call("checkpoints.remove", pattern, lambda: self._stream.purge(pattern)))
