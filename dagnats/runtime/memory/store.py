"""Registered workflows: the newest under its name, every version under `<name>.<hash>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.model.identifier import is_run_id
from dagnats.runtime.memory.link import Call
from dagnats.runtime.memory.snapshot import stored_of
from dagnats.runtime.ports import Stored

if TYPE_CHECKING:
    from dagnats.runtime.memory.link import Link
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message

_SINCE = "since"


def _version(message: Message) -> Stored:
    """A version: stored first at `time_ns`, needed last at `used_ns`."""
    since_ns = int(message.headers.get(_SINCE, message.time_ns))
    return Stored(message.seq, message.data, since_ns, message.time_ns)


class MemoryDefinitions:
    """`ports.Definitions`."""

    def __init__(self, server: MemoryServer, link: Link) -> None:
        self._stream = server.definitions
        self._link = link

    async def newest(self, name: str) -> Stored | None:
        return stored_of(await self._last(name))

    async def version(self, name: str, identity: str) -> bytes | None:
        message = await self._last(f"{name}.{identity}")
        return message.data if message is not None else None

    async def versions(self, name: str) -> dict[str, Stored]:
        if not is_run_id(name):  # what cannot be a key has no value
            return {}
        pattern = f"{name}.*"
        found = await self._link.request(Call("definitions.versions", pattern, lambda: self._stream.fitting(pattern)))
        return {each.subject.rpartition(".")[2]: _version(each) for each in found}

    async def add_version(self, name: str, identity: str, data: bytes) -> None:
        key = f"{name}.{identity}"

        def add() -> None:
            there = self._stream.last(key)
            if there is None:
                self._stream.put(key, data)
            else:
                since = {_SINCE: there.headers.get(_SINCE, str(there.time_ns))}
                self._stream.put(key, there.data, headers=since)

        await self._link.request(Call("definitions.add_version", key, add))

    async def remove_version(self, name: str, identity: str, *, revision: int) -> None:
        key = f"{name}.{identity}"

        def remove() -> None:
            there = self._stream.last(key)
            if there is None or there.seq != revision:
                raise ConflictError(f"wrong last sequence: {there.seq if there is not None else 0}")
            self._stream.purge(key)

        await self._link.request(Call("definitions.remove_version", key, remove))

    async def set_newest(self, name: str, data: bytes, *, revision: int) -> None:
        call = Call("definitions.set_newest", name, lambda: self._stream.put(name, data, last=revision))
        await self._link.request(call)

    async def remove_newest(self, name: str, *, revision: int) -> None:
        def remove() -> None:
            there = self._stream.last(name)
            if there is None or there.seq != revision:
                raise ConflictError(f"wrong last sequence: {there.seq if there is not None else 0}")
            self._stream.purge(name)

        await self._link.request(Call("definitions.remove_newest", name, remove))

    async def names(self) -> list[str]:
        return sorted(await self._link.request(Call("definitions.names", "*", lambda: self._stream.subjects("*"))))

    async def _last(self, key: str) -> Message | None:
        return await self._link.request(Call("definitions.get", key, lambda: self._stream.last(key)))
